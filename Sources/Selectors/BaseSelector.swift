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
/// It is Python's `selectors.BaseSelector`, generic over the data attached to a registration.
/// ``DefaultSelector`` uses the best backend; ``EpollSelector`` and its siblings use a specific
/// one.
///
/// Any thread may use it, and several threads at the same time if `Data` is `Sendable`: a change
/// that one thread makes takes effect in the `select` in which another is blocked. Of two
/// concurrent selects, one waits for the other.
public class BaseSelector<Data> {
    @usableFromInline final let engine: SelectorEngine
    /// The key and the serial number of each registered descriptor, guarded by the engine's lock.
    ///
    /// The lock is held while the core changes a registration, so that both agree.
    @exclusivity(unchecked) @usableFromInline final var registrations = RegistrationSlots<Data>()
    @exclusivity(unchecked) @usableFromInline final var lastSerial = 0

    /// Opens a selector on the backend that a list selects: `"poll"`, `"uring,epoll"`, `"-epoll"`.
    ///
    /// `nil` selects the list in the environment variable `SELECTORS_BACKEND`. If that is unset or
    /// empty, or the process is privileged, it selects the best backend of the system.
    ///
    /// - Throws: `.backend` if the list is malformed, contains an unknown name, or names no
    ///   backend that can be used here; `.backend` with `EMFILE`, `ENFILE` or `ENOMEM` from the
    ///   system.
    ///
    /// The C function is `sel_open`.
    public init(backend: String? = nil) throws(SelectorError) {
        engine = try SelectorEngine(backend)
    }

    /// Closes the selector, even if a ``waker`` of it still exists.
    deinit {
        engine.close()
    }

    /// The optional features of the backend.
    ///
    /// The C function is `sel_capabilities`.
    public final var capabilities: BackendCapabilities {
        engine.capabilities
    }

    /// The name of the backend.
    ///
    /// The C function is `sel_backend_name`.
    public final var backend: String {
        engine.backend
    }

    /// Starts to watch a file object for events, and returns its key.
    ///
    /// - Parameters:
    ///   - fileObject: An object with a descriptor. Regular files are always ready.
    ///   - events: One or more of `.read`, `.write`, `.priority` and `.readHangup`, and delivery
    ///     modes.
    ///   - data: Returned with each event.
    /// - Returns: The key.
    /// - Throws: `.invalidEvents`, `.invalidFileDescriptor`, `.alreadyRegistered`, `.closed`;
    ///   `.system` with `EBADF` (not open), `ENOTSUP` (the backend does not have the delivery mode),
    ///   `ENOMEM`, `ENOSPC` (over the kernel's limit).
    /// - Complexity: O(1).
    ///
    /// The C function is `sel_register`.
    @discardableResult
    @inlinable
    public final func register(
        _ fileObject: some FileObject, events: EventMask, data: Data
    ) throws(SelectorError) -> SelectorKey<Data> {
        try engine.validate(events)
        let fd = fileObject.fileDescriptor
        return try add(SelectorKey(.of(fileObject), fd: fd, events: events, data: data))
    }

    /// Changes the events and the data of a registered file object; returns the new key.
    ///
    /// The change reaches the kernel at the start of the next `select`, so that a change and its
    /// reversal cost no system call.
    ///
    /// - Throws: `.invalidEvents`, `.invalidFileDescriptor`, `.notRegistered`, `.closed`;
    ///   `.system(ENOTSUP)` where the backend does not have the delivery mode.
    /// - Complexity: O(1); allocates nothing.
    ///
    /// The C function is `sel_modify`.
    @discardableResult
    @inlinable
    public final func modify(
        _ fileObject: some FileObject, events: EventMask, data: Data
    ) throws(SelectorError) -> SelectorKey<Data> {
        try engine.validate(events)
        let (old, new) = try replace(fileObject, events, data)
        // The lock is free when the old data are released, as their `deinit` may do anything.
        withExtendedLifetime(old) {}
        return new
    }

    /// Changes only the data of a registered file object; returns the new key.
    ///
    /// Unlike ``modify(_:events:data:)-(FileObject,_,_)`` it does not re-arm a one-shot
    /// registration.
    ///
    /// - Throws: `.invalidFileDescriptor`, `.notRegistered`, `.closed`.
    /// - Complexity: O(1), for a closed object O(n); makes no system call and allocates nothing.
    @discardableResult
    @inlinable
    public final func modify(
        _ fileObject: some FileObject, data: Data
    ) throws(SelectorError) -> SelectorKey<Data> {
        let (old, new) = try replace(fileObject, nil, data)
        // The lock is free when the old data are released, as their `deinit` may do anything.
        withExtendedLifetime(old) {}
        return new
    }

