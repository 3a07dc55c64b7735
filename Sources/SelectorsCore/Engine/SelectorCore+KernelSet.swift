import CSelectorsPlatform

/// What the kernel watches: keeps it in step with what is registered.
extension SelectorCore {
    /// Has the backend watch a number, or, where it cannot, poll(2).
    ///
    /// If it throws, nobody watches it.
    @inline(__always)
    func watch(_ fd: Int32, _ events: UInt32) throws(SystemError) {
        let registration = table.at(fd)
        registration.pointee.flags.formIntersection(.changed)
        if epoll >= 0
            && platform_epoll_ctl(
                epoll, PLATFORM_EPOLL_ADD, fd, Interest.pollMask(events), table.token(fd)) == 0
        {
            registration.pointee.installed = UInt16(truncatingIfNeeded: events)
        } else {
            registration.pointee.installed = 0
            try watchByBackend(fd, events)
        }
    }

    /// Likewise, with all that may go wrong.
    @inline(never)
    private func watchByBackend(_ fd: Int32, _ events: UInt32) throws(SystemError) {
        do throws(SystemError) {
            try backend.add(fd, mask: Interest.pollMask(events), token: table.token(fd))
            table.at(fd).pointee.installed = UInt16(truncatingIfNeeded: events)
        } catch {
            guard error.code == EPERM else { throw error }
            try pollRefused(fd, events)
        }
    }

    /// Has a number watched that was registered before.
    ///
    /// One that was closed meanwhile is poll's to report, and so is one whose number has another
    /// file by now that the backend does not take as it was asked to.
    private func watchAgain(_ fd: Int32, _ events: UInt32) throws(SystemError) {
        do throws(SystemError) {
            try watch(fd, events)
        } catch {
            guard isOfTheFile(error) else { throw error }
            try pollRefused(fd, events)
        }
    }

    /// Tells whether an error is about the file that has a number by now, and not about a lack, of
    /// which poll(2) would know nothing.
    ///
    /// `EINVAL` and `ELOOP`: it is a selector's, which cannot be watched as it was asked for.
    private func isOfTheFile(_ error: SystemError) -> Bool {
        error.code == EPERM || error.code == EBADF || error.code == EINVAL || error.code == ELOOP
    }

    /// Takes a number out of the kernel set, or notes that its file may be left behind there.
    @inline(__always)
    func unwatch(_ fd: Int32) {
        let registration = table.at(fd)
        if registration.pointee.installed == 0 { return }
        registration.pointee.installed = 0
        if registration.pointee.flags.contains(.refused) { return releaseRefused(fd) }
        renewToken(fd)
        if epoll >= 0 {
            if platform_epoll_ctl(epoll, PLATFORM_EPOLL_REMOVE, fd, 0, 0) < 0 { leaveBehind(fd) }
        } else {
            unwatchByBackend(fd)
        }
    }

    @inline(never)
    private func unwatchByBackend(_ fd: Int32) {
        do throws(SystemError) {
            try backend.remove(fd)
        } catch {
            leaveBehind(fd)
        }
    }

    /// Before a change of what the kernel watches under a number: outdates the token if there may be
    /// leftovers.
    ///
    /// The number may have come back to a file that was left behind under it. The change then is of
    /// that one, and what was watched until now is what is left behind.
    private func renewToken(_ fd: Int32) {
        if mayHaveLeftovers { table.at(fd).pointee.generation &+= 1 }
    }

    /// Notes that the kernel may go on to watch a file that had this number: its token must not
    /// speak for the file that has it now.
    private func leaveBehind(_ fd: Int32) {
        mayHaveLeftovers = true
        table.at(fd).pointee.generation &+= 1
    }

    /// Puts a number in the list of changes.
    func noteChange(_ fd: Int32) {
        let registration = table.at(fd)
        if registration.pointee.flags.contains(.changed) { return }
        registration.pointee.flags.insert(.changed)
        registration.pointee.nextChange = firstChange
        firstChange = fd
        duties.insert(.applyChanges)
    }

