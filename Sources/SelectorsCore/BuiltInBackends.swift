import CPlatform

extension BackendRegistry {
    /// Adds the backends that this library knows, those of other systems included.
    ///
    /// Only a lack of memory can keep one out.
    func addBuiltIn() {
        #if os(Linux)
            _ = try? addBuiltIn(
                "epoll", rank: 300, capabilities: [.fileno, .concurrent, .edge, .exclusive]
            ) { () throws(SystemError) in try EpollBackend.open() }
        #else
            _ = try? addBuiltIn("epoll", rank: 300, refusedBecause: "this system has no epoll")
        #endif
        _ = try? addBuiltIn("kqueue", rank: 300, refusedBecause: "this system has no kqueue")
        _ = try? addBuiltIn("devpoll", rank: 250, refusedBecause: "this system has no /dev/poll")
        _ = try? addBuiltIn("poll", rank: 200) { () throws(SystemError) in PollBackend() }
        _ = try? addBuiltIn("select", rank: 100) { () throws(SystemError) in SelectBackend() }
    }

    private func addBuiltIn(
        _ name: StaticString, rank: Int32, capabilities: BackendCapabilities = [],
        make: @escaping Backend.Make
    ) throws(SystemError) {
        try add(name.cString, rank: rank, capabilities: capabilities, make: make)
    }

    private func addBuiltIn(
        _ name: StaticString, rank: Int32, refusedBecause reason: StaticString
    ) throws(SystemError) {
        let backend = try add(name.cString, rank: rank, capabilities: []) {
            () throws(SystemError) in throw SystemError(ENOTSUP)
        }
        backend.verdict = .refused(reason.cString)
    }
}
