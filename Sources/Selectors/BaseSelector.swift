import CSelectors
@_exported import SelectorsCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Waits for readiness of many file objects at once, on any backend.
///
///     let selector = try DefaultSelector<Connection>()
///     try selector.register(socket, events: .read, data: connection)
///     while true {
///         for (key, events) in try selector.select() {
///             key.data.serve(events)
///         }
///     }
///
/// It is Python's `selectors.BaseSelector`, generic over what is attached to a registration.
/// ``DefaultSelector`` takes the best backend, ``EpollSelector`` and its like a certain one.
///
/// Any thread may use it, and threads may use it at the same time, if `Data` is `Sendable`: what one
/// registers, modifies or unregisters takes effect in the `select` that another is blocked in. Of
/// two selects at once, one waits for the other.
public class BaseSelector<Data> {
    private let core: SelectorCore
    /// Guards what follows.
    ///
    /// It is held while the core changes a registration, so that both agree, and never while it
    /// waits.
    private let lock = Lock()
    /// What is kept of each registered number.
    private var registrations: [Registration?] = []
    /// Tells registrations of the same number apart: it comes back with each event.
    private var lastSerial = 0
    /// Room for events, while no `select` has it.
    private var spareBuffer: EventBuffer?

    private struct Registration {
        var key: SelectorKey<Data>
        let serial: Int