    /// Unregisters a file object and returns its key.
    ///
    /// The object may be closed already.
    ///
    /// - Throws: `.invalidFileDescriptor`, `.notRegistered`, `.closed`.
    /// - Complexity: O(1), for a closed object O(n).
    ///
    /// The C function is `sel_unregister`.
    @discardableResult
    @inlinable
    public final func unregister(_ fileObject: some FileObject) throws(SelectorError)
        -> SelectorKey<Data>
    {
        let fd = fileObject.fileDescriptor
        try engine.lock()
        defer { engine.unlock() }
        let known = try find(fileObject, fd)
        try engine.unregister(known)
        return registrations.remove(known)
    }

    /// Returns the key of a registered file object, which may be closed already.
    ///
    /// - Throws: `.invalidFileDescriptor`, `.notRegistered`, `.closed`.
    /// - Complexity: O(1), for a closed object O(n).
    ///
    /// The C function is `sel_get_key`.
    @inlinable
    public final func key(
        of fileObject: some FileObject
    ) throws(SelectorError) -> SelectorKey<Data> {
        let fd = fileObject.fileDescriptor
        try engine.lock()
        defer { engine.unlock() }
        return registrations[try find(fileObject, fd)]
    }

    /// A live, read-only view of all registrations; empty once the selector is closed.
    ///
    /// The C function is `sel_get_map`.
    public final var keys: SelectorMap<Data> {
        SelectorMap(of: self)
    }

    /// Waits until a registered file object is ready or the timeout expires; returns the ready
    /// ones.
    ///
    /// - Parameter timeout: `nil`: no limit; zero or less: do not block; otherwise it waits at
    ///   least that long, even if nothing is registered. A signal does not end the wait (PEP 475),
    ///   unless ``setInterruptible(_:)`` enables that.
    /// - Returns: Each ready object once, in no particular order; empty if the timeout expires, or
    ///   after a ``wakeup()``.
    /// - Throws: `.closed`, `.interrupted`; `.system` with `ENOMEM`.
    /// - Complexity: O(ready) with epoll, O(registered) with poll and select.
    ///
    /// The C function is `sel_select`.
    @inlinable
    public final func select(
        timeout: Duration? = nil
    ) throws(SelectorError) -> [(key: SelectorKey<Data>, events: EventMask)] {
        try collect(timeout, nil)
    }

    /// Does what ``select(timeout:)`` does, and returns events with their causes.
    ///
    ///     for event in try selector.wait() where event.detail.contains(.error) { … }
    @inlinable
    public final func wait(
        timeout: Duration? = nil
    ) throws(SelectorError) -> [ReadyEvent<Data>] {
        var ready: [ReadyEvent<Data>] = []
        try collect(into: &ready, timeout, nil)
        return ready
    }

    /// Does what ``select(timeout:)`` does, and replaces the contents of an array with the events
    /// and their causes.
    ///
    /// If the array is reused, it allocates nothing.
    @inlinable
    public final func select(
        into ready: inout [ReadyEvent<Data>], timeout: Duration? = nil
    ) throws(SelectorError) {
        try collect(into: &ready, timeout, nil)
    }

    /// Does what ``select(timeout:)`` does, with another signal mask while the thread blocks.
    ///
    /// The mask is replaced atomically with the wait. So a signal that is blocked at all other
    /// times can neither be missed nor arrive too early.
    ///
    /// Signals are delivered only while nothing is ready. ``setInterruptible(_:)`` determines
    /// whether a signal ends the wait.
    ///
    /// - Throws: The errors of `select`; `.system` with `ENOSYS` or `EPERM` if the system lacks
    ///   the call.
    ///
    /// The C function is `sel_pselect`.
    @inlinable
    public final func pselect(
        timeout: Duration? = nil, signalMask: sigset_t
    ) throws(SelectorError) -> [(key: SelectorKey<Data>, events: EventMask)] {
        try withUnsafePointer(to: signalMask) { mask throws(SelectorError) in
            try collect(timeout, mask)
        }
    }

    /// Does what ``pselect(timeout:signalMask:)`` does, and replaces the contents of an array with
    /// the events and their causes.
    @inlinable
    public final func pselect(
        into ready: inout [ReadyEvent<Data>], timeout: Duration? = nil, signalMask: sigset_t
    ) throws(SelectorError) {
        try withUnsafePointer(to: signalMask) { mask throws(SelectorError) in
            try collect(into: &ready, timeout, mask)
        }
    }

    /// Determines whether a handled signal ends a wait, including one in progress, with
    /// `.interrupted`.
    ///
    /// The default is `false`.
    ///
    /// - Throws: `.closed`.
    ///
    /// The C function is `sel_set_interruptible`.
    public final func setInterruptible(_ isInterruptible: Bool) throws(SelectorError) {
        try engine.setInterruptible(isInterruptible)
    }

