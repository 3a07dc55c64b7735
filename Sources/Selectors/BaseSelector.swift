import CSelectors
@_exported import SelectorsCore

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
/// A selector may be used by one thread at a time.
public class BaseSelector<Data> {
    /// `nil`: closed.
    private var core: SelectorCore?
    /// The key of each registered number.
    private var keys: [SelectorKey<Data>?] = []
    /// Room for as many events as there are registrations.
    private var events = EventBuffer()

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
        do throws(BackendError) {
            guard let backend else {
                core = try SelectorRegistry.open(nil)
                return
            }
            let list = backend.utf8CString
            core = try list.withUnsafeBufferPointer { list throws(BackendError) in
                try SelectorRegistry.open(list.baseAddress)
            }
        } catch {
            throw SelectorError(error)
        }
    }

    /// The name of the backend; empty once closed.
    ///
    /// The C function is `sel_backend_name`.
    public var backend: String {
        core.map { String(cString: $0.backendName) } ?? ""
    }

    /// Starts to watch a file object for events, and returns its key.
    ///
    /// - Parameters:
    ///   - fileObject: Whatever has a descriptor. Regular files are always ready.
    ///   - events: `.read`, `.write` or both.
    ///   - data: Comes back with each event.
    /// - Throws: `.invalidEvents`, `.invalidFileDescriptor`, `.alreadyRegistered`, `.closed`;
    ///   `.system` with `EBADF` (not open), `ENOMEM`, `ENOSPC` (over the kernel's limit).
    /// - Complexity: O(1).
    ///
    /// The C function is `sel_register`.
    @discardableResult
    public func register(
        _ fileObject: some FileObject, events: EventMask, data: Data
    ) throws(SelectorError) -> SelectorKey<Data> {
        let core = try openCore()
        try validate(events)
        let fd = fileObject.fileDescriptor
        if fd < 0 { throw .invalidFileDescriptor }
        do throws(SystemError) {
            try core.register(fd, events: events.rawValue, data: nil)
        } catch {
            throw SelectorError(error, fd: fd)
        }
        let key = SelectorKey(fileObject: fileObject, fd: fd, events: events, data: data)
        while keys.count <= Int(fd) { keys.append(nil) }
        keys[Int(fd)] = key
        return key
    }

    /// Changes what a registered file object is watched for, and its data; returns the new key.
    ///
    /// The kernel is told at the start of the next `select`, so that a change and its reversal cost
    /// no system call.
    ///
    /// - Throws: `.invalidEvents`, `.invalidFileDescriptor`, `.notRegistered`, `.closed`.
    /// - Complexity: O(1); allocates nothing.
    ///
    /// The C function is `sel_modify`.
    @discardableResult
    public func modify(
        _ fileObject: some FileObject, events: EventMask, data: Data
    ) throws(SelectorError) -> SelectorKey<Data> {
        let core = try openCore()
        try validate(events)
        let old = try get_key(fileObject)
        do throws(SystemError) {
            try core.modify(old.fd, events: events.rawValue, data: nil)
        } catch {
            throw SelectorError(error, fd: old.fd)
        }
        let key = SelectorKey(
            fileObject: old.fileObject, fd: old.fd, events: events, data: data)
        keys[Int(old.fd)] = key
        return key
    }

    /// Forgets a file object and returns its key. It may be closed by now.
    ///
    /// - Throws: `.invalidFileDescriptor`, `.notRegistered`, `.closed`.
    /// - Complexity: O(1), for a closed object O(n).
    ///
    /// The C function is `sel_unregister`.
    @discardableResult
    public func unregister(_ fileObject: some FileObject) throws(SelectorError) -> SelectorKey<Data>
    {
        let core = try openCore()
        let key = try get_key(fileObject)
        do throws(SystemError) {
            try core.unregister(key.fd)
        } catch {
            throw SelectorError(error, fd: key.fd)
        }
        keys[Int(key.fd)] = nil
        return key
    }

    /// Waits until a registered file object is ready or the time is over, and returns what is ready.
    ///
    /// - Parameter timeout: `nil`: no limit; zero or less: only looks; else it waits at least that
    ///   long, with nothing registered too. A signal does not end the wait (PEP 475).
    /// - Returns: Each ready object once, in no particular order; empty when the time is over.
    /// - Throws: `.closed`; `.system` with `ENOMEM`.
    /// - Complexity: O(ready) with epoll, O(registered) with poll and select.
    ///
    /// The C function is `sel_select`.
    public func select(
        timeout: Duration? = nil
    ) throws(SelectorError) -> [(key: SelectorKey<Data>, events: EventMask)] {
        let count = try wait(timeout)
        var ready: [(key: SelectorKey<Data>, events: EventMask)] = []
        ready.reserveCapacity(count)
        for index in 0..<count {
            let event = events[index]
            if let key = keys[Int(event.key.fd)] {
                ready.append((key, EventMask(rawValue: event.events)))
            }
        }
        return ready
    }

    /// Does what ``select(timeout:)`` does, and replaces the contents of an array with what is ready,
    /// the causes included. With an array that is used again it allocates nothing.
    public func select(
        into ready: inout [ReadyEvent<Data>], timeout: Duration? = nil
    ) throws(SelectorError) {
        let count = try wait(timeout)
        ready.removeAll(keepingCapacity: true)
        for index in 0..<count {
            let event = events[index]
            if let key = keys[Int(event.key.fd)] {
                ready.append(
                    ReadyEvent(
                        key: key, events: EventMask(rawValue: event.events),
                        detail: EventDetail(rawValue: event.detail)))
            }
        }
    }

    /// Gives the key of a registered file object, which may be closed by now.
    ///
    /// - Throws: `.invalidFileDescriptor`, `.notRegistered`, `.closed`.
    /// - Complexity: O(1), for a closed object O(n).
    ///
    /// The C function is `sel_get_key`.
    // swift-format-ignore: AlwaysUseLowerCamelCase
    public func get_key(_ fileObject: some FileObject) throws(SelectorError) -> SelectorKey<Data> {
        _ = try openCore()
        if let key = find(fileObject) { return key }
        let fd = fileObject.fileDescriptor
        throw fd < 0 ? .invalidFileDescriptor : .notRegistered(fd)
    }

    /// Gives a live, read-only view of all registrations.
    ///
    /// - Throws: `.closed`.
    ///
    /// The C function is `sel_get_map`.
    // swift-format-ignore: AlwaysUseLowerCamelCase
    public func get_map() throws(SelectorError) -> SelectorMap<Data> {
        _ = try openCore()
        return SelectorMap(of: self)
    }

    /// Gives the selector's own descriptor, which is readable when a registered object is ready.
    ///
    /// - Throws: `.closed`; `.system(ENOTSUP)` where the backend has none (poll, select).
    ///
    /// The C function is `sel_fileno`.
    public func fileno() throws(SelectorError) -> Int32 {
        let core = try openCore()
        do throws(SystemError) {
            return try core.fileno()
        } catch {
            throw .system(error.code)
        }
    }

    /// Closes the selector. Registered objects stay open. To close it again does nothing; all else
    /// throws `.closed` from then on.
    ///
    /// The C function is `sel_close`.
    public func close() {
        core = nil
        keys = []
    }

    // MARK: Bookkeeping

    /// The number of registrations; 0 once closed.
    var count: Int {
        core.map { Int($0.count) } ?? 0
    }

    /// All keys, in the order of registration.
    var keysInOrder: [SelectorKey<Data>] {
        guard let core else { return [] }
        let count = Int(core.count)
        return [sel_key](unsafeUninitializedCapacity: count) { buffer, initialized in
            core.copyKeys(to: buffer.baseAddress, max: Int32(count))
            initialized = count
        }.compactMap { keys[Int($0.fd)] }
    }

    /// The key of a file object: by its descriptor or, once that is gone, by its identity.
    func find(_ fileObject: some FileObject) -> SelectorKey<Data>? {
        let fd = Int(fileObject.fileDescriptor)
        if fd >= 0 { return fd < keys.count ? keys[fd] : nil }
        guard type(of: fileObject) is AnyClass else { return nil }
        for case let key? in keys
        where type(of: key.fileObject) is AnyClass
            && key.fileObject as AnyObject === fileObject as AnyObject
        {
            return key
        }
        return nil
    }

    private func openCore() throws(SelectorError) -> SelectorCore {
        guard let core else { throw .closed }
        return core
    }

    private func validate(_ events: EventMask) throws(SelectorError) {
        if events.isEmpty || !events.isSubset(of: [.read, .write]) { throw .invalidEvents }
    }

    /// Waits, and leaves what was reported at the beginning of `events`.
    private func wait(_ timeout: Duration?) throws(SelectorError) -> Int {
        let core = try openCore()
        do throws(SystemError) {
            try events.reserve(Int(max(1, core.count)))
            return Int(
                try core.select(
                    into: events.base, max: Int32(events.capacity),
                    timeout: timeout.map(nanoseconds) ?? -1))
        } catch {
            throw .system(error.code)
        }
    }
}

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
    let (seconds, attoseconds) = duration.components
    let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    let part = (attoseconds + 999_999_999) / 1_000_000_000
    let (sum, carry) = whole.addingReportingOverflow(part)
    return overflow || carry ? .max : sum
}
