import CSelectorsPlatform

/// What the kernel watches: keeps it in step with what is registered.
///
/// The lock is held in all of it.
extension SelectorCore {
    /// The mask that the backend is given for an interest.
    @inline(__always)
    private func backendMask(_ events: UInt32) -> UInt32 {
        Interest.isUsual(events) ? Interest.pollMask(events) : fullBackendMask(events)
    }

    private func fullBackendMask(_ events: UInt32) -> UInt32 {
        let mask = Interest.pollMask(events)
        return state.pointee.capabilities.contains(.oneShot) ? mask : mask & ~PollMask.oneShot
    }

    /// Whether the kernel stops by itself to report what has this interest.
    func isOneShotInKernel(_ events: UInt32) -> Bool {
        fullBackendMask(events) & PollMask.oneShot != 0
    }

    /// What is in the kernel set after a one-shot was reported by a backend that sees to it: no
    /// interest, but an entry.
    static let spent = UInt16(Interest.oneShot)

    /// Has the backend watch the wake-up's descriptor.
    func watchWakeUp() throws(SystemError) {
        try state.pointee.backend.add(
            state.pointee.wakeUp.fd, mask: state.pointee.wakeUp.mask, token: WakeUp.token)
    }

    /// Has the backend watch a number, or, where it cannot, poll(2).
    ///
    /// If it throws, nobody watches it.
    @inline(__always)
    func watch(_ fd: Int32, _ events: UInt32) throws(SystemError) {
        let registration = state.pointee.table.at(fd)
        registration.pointee.flags.formIntersection(.changed)
        do throws(SystemError) {
            try state.pointee.backend.add(
                fd, mask: backendMask(events), token: state.pointee.table.token(fd))
            registration.pointee.installed = UInt16(truncatingIfNeeded: events)
        } catch {
            registration.pointee.installed = 0
            guard error.code == EPERM else { throw error }
            try watchByPoll(fd, events)
        }
    }

