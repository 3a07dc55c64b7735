/// The selector with the best backend of the system, or the one that `SELECTORS_BACKEND` names.
public final class DefaultSelector<Data>: BaseSelector<Data> {
    /// Opens a selector; see ``BaseSelector/init(backend:)``.
    public init() throws(SelectorError) {
        try super.init(backend: nil)
    }
}

/// The selector over epoll(7), on Linux.
public final class EpollSelector<Data>: BaseSelector<Data> {
    /// Opens a selector; throws `.backend` where the system has no epoll.
    public init() throws(SelectorError) {
        try super.init(backend: "epoll")
    }
}

/// The selector over poll(2), on every system.
public final class PollSelector<Data>: BaseSelector<Data> {
    /// Opens a selector; see ``BaseSelector/init(backend:)``.
    public init() throws(SelectorError) {
        try super.init(backend: "poll")
    }
}

/// The selector over select(2), on every system, for descriptors of any number.
public final class SelectSelector<Data>: BaseSelector<Data> {
    /// Opens a selector; see ``BaseSelector/init(backend:)``.
    public init() throws(SelectorError) {
        try super.init(backend: "select")
    }
}

/// The selector over /dev/poll, on Solaris.
public final class DevpollSelector<Data>: BaseSelector<Data> {
    /// Opens a selector; throws `.backend` where the system has no /dev/poll, as on Linux.
    public init() throws(SelectorError) {
        try super.init(backend: "devpoll")
    }
}

/// The selector over kqueue(2), on macOS and BSD.
public final class KqueueSelector<Data>: BaseSelector<Data> {
    /// Opens a selector; throws `.backend` where the system has no kqueue, as on Linux.
    public init() throws(SelectorError) {
        try super.init(backend: "kqueue")
    }
}

extension DefaultSelector: @unchecked Sendable where Data: Sendable {}
extension EpollSelector: @unchecked Sendable where Data: Sendable {}
extension PollSelector: @unchecked Sendable where Data: Sendable {}
extension SelectSelector: @unchecked Sendable where Data: Sendable {}
extension DevpollSelector: @unchecked Sendable where Data: Sendable {}
extension KqueueSelector: @unchecked Sendable where Data: Sendable {}
