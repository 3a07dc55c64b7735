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
    @usableFromInline final let engine: SelectorEngine
    /// What is kept of each registered number, under the engine's lock.
    ///
    /// The lock is held while the core changes a registration, so that both agree.
    @exclusivity(unchecked) @usableFromInline final var registrations = RegistrationSlots<Data>()
    @exclusivity(unchecked) @usableFromInline final var lastSerial = 0

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
        engine = try SelectorEngine(backend)
    }

    /// A selector that nobody refers to any more is closed, although a ``waker`` of it may be left.
    deinit {
        engine.close()
    }

    /// What the backend can do beyond the contract.
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
    ///   - fileObject: Whatever has a descriptor. Regular files are always ready.
    ///   - events: One or more of `.read`, `.write`, `.priority` and `.readHangup`, and delivery modes.
    ///   - data: Comes back with each event.
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
    @inlinable
    public final func modify(
        _ fileObject: some FileObject, events: EventMask, data: Data
    ) throws(SelectorError) -> SelectorKey<Data> {
        try engine.validate(events)
        let (old, new) = try replace(fileObject, events, data)
        // Whatever the data do when they go, the lock is free.
        withExtendedLifetime(old) {}
        return new
    }

    /// Changes the data of a registered file object, and nothing else; returns the new key.
    ///
    /// Unlike ``modify(_:events:data:)-(FileObject,_,_)`` it does not arm a one-shot registration again.
    ///
    /// - Throws: `.invalidFileDescriptor`, `.notRegistered`, `.closed`.
    /// - Complexity: O(1), for a closed object O(n); makes no system call and allocates nothing.
    @discardableResult
    @inlinable
    public final func modify(
        _ fileObject: some FileObject, data: Data
    ) throws(SelectorError) -> SelectorKey<Data> {
        let (old, new) = try replace(fileObject, nil, data)
        // Whatever the data do when they go, the lock is free.
        withExtendedLifetime(old) {}
        return new
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

    /// Returns the key of a registered file object, which may be closed by now.
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
    @inlinable
    public final func select(
        timeout: Duration? = nil
    ) throws(SelectorError) -> [(key: SelectorKey<Data>, events: EventMask)] {
        try collect(timeout, nil)
    }

    /// Does what ``select(timeout:)`` does, and returns events that tell the causes, too.
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

    /// Does what ``select(timeout:)`` does, and replaces the contents of an array with what is
    /// ready, the causes included.
    ///
    /// With an array that is used again it allocates nothing.
    @inlinable
    public final func select(
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
    @inlinable
    public final func pselect(
        timeout: Duration? = nil, signalMask: sigset_t
    ) throws(SelectorError) -> [(key: SelectorKey<Data>, events: EventMask)] {
        try withUnsafePointer(to: signalMask) { mask throws(SelectorError) in
            try collect(timeout, mask)
        }
    }

    /// Does what ``pselect(timeout:signalMask:)`` does, and replaces the contents of an array with
    /// what is ready, the causes included.
    @inlinable
    public final func pselect(
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
    public final func setInterruptible(_ isInterruptible: Bool) throws(SelectorError) {
        try engine.setInterruptible(isInterruptible)
    }

    /// Wakes the `select` that is waiting now, or else the next one: it returns what is ready, or
    /// nothing.
    ///
    /// More wake-ups before that are one with it.
    ///
    /// - Throws: `.system`, which is not to be expected. After ``close()`` it does nothing.
    ///
    /// Any thread may call it, and a signal handler. The C function is `sel_wakeup`.
    public final func wakeup() throws(SelectorError) {
        try engine.wakeup()
    }

    /// What wakes this selector from anywhere, also when `Data` is not `Sendable`.
    ///
    /// See ``SelectorWaker`` for its use in a signal handler.
    public final var waker: SelectorWaker {
        SelectorWaker(engine)
    }

    /// Gives the selector's own descriptor, which is readable when a registered object is ready.
    ///
    /// - Throws: `.closed`; `.system(ENOTSUP)` where the backend has none (poll, select).
    ///
    /// The C function is `sel_fileno`.
    public final func fileno() throws(SelectorError) -> Int32 {
        try engine.fileno()
    }

    /// Closes the selector.
    ///
    /// Registered objects stay open. A `select` that is blocked in another thread throws `.closed`,
    /// and this waits for it to leave. To close again does nothing; all else throws `.closed` from
    /// then on.
    ///
    /// The C function is `sel_close`.
    public final func close() {
        engine.close()
        guard (try? engine.lock()) != nil else { return }
        let old = registrations.inOrder.map { registrations.remove($0) }
        engine.unlock()
        // Whatever the data do when they go, the lock is free.
        withExtendedLifetime(old) {}
    }

    // MARK: Bookkeeping

    /// All keys, in the order of registration; none once closed.
    var keysInOrder: [SelectorKey<Data>] {
        guard (try? engine.lock()) != nil else { return [] }
        defer { engine.unlock() }
        return registrations.inOrder.map { registrations[$0] }
    }

    /// The number of registrations; 0 once closed.
    var count: Int { engine.registered }

    /// Registers what a key with valid events names, and returns the key.
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

    /// With the lock held: the number of a registered file object, whose getter was asked before.
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

    /// The number of a closed file object, by its identity: the first one that was registered.
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
        // A capacity at first, as with unsafeUninitializedCapacity, looks up the type at run time.
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
        // Before the lock is taken, for what goes may use the selector.
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

    /// Changes the data of a registration, and its events unless they are `nil`; returns the old and
    /// the new key.
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
            // What is registered is still known for a moment while another thread closes it.
            try engine.checkOpen()
        }
        let new = SelectorKey(old.box, fd: fd, events: events ?? old.events, data: data)
        registrations[fd] = new
        return (old, new)
    }

    /// Replaces elements that hold no reference by the events of the first reports, and returns how
    /// many there are.
    ///
    /// So the array is asked once whether it is shared, and not for each event.
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
            // SAFETY: what has events is registered; what is replaced needs no deinitialization.
            let key = registrations.keys.unsafelyUnwrapped + Int(report.key.fd)
            if key.pointee.box == nil {
                // Spares a call that would retain nothing.
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

    /// The event of a report; `nil` if another thread has unregistered the number since.
    @inlinable
    @inline(__always)
    final func event(of report: sel_event) -> ReadyEvent<Data>? {
        let events = events(of: report)
        if events.isEmpty { return nil }
        return ReadyEvent(
            key: registrations[report.key.fd], events: events,
            detail: EventDetail(rawValue: report.detail))
    }

    /// What a number is ready for; nothing if another thread has unregistered it since.
    @inlinable
    final func events(of report: sel_event) -> EventMask {
        let fd = report.key.fd
        guard registrations.serial(fd) == Int(bitPattern: report.key.data) else { return [] }
        return registrations[fd].events.intersection(EventMask(rawValue: report.events))
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
