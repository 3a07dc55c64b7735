import CSelectors
import SelectorsCore
import Synchronization

/// The part of a selector that does not depend on the type of its data: the core with named
/// errors, a lock, and event buffers.
///
/// The generic part is inlined into the program, which knows the type, and calls this one.
@usableFromInline
final class SelectorEngine: @unchecked Sendable {
    private let core: SelectorCore
    /// The gate of the Swift face; with its address at hand, taking the lock needs fewer calls.
    private let gate: Gate
    /// The approximate number of registrations.
    private let count = Atomic<Int>(0)
    /// The address of an ``EventBuffer`` that no wait is using.
    private let spare = Atomic<UnsafeMutableRawPointer?>(nil)

    init(_ backend: String?) throws(SelectorError) {
        do throws(SystemError) {
            if let list = backend?.utf8CString {
                core = try list.withUnsafeBufferPointer { list throws(SystemError) in
                    try BackendRegistry.shared().open(list.baseAddress)
                }
            } else {
                core = try BackendRegistry.shared().open(nil)
            }
        } catch {
            throw SelectorError(BackendError(error))
        }
        gate = core.faceGate
    }

    deinit {
        close()
        core.deallocate()
        if let address = spare.load(ordering: .acquiring) {
            EventBuffer(address: address).deallocate()
        }
    }

    var capabilities: BackendCapabilities { core.capabilities }

    var backend: String { String(cString: core.backendName) }

    /// Takes the lock that guards the registrations.
    ///
    /// It is never held while a wait blocks or while code of the program runs.
    ///
    /// - Throws: `.system(EDEADLK)` if a backend's function calls its own selector; `.closed` in a
    ///   child whose fork went unnoticed.
    @usableFromInline
    func lock() throws(SelectorError) {
        try withErrors { () throws(SystemError) in try gate.lock() }
    }

    @usableFromInline
    func unlock() {
        gate.unlock()
    }

    // MARK: Registrations, with the lock held

    @usableFromInline
    func register(
        _ fd: Int32, _ events: EventMask, data: UnsafeMutableRawPointer?
    ) throws(SelectorError) {
        try withErrors(about: fd) { () throws(SystemError) in
            try core.register(fd, events: events.rawValue, data: data)
        }
        count.add(1, ordering: .relaxed)
    }

    @usableFromInline
    func modify(
        _ fd: Int32, _ events: EventMask, data: UnsafeMutableRawPointer?
    ) throws(SelectorError) {
        try withErrors(about: fd) { () throws(SystemError) in
            try core.modify(fd, events: events.rawValue, data: data)
        }
    }

    @usableFromInline
    func unregister(_ fd: Int32) throws(SelectorError) {
        try withErrors(about: fd) { () throws(SystemError) in _ = try core.unregister(fd) }
        count.subtract(1, ordering: .relaxed)
    }

    // MARK: Waiting

    /// Waits, and returns the events; the caller must pass the buffer to ``finish(_:)``.
    @usableFromInline
    func wait(
        _ timeout: Duration?, _ signals: UnsafePointer<sigset_t>?
    ) throws(SelectorError) -> EventBuffer {
        do throws(SystemError) {
            var buffer = try takeBuffer()
            let result = core.select(
                into: buffer.base, max: Int32(clamping: buffer.capacity),
                timeout: timeout.map(nanoseconds) ?? -1, signals: signals)
            if result < 0 {
                keep(buffer)
                try check(result)
            }
            buffer.count = Int(result)
            return buffer
        } catch {
            throw SelectorError(error, fd: -1)
        }
    }

    /// Takes the buffer back and releases the lock, which must be held.
    @usableFromInline
    func finish(_ buffer: EventBuffer) {
        // A plain store suffices: other threads store here only with the lock held.
        if spare.load(ordering: .relaxed) == nil {
            spare.store(buffer.address, ordering: .releasing)
        } else {
            // Another thread has returned its own buffer.
            buffer.deallocate()
        }
        unlock()
    }

    /// Takes the buffer back; the lock must not be held.
    @usableFromInline
    func keep(_ buffer: EventBuffer) {
        if (try? lock()) != nil { finish(buffer) } else { buffer.deallocate() }
    }

    @inline(__always)
    private func takeBuffer() throws(SystemError) -> EventBuffer {
        let wanted = count.load(ordering: .relaxed)
        if let address = spare.exchange(nil, ordering: .acquiring) {
            let buffer = EventBuffer(address: address)
            if buffer.capacity >= wanted { return buffer }
            buffer.deallocate()
        }
        return try EventBuffer(capacity: wanted + wanted / 2)
    }

    // MARK: The rest

    /// Returns the error for a wrong argument, or throws `.closed`, which takes precedence.
    @usableFromInline
    func refusal(_ error: SelectorError) throws(SelectorError) -> SelectorError {
        try checkOpen()
        return error
    }

    @usableFromInline
    func validate(_ events: EventMask) throws(SelectorError) {
        if !Interest.isValid(events.rawValue) { throw try refusal(.invalidEvents) }
    }

    @usableFromInline
    func checkOpen() throws(SelectorError) {
        try withErrors { () throws(SystemError) in try core.checkOpen() }
    }

    func setInterruptible(_ isInterruptible: Bool) throws(SelectorError) {
        try withErrors { () throws(SystemError) in try core.setInterruptible(isInterruptible) }
    }

    func wakeup() throws(SelectorError) {
        try withErrors { () throws(SystemError) in try core.wakeup() }
    }

    /// Does what ``wakeup()`` does, for a signal handler: takes no lock, allocates nothing, and
    /// ignores errors.
    func wake() {
        try? core.wakeup()
    }

    func fileno() throws(SelectorError) -> Int32 {
        try withErrors { () throws(SystemError) in try core.fileno() }
    }

    /// The number of registrations; 0 once closed.
    var registered: Int {
        Int((try? core.copyKeys(to: nil, max: 0)) ?? 0)
    }

    func close() {
        // The core refuses a backend that closes its own selector.
        try? core.close()
    }

    /// Calls the core, and converts its errors.
    @inline(__always)
    private func withErrors<Result>(
        about fd: Int32 = -1, _ call: () throws(SystemError) -> Result
    ) throws(SelectorError) -> Result {
        do throws(SystemError) {
            return try call()
        } catch {
            throw SelectorError(error, fd: fd)
        }
    }
}

/// A duration in nanoseconds, rounded up and clamped to the range from 0 to `Int64.max`.
package func nanoseconds(_ duration: Duration) -> Int64 {
    if duration <= .zero { return 0 }
    // Checked before the conversion: components trap beyond the range of Int64.
    if duration >= .nanoseconds(Int64.max) { return .max }
    let (seconds, attoseconds) = duration.components
    return seconds * 1_000_000_000 + (attoseconds + 999_999_999) / 1_000_000_000
}
