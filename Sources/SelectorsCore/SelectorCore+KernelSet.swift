import CPlatform

/// What the kernel watches: keeps it in step with what is registered.
extension SelectorCore {
    /// Has the backend watch a number, or, where it cannot, poll(2).
    func watch(_ fd: Int32, _ events: UInt32) throws(SystemError) {
        table.at(fd).pointee.flags.remove(.refused)
        do throws(SystemError) {
            try backend.add(fd, mask: Interest.pollMask(events), token: table.token(fd))
        } catch {
            guard error.code == EPERM else { throw error }
            try pollRefused(fd, events)
        }
    }

    /// Takes a number out of the kernel set, or notes that its file may be left behind there.
    func unwatch(_ fd: Int32) {
        if table.at(fd).pointee.flags.contains(.refused) { return releaseRefused(fd) }
        do throws(SystemError) {
            try backend.remove(fd)
        } catch {
            mayHaveLeftovers = true
        }
    }

    /// Tells the backend what changed since the last wait.
    func applyChanges() throws(SystemError) {
        // The one that is to be built will have them.
        if duties.contains(.rebuild) { return }
        while firstChange != RegistrationTable.none {
            let fd = firstChange
            let registration = table.at(fd)
            let interest = registration.pointee.interest
            if interest != 0 && interest != UInt32(registration.pointee.installed) {
                try apply(fd, interest)
                registration.pointee.installed = UInt16(truncatingIfNeeded: interest)
            }
            registration.pointee.flags.remove(.changed)
            firstChange = registration.pointee.nextChange
        }
        duties.remove(.applyChanges)
    }

    /// Hands one changed interest to the kernel.
    ///
    /// If that refuses, the number is left to poll(2), which will say what is wrong with it.
    func apply(_ fd: Int32, _ interest: UInt32) throws(SystemError) {
        let (mask, token) = (Interest.pollMask(interest), table.token(fd))
        let registration = table.at(fd)
        if registration.pointee.flags.contains(.refused) {
            // The number may name a file by now that the backend does take.
            if (try? backend.add(fd, mask: mask, token: token)) != nil {
                releaseRefused(fd)
            } else {
                refused.modify(fd, mask: mask, token: token)
            }
            return
        }
        do throws(SystemError) {
            try backend.modify(fd, mask: mask, token: token)
        } catch {
            // The file that was registered is closed, or has another number now. The token of what
            // may be left of it must not speak for the file that has its number.
            mayHaveLeftovers = true
            registration.pointee.generation &+= 1
            if (try? backend.add(fd, mask: mask, token: table.token(fd))) != nil { return }
            try pollRefused(fd, interest)
        }
    }

    /// Leaves a number that the backend cannot watch to poll(2).
    func pollRefused(_ fd: Int32, _ events: UInt32) throws(SystemError) {
        try refused.insert(fd, mask: Interest.pollMask(events), token: table.token(fd))
        table.at(fd).pointee.flags.insert(.refused)
        duties.insert(.pollRefused)
    }

    /// Takes a number back from poll(2).
    func releaseRefused(_ fd: Int32) {
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
            if try wakeUp.attach() { duties.insert(.wakeUp) }
            duties.remove(.leaveToParent)
        }
        try backend.add(wakeUp.fd, mask: PollMask.read, token: WakeUp.token)
        refused.reset(afterFork: false)
        duties.remove(.pollRefused)
        mayHaveLeftovers = false
        var fd = table.first
        while fd != RegistrationTable.none {
            let registration = table.at(fd)
            let interest = registration.pointee.interest
            do throws(SystemError) {
                try watch(fd, interest)
            } catch {
                // One that was closed meanwhile is poll's to report.
                guard error.code == EBADF else { throw error }
                try pollRefused(fd, interest)
            }
            registration.pointee.installed = UInt16(truncatingIfNeeded: interest)
            fd = registration.pointee.next
        }
        duties.remove(.rebuild)
    }
}