    /// Wakes the `select` in progress, or else the next one: it returns what is ready, or nothing.
    ///
    /// Several wake-ups before that count as one.
    ///
    /// - Throws: `.system`, which is not expected. After ``close()`` it does nothing.
    ///
    /// Any thread may call it, and also a signal handler. The C function is `sel_wakeup`.
    public final func wakeup() throws(SelectorError) {
        try engine.wakeup()
    }

    /// A handle that wakes this selector from any thread, even if `Data` is not `Sendable`.
    ///
    /// See ``SelectorWaker`` for its use in a signal handler.
    public final var waker: SelectorWaker {
        SelectorWaker(engine)
    }

    /// Returns the selector's own descriptor, which is readable when a registered object is ready.
    ///
    /// - Throws: `.closed`; `.system(ENOTSUP)` if the backend has none (poll, select).
    ///
    /// The C function is `sel_fileno`.
    public final func fileno() throws(SelectorError) -> Int32 {
        try engine.fileno()
    }

    /// Closes the selector.
    ///
    /// Registered objects stay open. A `select` that is blocked in another thread throws
    /// `.closed`, and `close` waits until it has returned. A second call does nothing; all other
    /// calls throw `.closed` from then on.
    ///
    /// The C function is `sel_close`.
    public final func close() {
        engine.close()
        guard (try? engine.lock()) != nil else { return }
        let old = registrations.inOrder.map { registrations.remove($0) }
        engine.unlock()
        // The lock is free when the old data are released, as their `deinit` may do anything.
        withExtendedLifetime(old) {}
    }

    // MARK: Bookkeeping

    /// All keys, in the order of registration; empty once closed.
    var keysInOrder: [SelectorKey<Data>] {
        guard (try? engine.lock()) != nil else { return [] }
        defer { engine.unlock() }
        return registrations.inOrder.map { registrations[$0] }
    }

    /// The number of registrations; 0 once closed.
    var count: Int { engine.registered }

    /// Registers the descriptor of a key, whose events are valid, and returns the key.
    @inlinable
    final func add(_ key: SelectorKey<Data>) throws(SelectorError) -> SelectorKey<Data> {
        if key.fd < 0 { throw try engine.refusal(.invalidFileDescriptor) }
        try engine.lock()
        defer { engine.unlock() }
        try engine.register(
            key.fd, key.events, data: UnsafeMutableRawPointer(bitPattern: lastSerial + 1))
        lastSerial += 1
        registrations.reserve(key.fd)
        registrations.add(key.fd, serial: lastSerial, key: key)
        return key
    }

    /// Returns the descriptor of a registered file object, with the lock held; `fd` is its current
    /// one.
    @inlinable
    final func find(_ fileObject: some FileObject, _ fd: Int32) throws(SelectorError) -> Int32 {
        if let known = number(of: fileObject, fd) { return known }
        throw try engine.refusal(fd < 0 ? .invalidFileDescriptor : .notRegistered(fd))
    }

    @inlinable
    final func number(of fileObject: some FileObject, _ fd: Int32) -> Int32? {
        if fd < 0 { return number(ofClosed: fileObject) }
        return registrations.serial(fd) != 0 ? fd : nil
    }

    /// Finds the descriptor of a closed file object by identity: the one registered first.
    @usableFromInline
    final func number(ofClosed fileObject: some FileObject) -> Int32? {
        guard type(of: fileObject) is AnyClass else { return nil }
        let identity = fileObject as AnyObject
        var found: Int32?
        for fd in 0..<Int32(registrations.count) where registrations.serial(fd) != 0 {
            guard let known = registrations[fd].box?.fileObject, type(of: known) is AnyClass,
                known as AnyObject === identity
            else { continue }
            if let first = found, registrations.serial(first) < registrations.serial(fd) {
                continue
            }
            found = fd
        }
        return found
    }

    @inlinable
    final func collect(
        _ timeout: Duration?, _ signals: UnsafePointer<sigset_t>?
    ) throws(SelectorError) -> [(key: SelectorKey<Data>, events: EventMask)] {
        let reports = try engine.wait(timeout, signals)
        // Creating it with a capacity, as with unsafeUninitializedCapacity, looks up the type at
        // run time.
        var ready: [(key: SelectorKey<Data>, events: EventMask)] = []
        ready.reserveCapacity(reports.count)
        try lock(toCollect: reports)
        for index in 0..<reports.count {
            let report = reports.base[index]
            let events = events(of: report)
            if events.isEmpty { continue }
            ready.append((registrations[report.key.fd], events))
        }
        engine.finish(reports)
        return ready
    }

