import CSelectorsPlatform
import CSelectors

/// What is registered, and the calls that change it or tell it.
extension SelectorCore {
    /// Starts to watch `fd`; `sel_register` has the manual.
    package func register(
        _ fd: Int32, events: UInt32, data: UnsafeMutableRawPointer?
    ) throws(SystemError) {
        try validate(fd, events)
        try lockForChange()
        defer { unlock() }
        if !table.hasRoom(for: fd) {
            // Memory for a number is claimed only if it can be one.
            try check(platform_check_open(fd))
            try table.reserve(fd)
        }
        let registration = table.at(fd)
        guard registration.pointee.interest == 0 else { throw SystemError(EEXIST) }
        if duties.contains(.rebuild) { try rebuildIfNeeded() }
        try watch(fd, events)
        registration.pointee.data = data
        registration.pointee.interest = events
        table.append(fd)
        // The wait that goes on does not look at what is poll's.
        if registration.pointee.flags.contains(.refused) { try? interruptWait() }
    }

    /// Changes what `fd` is watched for and its data; `sel_modify` has the manual.
    package func modify(
        _ fd: Int32, events: UInt32, data: UnsafeMutableRawPointer?
    ) throws(SystemError) {
        try validate(fd, events)
        try lockForChange()
        defer { unlock() }
        guard let registration = table.find(fd) else { throw SystemError(ENOENT) }
        registration.pointee.data = data
        if registration.pointee.wanted == events { return }
        registration.pointee.interest = events
        registration.pointee.flags.remove(.disarmed)
        noteChange(fd)
        if isNested || gate.isWaiting {
            applyChangesOrWake()
            if registration.pointee.flags.contains(.refused) { try? interruptWait() }
        }
    }

    /// Forgets `fd` and returns its registration; `sel_unregister` has the manual.
    @discardableResult
    package func unregister(_ fd: Int32) throws(SystemError) -> sel_key {
        guard fd >= 0 else { throw SystemError(EINVAL) }
        try lockForChange()
        defer { unlock() }
        let key = try find(fd)
        if !duties.contains(.rebuild) { unwatch(fd) }
        table.remove(fd)
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
        if events & Interest.edge != 0 && !capabilities.contains(.edge)
            || events & Interest.exclusive != 0 && !capabilities.contains(.exclusive)
        {
            throw SystemError(ENOTSUP)
        }
    }

    private func find(_ fd: Int32) throws(SystemError) -> sel_key {
        guard let registration = table.find(fd) else { throw SystemError(ENOENT) }
        return sel_key(
            fd: fd, events: registration.pointee.interest, data: registration.pointee.data)
    }

    /// Stores the first `max` registrations in the order in which they came, and returns how many
    /// there are.
    @discardableResult
    package func copyKeys(
        to keys: UnsafeMutablePointer<sel_key>?, max: Int32
    ) throws(SystemError) -> Int32 {
        try lock()
        defer { unlock() }
        var next = table.first
        for index in 0..<Int(min(max, table.count)) {
            let registration = table.at(next)
            keys.unsafelyUnwrapped[index] = sel_key(
                fd: next, events: registration.pointee.interest, data: registration.pointee.data)
            next = registration.pointee.next
        }
        return table.count
    }

    /// The backend's own descriptor; throws `ENOTSUP` where it has none.
    package func fileno() throws(SystemError) -> Int32 {
        try lockForChange()
        defer { unlock() }
        try rebuildIfNeeded()
        guard let fileno = try backend.fileno() else { throw SystemError(ENOTSUP) }
        try applyChanges()
        isNested = true
        return fileno
    }
}
