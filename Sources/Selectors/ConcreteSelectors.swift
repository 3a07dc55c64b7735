/// A selector on the best backend of the system, or on the one that `SELECTORS_BACKEND` names.
public final class DefaultSelector<Data>: BaseSelector<Data> {
    /// Opens a selector; see ``BaseSelector/init(backend:)``.
    public init() throws(SelectorError) {
        try super.init(backend: nil)
    }
}

/// A selector on epoll(7), on Linux.
public final class EpollSelector<Data>: BaseSelector<Data> {
    /// Opens a selector; throws `.backend` if the system has no epoll.
    public init() throws(SelectorError) {
        try super.init(backend: "epoll")
    }
}

/// A selector on poll(2), on every system.
public final class PollSelector<Data>: BaseSelector<Data> {
    /// Opens a selector; see ``BaseSelector/init(backend:)``.
    public init() throws(SelectorError) {
        try super.init(backend: "poll")
    }
}

/// A selector on select(2), on every system, without the limit of `FD_SETSIZE`.
public final class SelectSelector<Data>: BaseSelector<Data> {
    /// Opens a selector; see ``BaseSelector/init(backend:)``.
    public init() throws(SelectorError) {
        try super.init(backend: "select")
    }
}

/// A selector on /dev/poll, on Solaris and illumos.
public final class DevpollSelector<Data>: BaseSelector<Data> {
    /// Opens a selector; throws `.backend` if the system has no /dev/poll, as on Linux.
    public init() throws(SelectorError) {
        try super.init(backend: "devpoll")
    }
}

/// A selector on kqueue(2), on macOS and BSD.
public final class KqueueSelector<Data>: BaseSelector<Data> {
    /// Opens a selector; throws `.backend` if the system has no kqueue, as on Linux.
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