    @inlinable
    final func collect(
        into ready: inout [ReadyEvent<Data>], _ timeout: Duration?,
        _ signals: UnsafePointer<sigset_t>?
    ) throws(SelectorError) {
        let reports = try engine.wait(timeout, signals)
        // Release old elements before taking the lock: their data may use the selector.
        if !_isPOD(Data.self) || ready.contains(where: { $0.key.box != nil }) {
            for _ in 0..<ready.count { ready.removeLast() }
        }
        ready.reserveCapacity(reports.count)
        try lock(toCollect: reports)
        let reused = min(ready.count, reports.count)
        let replaced = ready.withUnsafeMutableBufferPointer { places in
            replace(places, from: reports, reused)
        }
        while replaced < ready.count { ready.removeLast() }
        for index in reused..<reports.count {
            if let event = event(of: reports.base[index]) { ready.append(event) }
        }
        engine.finish(reports)
    }

    /// Takes the lock after a wait.
    @inlinable
    final func lock(toCollect reports: EventBuffer) throws(SelectorError) {
        do throws(SelectorError) {
            try engine.lock()
        } catch {
            engine.keep(reports)
            throw error
        }
    }

    /// Changes the data of a registration, and its events unless they are `nil`; returns the old
    /// and the new key.
    @inlinable
    final func replace(
        _ fileObject: some FileObject, _ events: EventMask?, _ data: Data
    ) throws(SelectorError) -> (SelectorKey<Data>, SelectorKey<Data>) {
        let number = fileObject.fileDescriptor
        try engine.lock()
        defer { engine.unlock() }
        let fd = try find(fileObject, number)
        let old = registrations[fd]
        if let events {
            let serial = registrations.serial(fd)
            try engine.modify(fd, events, data: UnsafeMutableRawPointer(bitPattern: serial))
        } else {
            // The slots still hold the registration for a moment while another thread closes the
            // selector.
            try engine.checkOpen()
        }
        let new = SelectorKey(old.box, fd: fd, events: events ?? old.events, data: data)
        registrations[fd] = new
        return (old, new)
    }

    /// Overwrites elements that hold no reference with the events of the first reports; returns
    /// their number.
    ///
    /// So the array is checked for uniqueness once, and not for each event.
    @inlinable
    @inline(__always)
    final func replace(
        _ elements: UnsafeMutableBufferPointer<ReadyEvent<Data>>, from reports: EventBuffer,
        _ count: Int
    ) -> Int {
        guard var place = elements.baseAddress else { return 0 }
        let first = place
        for index in 0..<count {
            let report = reports.base[index]
            let events = events(of: report)
            if events.isEmpty { continue }
            let detail = EventDetail(rawValue: report.detail)
            // SAFETY: a report with events is registered; the old element needs no
            // deinitialization.
            let key = registrations.keys.unsafelyUnwrapped + Int(report.key.fd)
            if key.pointee.box == nil {
                // Avoids a retain call, which would have no effect.
                let copy = SelectorKey(
                    nil, fd: report.key.fd, events: key.pointee.events, data: key.pointee.data)
                place.initialize(to: ReadyEvent(key: copy, events: events, detail: detail))
            } else {
                place.initialize(to: ReadyEvent(key: key.pointee, events: events, detail: detail))
            }
            place += 1
        }
        return place - first
    }

    /// The event of a report; `nil` if another thread has unregistered the descriptor meanwhile.
    @inlinable
    @inline(__always)
    final func event(of report: sel_event) -> ReadyEvent<Data>? {
        let events = events(of: report)
        if events.isEmpty { return nil }
        return ReadyEvent(
            key: registrations[report.key.fd], events: events,
            detail: EventDetail(rawValue: report.detail))
    }

    /// The events of a report; empty if another thread has unregistered the descriptor meanwhile.
    @inlinable
    final func events(of report: sel_event) -> EventMask {
        let fd = report.key.fd
        guard registrations.serial(fd) == Int(bitPattern: report.key.data) else { return [] }
        return registrations[fd].events.intersection(EventMask(rawValue: report.events))
    }
}

/// The lock guards the slots, and the core guards itself.
extension BaseSelector: @unchecked Sendable where Data: Sendable {}

/// Uses a selector and closes it on the way out, also when the body throws.
///
///     try withSelector(DefaultSelector<Void>()) { selector in … }
///
/// - Throws: The error of the body.
public func withSelector<Selector, Data, Result, Failure: Error>(
    _ selector: Selector, _ body: (Selector) throws(Failure) -> Result
) throws(Failure) -> Result where Selector: BaseSelector<Data> {
    defer { selector.close() }
    return try body(selector)
}
