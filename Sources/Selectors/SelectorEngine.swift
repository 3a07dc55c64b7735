import CSelectors
import SelectorsCore
import Synchronization

/// The part of a selector that does not depend on the type of its data: the core, with errors that
/// have names, a lock, and room for events.
///
/// The other part is inlined into the program, which knows that type, and calls this one.
@usableFromInline
final class SelectorEngine: @unchecked Sendable {
    private let core: SelectorCore
    /// The core's gate for faces: with the address at hand the lock takes fewer calls.
    private let gate: Gate
    /// How many are registered, or were a moment ago.
    private let count = Atomic<Int>(0)
    /// The address of an ``EventBuffer`` that no wait has now.
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

    /// Takes the lock of what is kept of registrations, which is never held during a wait, nor while
    /// code of the caller's runs.
    ///
    /// - Throws: `.system(EDEADLK)` where a backend's function has called back; `.closed` in a child
    ///   whose fork was not noticed.
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

    /// Waits, and gives the events; the caller gives the buffer back by ``finish(_:)``.
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

    /// With the lock held: takes the buffer back, and gives the lock back.
    @usableFromInline
    func finish(_ buffer: EventBuffer) {
        // Nobody else puts one there, for that takes the lock: a plain store does.
        if spare.load(ordering: .relaxed) == nil {
            spare.store(buffer.address, ordering: .releasing)
        } else {
            // Another thread had one of its own.
            buffer.deallocate()
        }
        unlock()
    }

    /// Without the lock: takes the buffer back.
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

    /// Gives back the error for a wrong argument, unless the selector is closed, which goes first.
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

    /// Does what ``wakeup()`` does, for a signal handler: takes no lock, allocates nothing, and makes
    /// no error of what fails.
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
        // A backend that closes the selector it belongs to is refused.
        try? core.close()
    }

    /// Calls the core, and gives its errors their names.
    @inline(__always)
    private func withErrors<Result>(
        about fd: Int32 = -1, _ call: () throws(SystemError) -> Result
    ) throws(SelectorError) -> Result {
        do throws(SystemError) {
            return try call()
        } catch {
            throw SelectorError(core.explain(error), fd: fd)
        }
    }
}

/// A duration in whole nanoseconds, rounded up and cut to the range from 0 to `Int64.max`.
package func nanoseconds(_ duration: Duration) -> Int64 {
    if duration <= .zero { return 0 }
    // Before anything is computed: components trap beyond the range of Int64.
    if duration >= .nanoseconds(Int64.max) { return .max }
    let (seconds, attoseconds) = duration.components
    return seconds * 1_000_000_000 + (attoseconds + 999_999_999) / 1_000_000_000
}
