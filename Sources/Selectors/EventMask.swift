/// What a file object is watched for, or is ready for.
///
/// The C names are `SEL_READ` and `SEL_WRITE`.
public struct EventMask: OptionSet, Hashable, Sendable {
    /// The bits, as the C header has them.
    public let rawValue: UInt32

    /// Makes a set of bits; unknown ones are refused where it is used.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// A read, accept or recv would not block; the end of file counts.
    public static let read = EventMask(rawValue: 0x1)
    /// A write or send would not block; a finished connect counts.
    public static let write = EventMask(rawValue: 0x2)
}

extension EventMask: CustomStringConvertible {
    /// The names of the bits, as `[read, write]`.
    public var description: String {
        describe(rawValue, [(0x1, "read"), (0x2, "write")])
    }
}

/// Why a file object is ready beyond the usual.
///
/// The C names are `SEL_HANGUP`, `SEL_READ_HANGUP`, `SEL_ERROR` and `SEL_INVALID`.
public struct EventDetail: OptionSet, Hashable, Sendable {
    /// The bits, as the C header has them.
    public let rawValue: UInt32

    /// Makes a set of bits; unknown ones are refused where it is used.
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

extension EventDetail: CustomStringConvertible {
    /// The names of the bits, as `[hangup, error]`.
    public var description: String {
        describe(
            rawValue,
            [(0x100, "hangup"), (0x200, "readHangup"), (0x400, "error"), (0x800, "invalid")])
    }
}

private func describe(_ rawValue: UInt32, _ names: [(bit: UInt32, name: String)]) -> String {
    var parts = names.filter { rawValue & $0.bit != 0 }.map(\.name)
    let unknown = names.reduce(rawValue) { $0 & ~$1.bit }
    if unknown != 0 { parts.append("0x" + String(unknown, radix: 16)) }
    return "[" + parts.joined(separator: ", ") + "]"
}
