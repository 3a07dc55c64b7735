import CSelectorsPlatform
import CSelectors

/// The calls that change and read registrations.
extension SelectorCore {
    /// Starts to watch `fd`; see `sel_register`.
    package func register(
        _ fd: Int32, events: UInt32, data: UnsafeMutableRawPointer?
    ) throws(SystemError) {
        try validate(fd, events)
        try lockForChange()
        defer { unlock() }
        do throws(SystemError) {
            try insert(fd, events: events, data: data)
        } catch {
            throw explain(error)
        }
    }

    @inline(__always)
    private func insert(
        _ fd: Int32, events: UInt32, data: UnsafeMutableRawPointer?
    ) throws(SystemError) {
        if duties.contains(.rebuild) { try rebuild(toAdd: fd) }
        if !state.pointee.table.hasRoom(for: fd) {
            // The table grows only for a number that is an open descriptor.
            try check(platform_check_open(fd))
            try state.pointee.table.reserve(fd)
        }
        let registration = state.pointee.table.at(fd)
        guard registration.pointee.interest == 0 else { throw SystemError(EEXIST) }
        // The wake-up's own descriptors cannot be registered: one of them is watched already.
        if state.pointee.wakeUp.owns(fd) { throw SystemError(ELOOP) }
        try watch(fd, events)
        registration.pointee.data = data
        registration.pointee.interest = events
        state.pointee.table.append(fd)
        if registration.pointee.flags.contains(.polled) { passOnPoll() }
    }

    /// Rebuilds the kernel set before a descriptor is added that is not registered.
    ///
    /// The lock may be free meanwhile.
    private func rebuild(toAdd fd: Int32) throws(SystemError) {
        if state.pointee.table.find(fd) == nil { try rebuildIfNeeded() }
    }

    /// Changes what `fd` is watched for and its data; see `sel_modify`.
    package func modify(
        _ fd: Int32, events: UInt32, data: UnsafeMutableRawPointer?
    ) throws(SystemError) {
        try validate(fd, events)
        try lockForChange()
        defer { unlock() }
        guard let registration = state.pointee.table.find(fd) else { throw SystemError(ENOENT) }
        registration.pointee.data = data
        if registration.pointee.wanted == events { return }
        registration.pointee.interest = events
        registration.pointee.flags.remove(.disarmed)
        noteChange(fd)
        if state.pointee.isNested || gate.isWaiting {
            applyChangesOrWake()
            if registration.pointee.flags.contains(.polled) { passOnPoll() }
        }
    }

    /// With the lock held: wakes a waiting thread if poll(2) has descriptors to watch and no thread
    /// blocks in it.
    ///
    /// The thread then starts over and blocks in poll(2).
    func passOnPoll() {
        if duties.contains(.pollBeside) && !duties.contains(.blockInPoll) && gate.isWaiting {
            try? state.pointee.wakeUp.kick()
        }
    }

    /// Ends the registration of `fd` and returns it; see `sel_unregister`.
    @discardableResult
    package func unregister(_ fd: Int32) throws(SystemError) -> sel_key {
        guard fd >= 0 else { throw SystemError(EINVAL) }
        try lockForChange()
        defer { unlock() }
        let key = try find(fd)
        if !duties.contains(.rebuild) { unwatch(fd) }
        state.pointee.table.remove(fd)
        return key
    }

    /// The registration of `fd`; throws `ENOENT` if there is none.
    package func key(of fd: Int32) throws(SystemError) -> sel_key {
        guard fd >= 0 else { throw SystemError(EINVAL) }
        try lock()
        defer { unlock() }
        return try find(fd)
    }

    @inline(__always)
    private func validate(_ fd: Int32, _ events: UInt32) throws(SystemError) {
        if fd < 0 || !Interest.isUsual(events) { try validateInFull(fd, events) }
    }

    @inline(never)
    private func validateInFull(_ fd: Int32, _ events: UInt32) throws(SystemError) {
        guard fd >= 0, Interest.isValid(events) else { throw SystemError(EINVAL) }
        if events & Interest.edge != 0 && !state.pointee.capabilities.contains(.edge)
            || events & Interest.exclusive != 0 && !state.pointee.capabilities.contains(.exclusive)
            || events & Interest.readHangup != 0
                && !state.pointee.capabilities.contains(.readHangup)
        {
            throw SystemError(ENOTSUP)
        }
    }

    private func find(_ fd: Int32) throws(SystemError) -> sel_key {
        guard let registration = state.pointee.table.find(fd) else { throw SystemError(ENOENT) }
        return sel_key(
            fd: fd, events: registration.pointee.interest, data: registration.pointee.data)
    }

    /// Stores the first `max` registrations in registration order, and returns how many there are
    /// in all.
    @discardableResult
    package func copyKeys(
        to keys: UnsafeMutablePointer<sel_key>?, max: Int32
    ) throws(SystemError) -> Int32 {
        try lock()
        defer { unlock() }
        var next = state.pointee.table.first
        for index in 0..<Int(min(max, state.pointee.table.count)) {
            let registration = state.pointee.table.at(next)
            keys.unsafelyUnwrapped[index] = sel_key(
                fd: next, events: registration.pointee.interest, data: registration.pointee.data)
            next = registration.pointee.next
        }
        return state.pointee.table.count
    }

    /// The backend's own descriptor; throws `ENOTSUP` if it has none.
    package func fileno() throws(SystemError) -> Int32 {
        try lockForChange()
        defer { unlock() }
        do throws(SystemError) {
            try rebuildIfNeeded()
            guard let fileno = try state.pointee.backend.fileno() else {
                throw SystemError(ENOTSUP)
            }
            if let failure = applyChanges() { throw failure }
            state.pointee.isNested = true
            return fileno
        } catch {
            throw explain(error)
        }
    }
}
