/// What a file object is watched for and how, or what it is ready for.
///
/// The C names are `SEL_READ`, `SEL_WRITE`, `SEL_PRIORITY`, `SEL_READ_HANGUP`, `SEL_EDGE`, `SEL_ONESHOT`
/// and `SEL_EXCLUSIVE`.
public struct EventMask: OptionSet, Hashable, Sendable {
    /// The bits, as the C header has them.
    public let rawValue: UInt32

    /// Makes a set of bits; unknown ones are refused where it is used.
    @inlinable
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// A read, accept or recv would not block; the end of file counts.
    public static let read = EventMask(rawValue: 0x1)
    /// A write or send would not block; a finished connect counts.
    public static let write = EventMask(rawValue: 0x2)
    /// Something urgent has come: out-of-band data of TCP, a change in sysfs.
    public static let priority = EventMask(rawValue: 0x4)
    /// The peer will send no more, where the backend has `BackendCapabilities.readHangup`; data that are
    /// still to be read are not waited for.
    public static let readHangup = EventMask(rawValue: 0x200)

    /// A delivery mode where the backend has `BackendCapabilities.edge`: reported when something new
    /// happens, and once after `register` and each `modify` that changes anything, if it is ready
    /// then.
    ///
    /// Read or write until `EAGAIN`. There may be an event too many, never one too few. A regular
    /// file is reported once each time.
    public static let edge = EventMask(rawValue: 0x10)
    /// A delivery mode on every backend: reported once, then not before `modify` arms it again, be
    /// it with the same events.
    ///
    /// It stays registered. So one of several threads has it for itself.
    public static let oneShot = EventMask(rawValue: 0x20)
    /// A delivery mode where the backend has `BackendCapabilities.exclusive`: of several selectors
    /// that watch one file, the kernel wakes at least one that waits, not all.
    ///
    /// Not together with ``priority`` or ``readHangup``, nor for a selector's descriptor, and the cause is never
    /// ``EventDetail/readHangup``.
    public static let exclusive = EventMask(rawValue: 0x40)
}

/// Why a file object is ready beyond the usual.
///
/// The C names are `SEL_HANGUP`, `SEL_READ_HANGUP`, `SEL_ERROR` and `SEL_INVALID`.
public struct EventDetail: OptionSet, Hashable, Sendable {
    /// The bits, as the C header has them.
    public let rawValue: UInt32

    /// Makes a set of bits; unknown ones are refused where it is used.
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
