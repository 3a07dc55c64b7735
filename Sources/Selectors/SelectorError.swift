import SelectorsCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// What a selector can fail with.
///
/// A call that throws has changed nothing.
public enum SelectorError: Error, Hashable, Sendable {
    /// The mask is empty or has unknown bits. C: `-EINVAL`.
    case invalidEvents
    /// The file object has no descriptor (a negative one). C: `-EINVAL`.
    case invalidFileDescriptor
    /// The descriptor is registered already. C: `-EEXIST`.
    case alreadyRegistered(Int32)
    /// The descriptor is not registered. C: `-ENOENT`.
    case notRegistered(Int32)
    /// The selector is closed. C: `-ECANCELED`.
    case closed
    /// No backend could be chosen or added; the message tells which names there are. C: `-EINVAL`
    /// (malformed), `-ENOENT` (unknown), `-ENOTSUP` (none can be used here), `-EEXIST` (taken).
    case backend(code: Int32, message: String)
    /// The system refused, with this errno value. C: the same, negative.
    case system(Int32)

    /// The errno value that the C function of the same name would have given.
    public var errno: Int32 {
        switch self {
        case .invalidEvents, .invalidFileDescriptor: EINVAL
        case .alreadyRegistered: EEXIST
        case .notRegistered: ENOENT
        case .closed: ECANCELED
        case .backend(let code, _), .system(let code): code
        }
    }
}

extension SelectorError: CustomStringConvertible {
    /// One sentence without a full stop, for people.
    public var description: String {
        switch self {
        case .invalidEvents: "the events are neither .read nor .write nor both"
        case .invalidFileDescriptor: "the file object has no descriptor"
        case .alreadyRegistered(let fd): "file descriptor \(fd) is registered already"
        case .notRegistered(let fd): "file descriptor \(fd) is not registered"
        case .closed: "the selector is closed"
        case .backend(_, let message): message
        case .system(let code): String(cString: strerror(code))
        }
    }
}

extension SelectorError {
    /// Gives an error of the core its name, for a call with valid arguments on `fd`.
    init(_ error: SystemError, fd: Int32) {
        switch error.code {
        case EEXIST: self = .alreadyRegistered(fd)
        case ENOENT: self = .notRegistered(fd)
        case ECANCELED: self = .closed
        default: self = .system(error.code)
        }
    }

    init(_ error: BackendError) {
        self = .backend(code: error.code, message: error.message)
    }
}
