extension BackendDescriptor {
    /// The backends that this library knows, those of other systems included.
    static let builtIn = [
        epoll, kqueue, devpoll,
        BackendDescriptor(name: "poll", rank: 200) { () throws(SystemError) in PollBackend() },
        BackendDescriptor(name: "select", rank: 100) { () throws(SystemError) in SelectBackend() },
    ]

    #if os(Linux)
        private static let epoll = BackendDescriptor(
            name: "epoll", rank: 300, capabilities: [.fileno, .concurrent, .edge, .exclusive]
        ) { () throws(SystemError) in try EpollBackend.open() }
    #else
        private static let epoll = BackendDescriptor(
            name: "epoll", rank: 300, excuse: "this system has no epoll")
    #endif

    private static let kqueue = BackendDescriptor(
        name: "kqueue", rank: 300, excuse: "this system has no kqueue")

    private static let devpoll = BackendDescriptor(
        name: "devpoll", rank: 250, excuse: "this system has no /dev/poll")
}
