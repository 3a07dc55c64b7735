import CSelectorsPlatform
import CSelectors

/// One event as a backend reports it: `mask` in poll(2)'s bits, and the `token` that the
/// descriptor was added with.
public typealias BackendEvent = sel_backend_event

/// The bits that the engine and its backends speak: those of poll(2), whose values the platform
/// sets.
public enum PollMask {
    /// A read would not block.
    public static let read = UInt32(POLLIN)
    /// A write would not block.
    public static let write = UInt32(POLLOUT)
    /// Something urgent has come.
    public static let priority = UInt32(POLLPRI)
    /// The peer will send no more; asked for along with ``read``, and alone of a backend that has
    /// ``BackendCapabilities/readHangup``.
    public static let readHangup = UInt32(PLATFORM_POLLRDHUP)
    /// An error is pending.
    ///
    /// Never asked for, always reported.
    public static let error = UInt32(POLLERR)
    /// Both directions are closed.
    ///
    /// Never asked for, always reported.
    public static let hangup = UInt32(POLLHUP)
    /// The descriptor is not open.
    ///
    /// Never asked for.
    public static let invalid = UInt32(POLLNVAL)
    /// Asked for, never reported: report news only, see ``BackendCapabilities/edge``.
    public static let edge = UInt32(SEL_MASK_EDGE)
    /// Asked for, never reported: report once, then not before it is modified, see
    /// ``BackendCapabilities/oneShot``.
    public static let oneShot = UInt32(SEL_MASK_ONESHOT)
    /// Asked for, never reported: wake one of several that wait for this file, see
    /// ``BackendCapabilities/exclusive``.
    public static let exclusive = UInt32(SEL_MASK_EXCLUSIVE)

    /// What poll(2) itself is asked for: a mask without the bits that the system's does not know.
    @inline(__always)
    static func toAsk(_ mask: UInt32) -> Int16 {
        Int16(truncatingIfNeeded: mask & UInt32(PLATFORM_POLL_EVENTS))
    }
}

/// What a backend can do beyond the contract; the values are those of the `SEL_CAN_` macros.
public struct BackendCapabilities: OptionSet, Equatable, Sendable {
    /// The bits, as the C header has them.
    public let rawValue: UInt32

    /// Makes a set of bits.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// It has a descriptor that becomes readable when a registered one is ready.
    public static let fileno = BackendCapabilities(rawValue: 0x1)
    /// The kernel sees a change of the set while it is waiting.
    public static let concurrent = BackendCapabilities(rawValue: 0x2)
    /// It has edge-triggered delivery.
    public static let edge = BackendCapabilities(rawValue: 0x4)
    /// It has exclusive wake-ups.
    public static let exclusive = BackendCapabilities(rawValue: 0x8)
    /// The kernel itself reports once; without it the engine sees to that.
    public static let oneShot = BackendCapabilities(rawValue: 0x10)

    /// It can wait for the peer's end alone, without reading.
    public static let readHangup = BackendCapabilities(rawValue: 0x20)

    /// All that there are.
    static let known: BackendCapabilities = [
        .fileno, .concurrent, .edge, .exclusive, .oneShot, .readHangup,
    ]
}

/// One kernel facility that waits for descriptors.
///
/// A backend is single-threaded code that knows descriptors, masks and opaque tokens; the engine
/// keeps registrations, deadlines and fairness among what several waits report. It promises its
/// backend that
///
/// 1. calls come one at a time, but for those during a `wait` if the backend is
///    ``BackendCapabilities/concurrent``: `add`, `modify`, `remove`, `fileno` and further waits;
/// 2. `fd` is not negative, and at most one `add` of a number is in force;
/// 3. `modify` and `remove` name a number whose `add` succeeded and that was not removed since,
///    though the file behind it may have been closed or replaced by then;
/// 4. masks hold ``PollMask/read``, ``PollMask/write``, ``PollMask/priority`` and
///    ``PollMask/readHangup`` only, and ``PollMask/edge``, ``PollMask/oneShot`` and
///    ``PollMask/exclusive`` for a backend that is capable of them;
/// 5. `reset` and `close` come while nobody waits; nothing is called after `close`, which comes once.
///
/// A backend promises the engine that
///
/// 1. a call that throws has changed nothing;
/// 2. readiness is level-triggered but for ``PollMask/edge``, and `wait` reports a descriptor at
///    most once;
/// 3. error, hang-up and invalid are reported whether asked for or not;
/// 4. of more ready descriptors than `max`, each is reported within a bounded number of waits;
/// 5. a descriptor that was closed does not keep others from being reported;
/// 6. no call fails by anything but an error, and none changes `errno`;
/// 7. no call uses the selector that it belongs to, which is an error (`EDEADLK`).
public protocol SelectorBackend: AnyObject {
    /// Starts to watch a descriptor.
    ///
    /// - Throws: `EBADF` where `fd` is not open; `EPERM` where it is open and its file cannot be
    ///   watched because it is always ready; else what the system says.
    func add(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError)

    /// Changes the mask of a descriptor.
    ///
    /// - Throws: `ENOENT` where the number names another file than the one that was added, and the
    ///   kernel watches files; `EBADF` where it is closed and the kernel can tell.
    func modify(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError)

    /// Stops watching a descriptor, which afterwards counts as removed whatever is thrown.
    ///
    /// - Throws: An error where the kernel did not have the file that `fd` names now: the file that
    ///   was added may live on in a duplicate, and be reported again.
    func remove(_ fd: Int32) throws(SystemError)

    /// Forgets every descriptor, and keeps ``fileno()``.
    ///
    /// - Parameter afterFork: The kernel set is shared with the parent, which must not notice.
    /// - Throws: What the system says.
    func reset(afterFork: Bool) throws(SystemError)

    /// Waits until a descriptor is ready or the time is over.
    ///
    /// - Parameters:
    ///   - events: Room for `max` events, uninitialised.
    ///   - max: At least 1.
    ///   - timeout: In nanoseconds; negative: no limit; 0: look only. It may return early, never
    ///     late beyond the kernel's slack: the engine keeps the deadline.
    ///   - signals: The thread's signal mask during the wait, exchanged in one step with it; `nil`
    ///     and whenever `timeout` is 0: as it is.
    /// - Returns: The number of events stored.
    /// - Throws: `EINTR` when a signal came; the engine knows whether to go on. `ENOSYS` where
    ///   there is no such exchange.
    func wait(
        into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32

    /// Gives the backend's own descriptor, readable when a watched one is ready, or `nil` where it
    /// has none. It stays the same until `close`.
    func fileno() throws(SystemError) -> Int32?

    /// Frees all that the backend holds.
    func close()
}