        /// What the core keeps for it.
        var data: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: serial) }
    }

    /// Opens a selector on the backend that a list names, as `"poll"`, `"uring,epoll"`, `"-epoll"`.
    ///
    /// `nil` stands for the list in the environment variable `SELECTORS_BACKEND`, or, where that is
    /// unset or empty or the process is privileged, for the best backend of the system.
    ///
    /// - Throws: `.backend` for a list that is malformed, holds an unknown name, or none of whose
    ///   backends can be used here; `.backend` with `EMFILE`, `ENFILE` or `ENOMEM` from the system.
    ///
    /// The C function is `sel_open`.
    public init(backend: String? = nil) throws(SelectorError) {
        do throws(SystemError) {
            if let list = backend?.utf8CString {
                core = try list.withUnsafeBufferPointer { list throws(SystemError) in
                    try BackendRegistry.shared.open(list.baseAddress)
                }
            } else {
                core = try BackendRegistry.shared.open(nil)
            }
        } catch {
            throw SelectorError(BackendError(error))
        }
    }

    /// The name of the backend.
    ///
    /// The C function is `sel_backend_name`.
    public var backend: String {
        String(cString: core.backendName)
    }

    /// Starts to watch a file object for events, and returns its key.
    ///
    /// - Parameters:
    ///   - fileObject: Whatever has a descriptor. Regular files are always ready.
    ///   - events: One or more of `.read`, `.write` and `.priority`, and delivery modes.
    ///   - data: Comes back with each event.
    /// - Returns: The key.
    /// - Throws: `.invalidEvents`, `.invalidFileDescriptor`, `.alreadyRegistered`, `.closed`;
    ///   `.system` with `EBADF` (not open), `ENOTSUP` (the backend does not have the delivery mode),
    ///   `ENOMEM`, `ENOSPC` (over the kernel's limit).
    /// - Complexity: O(1).
    ///
    /// The C function is `sel_register`.
    @discardableResult
    public func register(
        _ fileObject: some FileObject, events: EventMask, data: Data
    ) throws(SelectorError) -> SelectorKey<Data> {
        try validate(events)
        let fd = fileObject.fileDescriptor
        if fd < 0 { throw try refusal(.invalidFileDescriptor) }
        return try lock.withLock { () throws(SelectorError) in
            let key = SelectorKey(fileObject: fileObject, fd: fd, events: events, data: data)
            let registration = Registration(key: key, serial: lastSerial + 1)
            try ask(about: fd) { () throws(SystemError) in
                try core.register(fd, events: events.rawValue, data: registration.data)
            }
            lastSerial += 1
            while registrations.count <= Int(fd) { registrations.append(nil) }
            registrations[Int(fd)] = registration
            return key
        }
    }

    /// Changes what a registered file object is watched for, and its data; returns the new key.
    ///
    /// The kernel is told at the start of the next `select`, so that a change and its reversal cost
    /// no system call.
    ///
    /// - Throws: `.invalidEvents`, `.invalidFileDescriptor`, `.notRegistered`, `.closed`;
    ///   `.system(ENOTSUP)` where the backend does not have the delivery mode.
    /// - Complexity: O(1); allocates nothing.
    ///
    /// The C function is `sel_modify`.
    @discardableResult
    public func modify(
        _ fileObject: some FileObject, events: EventMask, data: Data
    ) throws(SelectorError) -> SelectorKey<Data> {
        try validate(events)
        return try lock.withLock { () throws(SelectorError) in
            var registration = try find(fileObject)
            let old = registration.key
            try ask(about: old.fd) { () throws(SystemError) in
                try core.modify(old.fd, events: events.rawValue, data: registration.data)
            }
            registration.key = SelectorKey(
                fileObject: old.fileObject, fd: old.fd, events: events, data: data)
            registrations[Int(old.fd)] = registration
            return registration.key
        }
    }

    /// Forgets a file object and returns its key.
    ///
    /// It may be closed by now.
    ///
    /// - Throws: `.invalidFileDescriptor`, `.notRegistered`, `.closed`.
    /// - Complexity: O(1), for a closed object O(n).
    ///
    /// The C function is `sel_unregister`.
    @discardableResult
    public func unregister(_ fileObject: some FileObject) throws(SelectorError) -> SelectorKey<Data>
    {
        try lock.withLock { () throws(SelectorError) in
            let key = try find(fileObject).key
            try ask(about: key.fd) { () throws(SystemError) in
                _ = try core.unregister(key.fd)
            }
            registrations[Int(key.fd)] = nil
            return key
        }
    }

    /// Waits until a registered file object is ready or the time is over, and returns what is ready.
    ///
    /// - Parameter timeout: `nil`: no limit; zero or less: only looks; else it waits at least that
    ///   long, with nothing registered too. A signal does not end the wait (PEP 475), unless
    ///   ``setInterruptible(_:)`` has asked for it.
    /// - Returns: Each ready object once, in no particular order; empty when the time is over.
    /// - Throws: `.closed`, `.interrupted`; `.system` with `ENOMEM`.
    /// - Complexity: O(ready) with epoll, O(registered) with poll and select.
    ///
    /// The C function is `sel_select`.
    public func select(
        timeout: Duration? = nil
    ) throws(SelectorError) -> [(key: SelectorKey<Data>, events: EventMask)] {
        try collect(timeout, nil)
    }

    /// Does what ``select(timeout:)`` does, and replaces the contents of an array with what is
    /// ready, the causes included.
    ///
    /// With an array that is used again it allocates nothing.
    public func select(
        into ready: inout [ReadyEvent<Data>], timeout: Duration? = nil
    ) throws(SelectorError) {
        try collect(into: &ready, timeout, nil)
    }

    /// Does what ``select(timeout:)`` does, with this thread's signal mask replaced while it waits
    /// in the kernel, in one step with the wait: a signal that is blocked all the time but here can
    /// neither be missed nor come too early.
    ///
    /// Signals come in only while nothing is ready. Whether one ends the wait is up to
    /// ``setInterruptible(_:)``.
    ///
    /// - Throws: What `select` does; `.system` with `ENOSYS` or `EPERM` where the system has no such
    ///   call.
    ///
    /// The C function is `sel_pselect`.
    public func pselect(
        timeout: Duration? = nil, signalMask: sigset_t
    ) throws(SelectorError) -> [(key: SelectorKey<Data>, events: EventMask)] {
        try withUnsafePointer(to: signalMask) { mask throws(SelectorError) in
            try collect(timeout, mask)
        }
    }

    /// Does what ``pselect(timeout:signalMask:)`` does, and replaces the contents of an array with
    /// what is ready, the causes included.
    public func pselect(
        into ready: inout [ReadyEvent<Data>], timeout: Duration? = nil, signalMask: sigset_t
    ) throws(SelectorError) {
        try withUnsafePointer(to: signalMask) { mask throws(SelectorError) in
            try collect(into: &ready, timeout, mask)
        }
    }

    /// Makes a handled signal end a wait with `.interrupted`, also the one that goes on, or not, as
    /// it is at first.
    ///
    /// - Throws: `.closed`.
    ///
    /// The C function is `sel_set_interruptible`.
    public func setInterruptible(_ isInterruptible: Bool) throws(SelectorError) {
        try ask(about: -1) { () throws(SystemError) in
            try core.setInterruptible(isInterruptible)
        }
    }

    /// Wakes the `select` that is waiting now, or else the next one: it returns what is ready, or
    /// nothing.
    ///
    /// More wake-ups before that are one with it.
    ///
    /// - Throws: `.system`, which is not to be expected. After ``close()`` it does nothing.
    ///
    /// Any thread may call it, and a signal handler. The C function is `sel_wakeup`.
    public func wakeup() throws(SelectorError) {
        try ask(about: -1) { () throws(SystemError) in try core.wakeup() }
    }

    // swift-format-ignore: AlwaysUseLowerCamelCase
    /// Gives the key of a registered file object, which may be closed by now.
    ///
    /// - Throws: `.invalidFileDescriptor`, `.notRegistered`, `.closed`.
    /// - Complexity: O(1), for a closed object O(n).
    ///
    /// The C function is `sel_get_key`.
    public func get_key(_ fileObject: some FileObject) throws(SelectorError) -> SelectorKey<Data> {
        try lock.withLock { () throws(SelectorError) in try find(fileObject).key }
    }

    // swift-format-ignore: AlwaysUseLowerCamelCase
    /// Gives a live, read-only view of all registrations.
    ///
    /// - Throws: `.closed`.
    ///
    /// The C function is `sel_get_map`.
    public func get_map() throws(SelectorError) -> SelectorMap<Data> {
        try ask(about: -1) { () throws(SystemError) in try core.checkOpen() }
        return SelectorMap(of: self)
    }

    /// Gives the selector's own descriptor, which is readable when a registered object is ready.
    ///
    /// - Throws: `.closed`; `.system(ENOTSUP)` where the backend has none (poll, select).
    ///
    /// The C function is `sel_fileno`.
    public func fileno() throws(SelectorError) -> Int32 {
        try ask(about: -1) { () throws(SystemError) in try core.fileno() }
    }

    /// Closes the selector.
    ///
    /// Registered objects stay open. A `select` that is blocked in another thread throws `.closed`,
    /// and this waits for it to leave. To close again does nothing; all else throws `.closed` from
    /// then on.
    ///
    /// The C function is `sel_close`.
    public func close() {
        core.close()
        lock.withLock { registrations = [] }
    }

    // MARK: Bookkeeping

    /// All keys, in the order of registration; none once closed.
    var keysInOrder: [SelectorKey<Data>] {
        lock.withLock {
            registrations.compactMap { $0 }.sorted { $0.serial < $1.serial }.map(\.key)
        }
    }

    /// The number of registrations; 0 once closed.
    var count: Int {
        Int((try? core.copyKeys(to: nil, max: 0)) ?? 0)
    }

    /// The key of a file object: by its descriptor or, once that is gone, by its identity.
    func key(of fileObject: some FileObject) -> SelectorKey<Data>? {
        lock.withLock { registration(of: fileObject)?.key }
    }

    private func find(_ fileObject: some FileObject) throws(SelectorError) -> Registration {
        if let registration = registration(of: fileObject) { return registration }
        let fd = fileObject.fileDescriptor
        throw try refusal(fd < 0 ? .invalidFileDescriptor : .notRegistered(fd))
    }

    private func registration(of fileObject: some FileObject) -> Registration? {
        let fd = Int(fileObject.fileDescriptor)
        if fd >= 0 { return fd < registrations.count ? registrations[fd] : nil }
        guard type(of: fileObject) is AnyClass else { return nil }
        let identity = fileObject as AnyObject
        return registrations.lazy.compactMap { $0 }.first {
            type(of: $0.key.fileObject) is AnyClass && $0.key.fileObject as AnyObject === identity
        }
    }

    private func validate(_ events: EventMask) throws(SelectorError) {
        if !Interest.isValid(events.rawValue) { throw try refusal(.invalidEvents) }
    }

    /// Gives back the error for a wrong argument, unless the selector is closed, which goes first.
    private func refusal(_ error: SelectorError) throws(SelectorError) -> SelectorError {
        try ask(about: -1) { () throws(SystemError) in try core.checkOpen() }
        return error
    }

    /// Calls the core, and gives its errors their names.
    private func ask<Result>(
        about fd: Int32, _ call: () throws(SystemError) -> Result
    ) throws(SelectorError) -> Result {
        do throws(SystemError) {
            return try call()
        } catch {
            throw SelectorError(error, fd: fd)
        }
    }

    private func collect(
        _ timeout: Duration?, _ signals: UnsafePointer<sigset_t>?
    ) throws(SelectorError) -> [(key: SelectorKey<Data>, events: EventMask)] {
        var ready: [(key: SelectorKey<Data>, events: EventMask)] = []
        try wait(timeout, signals) { count in
            ready.reserveCapacity(count)
        } deliver: { event in
            ready.append((event.key, event.events))
        }
        return ready
    }

    private func collect(
        into ready: inout [ReadyEvent<Data>], _ timeout: Duration?,
        _ signals: UnsafePointer<sigset_t>?
    ) throws(SelectorError) {
        try wait(timeout, signals) { count in
            ready.removeAll(keepingCapacity: true)
            ready.reserveCapacity(count)
        } deliver: { event in
            ready.append(event)
        }
    }

    /// Waits, tells how many events came at most, and delivers those that are still asked for.
    private func wait(
        _ timeout: Duration?, _ signals: UnsafePointer<sigset_t>?, _ prepare: (Int) -> Void,
        deliver: (ReadyEvent<Data>) -> Void
    ) throws(SelectorError) {
        var buffer = lock.withLock { spareBuffer.take() } ?? EventBuffer()
        let count = try ask(about: -1) { () throws(SystemError) in
            try buffer.reserve(max(1, Int(try core.copyKeys(to: nil, max: 0))))
            return Int(
                try check(
                    core.select(
                        into: buffer.base, max: Int32(buffer.capacity),
                        timeout: timeout.map(nanoseconds) ?? -1, signals: signals)))
        }
        prepare(count)
        lock.lock()
        for index in 0..<count {
            let event = buffer[index]
            // Another thread may have unregistered or modified it since.
            let fd = Int(event.key.fd)
            guard fd < registrations.count, let registration = registrations[fd],
                registration.data == event.key.data
            else { continue }
            let events = registration.key.events.intersection(EventMask(rawValue: event.events))
            if events.isEmpty { continue }
            deliver(
                ReadyEvent(
                    key: registration.key, events: events,
                    detail: EventDetail(rawValue: event.detail)))
        }
        spareBuffer = consume buffer
        lock.unlock()
    }
}

/// A reference may go to other threads: the lock guards what is here, the core what it has.
extension BaseSelector: @unchecked Sendable where Data: Sendable {}

/// Uses a selector and closes it on the way out, also when the body throws.
///
///     try withSelector(DefaultSelector<Void>()) { selector in … }
///
/// - Throws: What the body throws.
public func withSelector<Selector, Data, Result, Failure: Error>(
    _ selector: Selector, _ body: (Selector) throws(Failure) -> Result
) throws(Failure) -> Result where Selector: BaseSelector<Data> {
    defer { selector.close() }
    return try body(selector)
}

/// A duration in whole nanoseconds, rounded up and cut to the range from 0 to `Int64.max`.
private func nanoseconds(_ duration: Duration) -> Int64 {
    if duration <= .zero { return 0 }
    // Before anything is computed: components trap beyond the range of Int64.
    if duration >= .nanoseconds(Int64.max) { return .max }
    let (seconds, attoseconds) = duration.components
    return seconds * 1_000_000_000 + (attoseconds + 999_999_999) / 1_000_000_000
}
