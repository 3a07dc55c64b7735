/// The events for which a file object is watched, with delivery modes, or for which it is ready.
///
/// The C names are `SEL_READ`, `SEL_WRITE`, `SEL_PRIORITY`, `SEL_READ_HANGUP`, `SEL_EDGE`,
/// `SEL_ONESHOT` and `SEL_EXCLUSIVE`.
public struct EventMask: OptionSet, Hashable, Sendable {
    /// The bits, as the C header has them.
    public let rawValue: UInt32

    /// Makes a set of bits; the calls that use it reject unknown ones.
    @inlinable
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// A read, accept or recv would not block; the end of file counts.
    public static let read = EventMask(rawValue: 0x1)
    /// A write or send would not block; a finished connect counts.
    public static let write = EventMask(rawValue: 0x2)
    /// Urgent data is available: out-of-band data of TCP, or a change in sysfs.
    public static let priority = EventMask(rawValue: 0x4)
    /// The peer will send no more, even if data are still unread; only if the backend has
    /// `BackendCapabilities.readHangup`.
    public static let readHangup = EventMask(rawValue: 0x200)

    /// Edge-triggered delivery, if the backend has `BackendCapabilities.edge`.
    ///
    /// A file is reported when something new happens. If it is ready then, it is also reported
    /// once after `register`, and after each `modify` that changes anything.
    ///
    /// Read or write until `EAGAIN`. Events may be spurious, but are never lost. A regular file is
    /// reported once each time.
    public static let edge = EventMask(rawValue: 0x10)
    /// One-shot delivery, on every backend: the file is reported once, then not until `modify`
    /// re-arms it, even with the same events.
    ///
    /// The file stays registered. Until it is re-armed, the thread that got the event has the file
    /// for itself.
    public static let oneShot = EventMask(rawValue: 0x20)
    /// Exclusive wake-ups, if the backend has `BackendCapabilities.exclusive`: if several
    /// selectors watch a file, the kernel wakes one or more of the blocked ones, but not all.
    ///
    /// It cannot be combined with ``priority`` or ``readHangup``, nor used for a selector's
    /// descriptor. The cause ``EventDetail/readHangup`` is never reported.
    public static let exclusive = EventMask(rawValue: 0x40)
}

/// Additional causes for which a file object is ready.
///
/// The C names are `SEL_HANGUP`, `SEL_READ_HANGUP`, `SEL_ERROR` and `SEL_INVALID`.
public struct EventDetail: OptionSet, Hashable, Sendable {
    /// The bits, as the C header has them.
    public let rawValue: UInt32

    /// Makes a set of bits; the calls that use it reject unknown ones.
    @inlinable
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Both directions are closed, or the peer of a pipe is gone.
    public static let hangup = EventDetail(rawValue: 0x100)
    /// The peer will send no more.
    public static let readHangup = EventDetail(rawValue: 0x200)
    /// An error is pending; `SO_ERROR` tells which.
    public static let error = EventDetail(rawValue: 0x400)
    /// The descriptor was closed while registered: unregister it.
    public static let invalid = EventDetail(rawValue: 0x800)
}
