// The textual form of the module's types: masks and keys as Swift code, errors as sentences.

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

extension EventMask: CustomStringConvertible {
    /// The names of the bits as Swift code has them, such as `[.read, .write]`.
    public var description: String {
        describe(
            rawValue,
            [
                (0x1, "read"), (0x2, "write"), (0x4, "priority"), (0x10, "edge"),
                (0x20, "oneShot"), (0x40, "exclusive"), (0x200, "readHangup"),
            ])
    }
}

extension EventDetail: CustomStringConvertible {
    /// The names of the bits as Swift code has them, such as `[.hangup, .error]`.
    public var description: String {
        describe(
            rawValue,
            [(0x100, "hangup"), (0x200, "readHangup"), (0x400, "error"), (0x800, "invalid")])
    }
}

extension BackendCapabilities: CustomStringConvertible {
    /// The names of the bits as Swift code has them, such as `[.fileno, .edge]`.
    public var description: String {
        describe(
            rawValue,
            [
                (0x1, "fileno"), (0x2, "concurrent"), (0x4, "edge"), (0x8, "exclusive"),
                (0x10, "oneShot"), (0x20, "readHangup"),
            ])
    }
}

private func describe(_ rawValue: UInt32, _ names: [(bit: UInt32, name: String)]) -> String {
    var parts = names.filter { rawValue & $0.bit != 0 }.map { ".\($0.name)" }
    let unknown = names.reduce(rawValue) { $0 & ~$1.bit }
    if unknown != 0 { parts.append("0x" + String(unknown, radix: 16)) }
    return "[" + parts.joined(separator: ", ") + "]"
}

extension SelectorKey: CustomStringConvertible {
    /// The descriptor, the events, the data, and the file object unless it is the descriptor.
    public var description: String {
        let object = box.map { ", fileObject: \($0.fileObject)" } ?? ""
        return "SelectorKey(fd: \(fd), events: \(events), data: \(data)\(object))"
    }
}

extension ReadyEvent: CustomStringConvertible {
    /// The events, the causes if there are any, and the key.
    public var description: String {
        let causes = detail.isEmpty ? "" : ", detail: \(detail)"
        return "ReadyEvent(events: \(events)\(causes), key: \(key))"
    }
}

extension SelectorMap: CustomStringConvertible {
    /// The keys as they are now, in the order of registration.
    public var description: String { Array(self).description }
}

extension BackendInfo: CustomStringConvertible {
    /// The name, the rank, the capabilities, and if present the origin and the reason.
    public var description: String {
        var text = "\(name): rank \(rank), capabilities \(capabilities)"
        if let origin { text += ", from \(origin)" }
        if let reason { text += ", not available: \(reason)" }
        return text
    }
}

extension BackendError: CustomStringConvertible {
    /// The message.
    public var description: String { message }

    /// The message; with `SelectorsFoundation` also for an `any Error`.
    public var localizedDescription: String { message }
}

extension SelectorError: CustomStringConvertible {
    /// What is wrong and what to do, in one sentence without a full stop.
    public var description: String {
        switch self {
        case .invalidEvents:
            "events must contain .read, .write, .priority or .readHangup, no unknown bits, and"
                + " .exclusive only without .priority and .readHangup"
        case .invalidFileDescriptor:
            "the file object has a negative file descriptor: pass an open one"
        case .alreadyRegistered(let fd):
            "file descriptor \(fd) is already registered: call modify, or share its AsyncFile"
        case .notRegistered(let fd):
            "file descriptor \(fd) is not registered, or its AsyncFile was unregistered"
        case .closed: "the selector is closed, its executor was stopped, or it was in use at a fork"
        case .interrupted: "a signal interrupted the wait: call select again"
        case .backend(_, let message): message
        case .system(let code):
            SelectorError.advice(code).map { "\(SelectorError.text(code)): \($0)" }
                ?? SelectorError.text(code)
        }
    }

    /// The description; with `SelectorsFoundation` also for an `any Error`.
    ///
    /// Foundation declares this property for all errors. This one needs no Foundation; it is used
    /// if the static type of the error is known, as in the `catch` of a `do` that only calls a
    /// selector.
    public var localizedDescription: String { description }

    private static func text(_ code: Int32) -> String { String(cString: strerror(code)) }

    /// The meaning of an errno value and the remedy, if the system's text is not specific enough.
    private static func advice(_ code: Int32) -> String? {
        switch code {
        case EBADF:
            "the file descriptor is not open, or was opened with O_PATH; or one of the selector's own"
                + " was closed"
        case ENOTSUP: "the backend cannot do this: see the selector's capabilities"
        case ELOOP:
            "the file descriptor belongs to this selector, or selectors watch each other in a loop"
                + " or too deeply"
        case EMFILE: "raise RLIMIT_NOFILE, or close descriptors"
        case ENFILE: "raise /proc/sys/fs/file-max, or close files"
        case ENOSPC: "raise /proc/sys/fs/epoll/max_user_watches, or unregister descriptors"
        case EINVAL: "RLIMIT_NOFILE is lower than the number of registered descriptors"
        case EDEADLK:
            "the call came from the selector's own backend, or run() from the executor's own job"
        case EPROTO: "the backend broke the rules of its interface"
        default: nil
        }
    }
}
