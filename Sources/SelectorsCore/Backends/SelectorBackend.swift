import CSelectorsPlatform
import CSelectors

/// One event that a backend reports: `mask` in poll(2)'s bits, and the `token` with which the
/// descriptor was added.
public typealias BackendEvent = sel_backend_event

/// The readiness bits between the engine and its backends: those of poll(2), with the platform's
/// values.
public enum PollMask {
    /// A read would not block.
    public static let read = UInt32(POLLIN)
    /// A write would not block.
    public static let write = UInt32(POLLOUT)
    /// Urgent data is available.
    public static let priority = UInt32(POLLPRI)
    /// The peer will send no more; requested together with ``read``, and without it only from a
    /// backend that has ``BackendCapabilities/readHangup``.
    public static let readHangup = UInt32(PLATFORM_POLLRDHUP)
    /// An error is pending.
    ///
    /// Never requested, always reported.
    public static let error = UInt32(POLLERR)
    /// Both directions are closed.
    ///
    /// Never requested, always reported.
    public static let hangup = UInt32(POLLHUP)
    /// The descriptor is not open.
    ///
    /// Never requested.
    public static let invalid = UInt32(POLLNVAL)
    /// Requested, never reported: edge-triggered delivery, see ``BackendCapabilities/edge``.
    public static let edge = UInt32(SEL_MASK_EDGE)
    /// Requested, never reported: report once, then not until the descriptor is modified, see
    /// ``BackendCapabilities/oneShot``.
    public static let oneShot = UInt32(SEL_MASK_ONESHOT)
    /// Requested, never reported: wake one of several waiters for this file, see
    /// ``BackendCapabilities/exclusive``.
    public static let exclusive = UInt32(SEL_MASK_EXCLUSIVE)

    /// The bits of a mask that the system's poll(2) knows.
    @inline(__always)
    static func toAsk(_ mask: UInt32) -> Int16 {
        Int16(truncatingIfNeeded: mask & UInt32(PLATFORM_POLL_EVENTS))
    }
}

/// Optional features of a backend; the values are those of the `SEL_CAN_` macros.
public struct BackendCapabilities: OptionSet, Equatable, Sendable {
    /// The bits, as the C header has them.
    public let rawValue: UInt32

    /// Makes a set of bits.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// It has a descriptor that becomes readable when a registered one is ready.
    public static let fileno = BackendCapabilities(rawValue: 0x1)
    /// A change to the kernel set takes effect in waits that are in progress.
    public static let concurrent = BackendCapabilities(rawValue: 0x2)
    /// It has edge-triggered delivery.
    public static let edge = BackendCapabilities(rawValue: 0x4)
    /// It has exclusive wake-ups.
    public static let exclusive = BackendCapabilities(rawValue: 0x8)
    /// The kernel implements one-shot delivery; without this the engine does.
    public static let oneShot = BackendCapabilities(rawValue: 0x10)

    /// It can wait for the peer's end of stream without waiting for data.
    public static let readHangup = BackendCapabilities(rawValue: 0x20)

    /// All capabilities.
    static let known: BackendCapabilities = [
        .fileno, .concurrent, .edge, .exclusive, .oneShot, .readHangup,
    ]
}

/// One kernel facility that waits for descriptors.
///
/// A backend is single-threaded code that knows descriptors, masks and opaque tokens. The engine
/// keeps registrations, deadlines and fairness. It promises its backend that
///
/// 1. calls come one at a time. If the backend is ``BackendCapabilities/concurrent``, `add`,
///    `modify`, `remove`, `fileno` and further waits may come during a `wait`;
/// 2. `fd` is not negative, and a descriptor is not added again before it is removed;
/// 3. `modify` and `remove` name a descriptor that was added and not removed since, though its
///    file may have been closed or replaced meanwhile;
/// 4. masks contain only ``PollMask/read``, ``PollMask/write``, ``PollMask/priority`` and
///    ``PollMask/readHangup``, and ``PollMask/edge``, ``PollMask/oneShot`` and
///    ``PollMask/exclusive`` if the backend is capable of them;
/// 5. `reset` and `close` come while no wait is in progress; `close` comes once, and is the last
///    call.
///
/// A backend promises the engine that
///
/// 1. a call that throws has changed nothing;
/// 2. readiness is level-triggered except with ``PollMask/edge``, and `wait` reports a descriptor
///    at most once;
/// 3. error, hang-up and invalid are reported whether requested or not;
/// 4. if more than `max` descriptors are ready, each is reported within a bounded number of waits;
/// 5. a closed descriptor does not prevent others from being reported;
/// 6. a call never traps: it reports failure by throwing, and preserves `errno`;
/// 7. no call uses the backend's own selector, which fails with `EDEADLK`.
public protocol SelectorBackend: AnyObject {
    /// Starts to watch a descriptor.
    ///
    /// - Throws: `EBADF` if `fd` is not open; `EPERM` if it is open and its file cannot be watched
    ///   because it is always ready; otherwise the system's error.
    func add(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError)

    /// Changes the mask of a descriptor.
    ///
    /// - Throws: `ENOENT` if the kernel watches files and the descriptor now refers to another
    ///   file; `EBADF` if it is closed and the kernel can tell.
    func modify(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError)

    /// Stops watching a descriptor, which counts as removed even if this throws.
    ///
    /// - Throws: An error if the kernel was not watching the file that `fd` now refers to: the
    ///   file that was added may still be open as a duplicate, and be reported again.
    func remove(_ fd: Int32) throws(SystemError)

    /// Forgets every descriptor, but keeps ``fileno()``.
    ///
    /// - Parameter afterFork: The kernel set is shared with the parent, which must not be
    ///   affected.
    /// - Throws: The system's error.
    func reset(afterFork: Bool) throws(SystemError)

    /// Waits until a descriptor is ready or the timeout expires.
    ///
    /// - Parameters:
    ///   - events: Room for `max` events, uninitialised.
    ///   - max: At least 1.
    ///   - timeout: In nanoseconds; negative: no limit; 0: do not block. It may return early, but
    ///     late only by the kernel's timer slack: the engine keeps the deadline.
    ///   - signals: The thread's signal mask during the wait, replaced atomically. With `nil`, and
    ///     whenever `timeout` is 0, the mask does not change.
    /// - Returns: The number of events stored.
    /// - Throws: `EINTR` after a signal; the engine decides whether to wait again. `ENOSYS` if the
    ///   system cannot replace the signal mask atomically.
    func wait(
        into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32

    /// Returns the backend's own descriptor, which is readable when a watched one is ready, or
    /// `nil` if it has none.
    ///
    /// It stays the same until `close`.
    func fileno() throws(SystemError) -> Int32?

    /// Frees the backend's resources.
    func close()
}
