import CSelectorsPlatform

/// Keeps what the kernel watches in step with the registrations.
///
/// All functions are called with the lock held.
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

    /// Whether the kernel itself disarms a descriptor with this interest after a report.
    func isOneShotInKernel(_ events: UInt32) -> Bool {
        fullBackendMask(events) & PollMask.oneShot != 0
    }

    /// The installed interest after the kernel has disarmed a one-shot.
    ///
    /// The kernel set still has an entry, but without an interest.
    static let spent = UInt16(Interest.oneShot)

    /// The installed interest while the kernel set has an entry with a token that is stale.
    static let outdated = UInt16.max

    /// Registers the wake-up's descriptor with the backend.
    func watchWakeUp() throws(SystemError) {
        try state.pointee.backend.add(
            state.pointee.wakeUp.fd, mask: state.pointee.wakeUp.mask, token: WakeUp.token)
    }

    /// Registers a descriptor with the backend, or with poll(2) if the backend cannot watch it.
    ///
    /// If it throws, the descriptor is not watched.
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

    /// Watches a descriptor that is registered already.
    ///
    /// poll(2) takes over a descriptor that was closed, or that names a file by now that the
    /// backend cannot watch as requested.
    @inline(never)
    private func watchAgain(_ fd: Int32, _ events: UInt32) throws(SystemError) {
        do throws(SystemError) {
            try watch(fd, events)
        } catch {
            guard isOfTheFile(error) else { throw error }
            try watchByPoll(fd, events)
        }
    }

    /// Returns whether an error is about the file that the descriptor names now.
    ///
    /// Other errors are resource shortages, which poll(2) could not report. `EINVAL` and `ELOOP`
    /// mean that the descriptor is a selector's, which cannot be watched as requested.
    private func isOfTheFile(_ error: SystemError) -> Bool {
        error.code == EPERM || error.code == EBADF || error.code == EINVAL || error.code == ELOOP
    }

    /// Removes a descriptor from the kernel set, or notes that its file may stay there.
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

    /// Before a change of what the kernel watches under a number: makes the token stale if an
    /// earlier report may still arrive.
    ///
    /// The number may name again a file that was left behind under it. The change then applies to
    /// that file, and the file watched until now is left behind. Or another thread has a report
    /// that it has not looked at yet: the kernel reports again after the change.
    ///
    /// - Returns: Whether it did.
    @discardableResult
    func renewToken(_ fd: Int32) -> Bool {
        guard state.pointee.mayHaveLeftovers || gate.hasOthers else { return false }
        state.pointee.table.at(fd).pointee.generation &+= 1
        return true
    }

    /// Notes that the kernel may still watch a file that had this number, and makes its token
    /// stale.
    ///
    /// The token must not stand for the file that has the number now.
    private func noteLeftover(_ fd: Int32) {
        state.pointee.mayHaveLeftovers = true
        state.pointee.table.at(fd).pointee.generation &+= 1
    }

    /// Adds a descriptor to the list of changes.
    func noteChange(_ fd: Int32) {
        let registration = state.pointee.table.at(fd)
        if registration.pointee.flags.contains(.changed) { return }
        registration.pointee.flags.insert(.changed)
        registration.pointee.nextChange = state.pointee.firstChange
        state.pointee.firstChange = fd
        duties.insert(.applyChanges)
    }

    /// Hands the changes since the last wait to the backend.
    ///
    /// A change that fails stays in the list and does not hold up the others.
    ///
    /// - Returns: The error of a change that failed, or `nil`.
    func applyChanges() -> SystemError? {
        assert(gate.isOwned)
        // The rebuilt set will include them.
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
            // With edge-triggered delivery even a change that was reversed asks for another edge.
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

    /// Hands the changes to the backend while threads may be waiting.
    ///
    /// A waiting thread is woken if a change fails: the next wait tries it again.
    func applyChangesOrWake() {
        if duties.isSuperset(of: .changesInPoll) && (try? evacuate()) == nil { return }
        if applyChanges() != nil && gate.isWaiting { try? state.pointee.wakeUp.kick() }
    }

    /// Hands one changed interest to the kernel.
    ///
    /// If the descriptor names no file that the backend can watch, poll(2) watches it and reports
    /// what is wrong. If it throws, the change must be tried again.
    private func apply(_ fd: Int32, _ wanted: UInt32) throws(SystemError) {
        let registration = state.pointee.table.at(fd)
        let installed = UInt32(registration.pointee.installed)
        if wanted == 0 { return installed == SelectorCore.spent ? () : unwatch(fd) }
        if installed == 0 { return try watchAgain(fd, wanted) }
        let mask = backendMask(wanted)
        let token = state.pointee.table.token(fd)
        if registration.pointee.flags.contains(.polled) {
            // The descriptor may name a file by now that the backend can watch.
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
                // The registered file is closed, or has another number now.
                noteLeftover(fd)
                return try watchAgain(fd, wanted)
            }
        }
        registration.pointee.installed = UInt16(truncatingIfNeeded: wanted)
    }

    /// Registers with poll(2) a descriptor that the backend cannot watch.
    private func watchByPoll(_ fd: Int32, _ events: UInt32) throws(SystemError) {
        let registration = state.pointee.table.at(fd)
        try polled.pointee.insert(
            fd, mask: Interest.pollMask(events), token: state.pointee.table.token(fd))
        registration.pointee.flags.insert(.polled)
        registration.pointee.installed = UInt16(truncatingIfNeeded: events)
        duties.insert(.pollBeside)
    }

    /// Removes a descriptor from those that poll(2) watches.
    private func unwatchByPoll(_ fd: Int32) {
        polled.pointee.remove(fd)
        state.pointee.table.at(fd).pointee.flags.remove(.polled)
        if polled.pointee.count == 0 { duties.remove(.pollBeside) }
    }

    /// Before a wait: moves what the backend can watch by now from poll(2) to the backend.
    ///
    /// None of it is ready, so none is closed: a number that was closed names another file now.
    func returnToBackend() {
        var slot = polled.pointee.count - 1
        while slot >= 0 {
            _ = try? returnToBackend(polled.pointee.number(at: slot))
            slot -= 1
        }
    }

    /// Moves a descriptor from poll(2) to the backend, if the backend can watch it now.
    ///
    /// - Returns: The mask that is known without poll(2), of a file that is always ready or of a
    ///   closed descriptor; otherwise 0.
    /// - Throws: An error that is not about the file.
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

    /// Gives the backend an empty kernel set and adds all registrations to it.
    ///
    /// No thread waits in the old set when it is replaced. After an error the next call starts
    /// over.
    ///
    /// - Throws: Also `ECANCELED`: the selector may be closed meanwhile.
    func rebuildIfNeeded() throws(SystemError) {
        guard duties.contains(.rebuild) else { return }
        try evacuate()
        // Another thread may have rebuilt it meanwhile.
        guard duties.contains(.rebuild) else { return }
        assert(gate.isOwned && !gate.isWaiting)
        try state.pointee.backend.reset(
            afterFork: duties.contains(.renewAfterFork), place: place)
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

    /// In a fork's child: opens a new wake-up.
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

    /// Keeps new descriptors of the selector off the numbers that are registered.
    private var place: PlaceDescriptor {
        withUnsafeMutablePointer(to: &state.pointee.table) {
            PlaceDescriptor(table: UnsafePointer($0))
        }
    }
}