    /// Has a number watched that was registered before.
    ///
    /// One that was closed meanwhile is poll's to report, and so is one whose number has another
    /// file by now that the backend does not take as it was asked to.
    @inline(never)
    private func watchAgain(_ fd: Int32, _ events: UInt32) throws(SystemError) {
        do throws(SystemError) {
            try watch(fd, events)
        } catch {
            guard isOfTheFile(error) else { throw error }
            try watchByPoll(fd, events)
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
        let registration = state.pointee.table.at(fd)
        if registration.pointee.installed == 0 { return }
        registration.pointee.installed = 0
        if registration.pointee.flags.contains(.polled) { return unwatchByPoll(fd) }
        renewToken(fd)
        do throws(SystemError) {
            try state.pointee.backend.remove(fd)
        } catch {
            noteLeftover(fd)
        }
    }

    /// Before a change of what the kernel watches under a number: outdates the token if a report of
    /// what was watched until now may come later.
    ///
    /// The number may have come back to a file that was left behind under it: the change then is of
    /// that one, and what was watched until now is what is left behind. Or another thread has got a
    /// report that it did not look at yet: after the change the kernel will tell once more.
    private func renewToken(_ fd: Int32) {
        if state.pointee.mayHaveLeftovers || gate.hasOthers {
            state.pointee.table.at(fd).pointee.generation &+= 1
        }
    }

    /// Notes that the kernel may go on to watch a file that had this number: its token must not
    /// speak for the file that has it now.
    private func noteLeftover(_ fd: Int32) {
        state.pointee.mayHaveLeftovers = true
        state.pointee.table.at(fd).pointee.generation &+= 1
    }

    /// Puts a number in the list of changes.
    func noteChange(_ fd: Int32) {
        let registration = state.pointee.table.at(fd)
        if registration.pointee.flags.contains(.changed) { return }
        registration.pointee.flags.insert(.changed)
        registration.pointee.nextChange = state.pointee.firstChange
        state.pointee.firstChange = fd
        duties.insert(.applyChanges)
    }

    /// Tells the backend what changed since the last wait.
    ///
    /// A change that cannot be made now is left to be made, and keeps no other from it.
    ///
    /// - Returns: Why one was left.
    func applyChanges() -> SystemError? {
        assert(gate.isOwned)
        // The one that is to be built will have them.
        if duties.contains(.rebuild) { return nil }
        var failure: SystemError?
        var next = state.pointee.firstChange
        state.pointee.firstChange = RegistrationTable.none
        duties.remove(.applyChanges)
        while next != RegistrationTable.none {
            let fd = next
            let registration = state.pointee.table.at(fd)
            next = registration.pointee.nextChange
            registration.pointee.flags.remove(.changed)
            let wanted = registration.pointee.wanted
            // Even a change that was reversed asks for another edge.
            if wanted == UInt32(registration.pointee.installed) && wanted & Interest.edge == 0 {
                continue
            }
            do throws(SystemError) {
                try apply(fd, wanted)
            } catch {
                failure = error
                noteChange(fd)
            }
        }
        return failure
    }

    /// Tells the backend what changed while somebody may be waiting.
    ///
    /// What goes wrong comes up again in the next select: whoever is waiting begins one.
    func applyChangesOrWake() {
        if duties.isSuperset(of: .changesInPoll) && (try? evacuate()) == nil { return }
        if applyChanges() != nil && gate.isWaiting { try? state.pointee.wakeUp.kick() }
    }

    /// Hands one changed interest to the kernel.
    ///
    /// If the number names no file that it can watch, it is left to poll(2), which will say what is
    /// wrong with it. If it throws, the change is still to be made.
    private func apply(_ fd: Int32, _ wanted: UInt32) throws(SystemError) {
        let registration = state.pointee.table.at(fd)
        let installed = UInt32(registration.pointee.installed)
        if wanted == 0 { return installed == SelectorCore.spent ? () : unwatch(fd) }
        if installed == 0 { return try watchAgain(fd, wanted) }
        let mask = backendMask(wanted)
        let token = state.pointee.table.token(fd)
        if registration.pointee.flags.contains(.polled) {
            // The number may name a file by now that the backend does take, if it can.
            do throws(SystemError) {
                try state.pointee.backend.add(fd, mask: mask, token: token)
                unwatchByPoll(fd)
            } catch {
                guard isOfTheFile(error) else { throw error }
                polled.pointee.modify(fd, mask: mask, token: token)
            }
        } else {
            renewToken(fd)
            do throws(SystemError) {
                try state.pointee.backend.modify(
                    fd, mask: mask, token: state.pointee.table.token(fd))
            } catch {
                // The file that was registered is closed, or has another number now.
                noteLeftover(fd)
                return try watchAgain(fd, wanted)
            }
        }
        registration.pointee.installed = UInt16(truncatingIfNeeded: wanted)
    }

    /// Leaves a number that the backend cannot watch to poll(2).
    private func watchByPoll(_ fd: Int32, _ events: UInt32) throws(SystemError) {
        let registration = state.pointee.table.at(fd)
        try polled.pointee.insert(
            fd, mask: Interest.pollMask(events), token: state.pointee.table.token(fd))
        registration.pointee.flags.insert(.polled)
        registration.pointee.installed = UInt16(truncatingIfNeeded: events)
        duties.insert(.pollBeside)
    }

    /// Takes a number back from poll(2).
    private func unwatchByPoll(_ fd: Int32) {
        polled.pointee.remove(fd)
        state.pointee.table.at(fd).pointee.flags.remove(.polled)
        if polled.pointee.count == 0 { duties.remove(.pollBeside) }
    }

    /// Before a wait in the kernel: has the backend watch what it can by now, and poll(2) need not.
    ///
    /// None of it is ready, and so none is closed: what was closed names another file by now.
    func returnToBackend() {
        var slot = polled.pointee.count - 1
        while slot >= 0 {
            _ = try? returnToBackend(polled.pointee.number(at: slot))
            slot -= 1
        }
    }

    /// Has the backend watch a number that poll(2) watches, if it can by now.
    ///
    /// - Returns: What can be said without poll(2): the mask of a file that is always ready, or of a
    ///   closed number; else 0.
    /// - Throws: What tells nothing about the file.
    @inline(never)
    func returnToBackend(_ fd: Int32) throws(SystemError) -> UInt32 {
        let wanted = backendMask(state.pointee.table.at(fd).pointee.wanted)
        do throws(SystemError) {
            try state.pointee.backend.add(
                fd, mask: wanted, token: state.pointee.table.token(fd))
            unwatchByPoll(fd)
            return 0
        } catch {
            guard isOfTheFile(error) else { throw error }
            switch error.code {
            case EPERM: return wanted & (PollMask.read | PollMask.write)
            case EBADF: return PollMask.invalid
            default: return 0
            }
        }
    }

    /// Gives the backend an empty kernel set and fills it with all that is registered.
    ///
    /// Nobody waits in the old one any more when it is replaced. If this is cut short by an error, the
    /// next call begins anew.
    ///
    /// - Throws: Also `ECANCELED`: the selector may be closed meanwhile.
    func rebuildIfNeeded() throws(SystemError) {
        guard duties.contains(.rebuild) else { return }
        try evacuate()
        // Another thread may have done it meanwhile.
        guard duties.contains(.rebuild) else { return }
        assert(gate.isOwned && !gate.isWaiting)
        try state.pointee.backend.reset(afterFork: duties.contains(.renewAfterFork)) {
            (fd, former) throws(SystemError) in try place(fd, former)
        }
        if duties.contains(.renewAfterFork) {
            try renewWakeUp()
            duties.remove(.renewAfterFork)
        }
        state.pointee.wakeUp.forget()
        try watchWakeUp()
        try state.pointee.wakeUp.repeatRequest()
        polled.pointee.removeAll()
        duties.remove(.pollBeside)
        state.pointee.mayHaveLeftovers = false
        var fd = state.pointee.table.first
        while fd != RegistrationTable.none {
            let registration = state.pointee.table.at(fd)
            registration.pointee.installed = 0
            registration.pointee.flags.remove(.polled)
            let wanted = registration.pointee.wanted
            if wanted != 0 { try watchAgain(fd, wanted) }
            fd = registration.pointee.next
        }
        duties.remove(.rebuild)
    }

    /// Opens a wake-up of the child's.
    private func renewWakeUp() throws(SystemError) {
        var writer: Int32 = -1
        var fd = try check(platform_wakeup_open(&writer))
        let isPipe = writer != fd
        do throws(SystemError) {
            fd = try place(fd, state.pointee.wakeUp.former)
        } catch {
            if isPipe { _ = platform_close(writer) }
            throw error
        }
        do throws(SystemError) {
            writer = isPipe ? try place(writer, fd) : fd
        } catch {
            _ = platform_close(fd)
            throw error
        }
        state.pointee.wakeUp.attach(fd, writer: writer)
    }

    /// Moves a new descriptor of our own to the number that the one before had, or to one above that is
    /// free and not registered: one that is registered may have been closed meanwhile.
    @inline(never)
    private func place(_ fd: Int32, _ former: Int32) throws(SystemError) -> Int32 {
        var (fd, number) = (fd, former)
        while fd < number || state.pointee.table.find(fd) != nil {
            number = max(number, fd)
            while state.pointee.table.find(number) != nil { number += 1 }
            let moved = platform_duplicate(fd, number)
            // Near the limit a number below has to do.
            if moved < 0 && state.pointee.table.find(fd) == nil { break }
            _ = platform_close(fd)
            fd = try check(moved)
        }
        return fd
    }
}
