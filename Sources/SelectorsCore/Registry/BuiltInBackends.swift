import CSelectorsPlatform

extension BackendRegistry {
    /// Adds the backends that this library knows, those of other systems included.
    func addBuiltIn() {
        #if os(Linux)
            insertBuiltIn(
                "epoll", rank: 300, capabilities: [.fileno, .concurrent, .edge, .exclusive]
            ) { () throws(SystemError) in try EpollBackend.open() }
        #else
            insertBuiltIn("epoll", rank: 300, refusedBecause: "this system has no epoll")
        #endif
        insertBuiltIn("kqueue", rank: 300, refusedBecause: "this system has no kqueue")
        insertBuiltIn("devpoll", rank: 250, refusedBecause: "this system has no /dev/poll")
        insertBuiltIn("poll", rank: 200) { () throws(SystemError) in PollBackend() }
        insertBuiltIn("select", rank: 100) { () throws(SystemError) in SelectBackend() }
    }

    private func insertBuiltIn(
        _ name: StaticString, rank: Int32, capabilities: BackendCapabilities = [],
        make: @escaping Backend.Make
    ) {
        insert(name.cString, rank: rank, capabilities: capabilities, make: make)
    }

    private func insertBuiltIn(
        _ name: StaticString, rank: Int32, refusedBecause reason: StaticString
    ) {
        let backend = insert(name.cString, rank: rank, capabilities: []) {
            () throws(SystemError) in throw SystemError(ENOTSUP)
        }
        backend.verdict = .refused(reason.cString)
    }
}
