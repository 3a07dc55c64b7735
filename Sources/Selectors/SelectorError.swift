import SelectorsCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The errors of a selector.
///
/// A call that throws has changed nothing.
public enum SelectorError: Error, Hashable, Sendable {
    /// The mask contains no readiness bit, or unknown bits, or combines `.exclusive` with
    /// `.priority` or `.readHangup`.
    ///
    /// C: `-EINVAL`.
    case invalidEvents
    /// The file object has no descriptor (a negative one). C: `-EINVAL`.
    case invalidFileDescriptor
    /// The descriptor is registered already. C: `-EEXIST`.
    case alreadyRegistered(Int32)
    /// The descriptor is not registered. C: `-ENOENT`.
    case notRegistered(Int32)
    /// The selector is closed. C: `-ECANCELED`.
    case closed
    /// A signal interrupted the wait of an interruptible selector.
    ///
    /// C: `-EINTR`.
    case interrupted
    /// No backend could be chosen or added; the message lists the names.
    ///
    /// C: `-EINVAL` (malformed), `-ENOENT` (unknown), `-ENOTSUP` (none can be used here),
    /// `-EEXIST` (taken).
    case backend(code: Int32, message: String)
    /// The system failed with this errno value.
    ///
    /// C: the same, negative.
    case system(Int32)

    /// The errno value that the corresponding C function reports.
    public var errno: Int32 {
        switch self {
        case .invalidEvents, .invalidFileDescriptor: EINVAL
        case .alreadyRegistered: EEXIST
        case .notRegistered: ENOENT
        case .closed: ECANCELED
        case .interrupted: EINTR
        case .backend(let code, _), .system(let code): code
        }
    }
}

extension SelectorError {
    /// Converts an error of the core, for a call with valid arguments on `fd`.
    init(_ error: SystemError, fd: Int32) {
        switch error.code {
        case EEXIST: self = .alreadyRegistered(fd)
        case ENOENT: self = .notRegistered(fd)
        case ECANCELED: self = .closed
        case EINTR: self = .interrupted
        default: self = .system(error.code)
        }
    }

    init(_ error: BackendError) {
        self = .backend(code: error.code, message: error.message)
    }
}