    /// Tells the backend what changed since the last wait.
    func applyChanges() throws(SystemError) {
        // The one that is to be built will have them.
        if duties.contains(.rebuild) { return }
        while firstChange != RegistrationTable.none {
            let fd = firstChange
            let registration = table.at(fd)
            try apply(fd, registration.pointee.wanted)
            registration.pointee.flags.remove(.changed)
            firstChange = registration.pointee.nextChange
        }
        duties.remove(.applyChanges)
    }

    /// Tells the backend what changed while somebody may be waiting.
    ///
    /// What goes wrong comes up again in the next select: whoever is waiting begins one.
    func applyChangesOrWake() {
        do throws(SystemError) {
            try applyChanges()
        } catch {
            try? wakeUp.kick()
        }
    }

    /// Hands one changed interest to the kernel.
    ///
    /// If the number names no file that it can watch, it is left to poll(2), which will say what is
    /// wrong with it. If it throws, the change is still to be made.
    private func apply(_ fd: Int32, _ wanted: UInt32) throws(SystemError) {
        let registration = table.at(fd)
        let installed = UInt32(registration.pointee.installed)
        // Even a change that was reversed asks for another edge.
        if wanted == installed && wanted & Interest.edge == 0 { return }
        if wanted == 0 { return unwatch(fd) }
        if installed == 0 { return try watchAgain(fd, wanted) }
        let mask = Interest.pollMask(wanted)
        if registration.pointee.flags.contains(.refused) {
            // The number may name a file by now that the backend does take.
            do throws(SystemError) {
                try backend.add(fd, mask: mask, token: table.token(fd))
                releaseRefused(fd)
            } catch {
                guard isOfTheFile(error) else { throw error }
                refused.modify(fd, mask: mask, token: table.token(fd))
            }
        } else {
            renewToken(fd)
            do throws(SystemError) {
                try backend.modify(fd, mask: mask, token: table.token(fd))
            } catch {
                // The file that was registered is closed, or has another number now.
                leaveBehind(fd)
                return try watchAgain(fd, wanted)
            }
        }
        registration.pointee.installed = UInt16(truncatingIfNeeded: wanted)
    }

    /// Leaves a number that the backend cannot watch to poll(2).
    private func pollRefused(_ fd: Int32, _ events: UInt32) throws(SystemError) {
        try refused.insert(fd, mask: Interest.pollMask(events), token: table.token(fd))
        let registration = table.at(fd)
        registration.pointee.flags.insert(.refused)
        registration.pointee.installed = UInt16(truncatingIfNeeded: events)
        duties.insert(.pollRefused)
    }

    /// Takes a number back from poll(2).
    private func releaseRefused(_ fd: Int32) {
        refused.remove(fd)
        table.at(fd).pointee.flags.remove(.refused)
        if refused.count == 0 { duties.remove(.pollRefused) }
    }

    /// Gives the backend an empty kernel set and fills it with all that is registered.
    ///
    /// If that is cut short by an error, the next call begins anew.
    func rebuildIfNeeded() throws(SystemError) {
        guard duties.contains(.rebuild) else { return }
        try backend.reset(afterFork: duties.contains(.leaveToParent))
        if duties.contains(.leaveToParent) {
            try wakeUp.attach()
            duties.remove(.leaveToParent)
        }
        try backend.add(wakeUp.fd, mask: PollMask.read, token: WakeUp.token)
        refused.reset(afterFork: false)
        duties.remove(.pollRefused)
        mayHaveLeftovers = false
        var fd = table.first
        while fd != RegistrationTable.none {
            let registration = table.at(fd)
            registration.pointee.installed = 0
            registration.pointee.flags.remove(.refused)
            let wanted = registration.pointee.wanted
            if wanted != 0 { try watchAgain(fd, wanted) }
            fd = registration.pointee.next
        }
        duties.remove(.rebuild)
    }
}
