import CSelectorsPlatform

extension BackendRegistry {
    /// Adds the built-in backends, including those of other systems.
    ///
    /// Returns `false` if memory ran out.
    func addBuiltIn() -> Bool {
        do throws(SystemError) {
            try insertBuiltIn(
                "epoll", rank: 300,
                capabilities: [.fileno, .concurrent, .edge, .exclusive, .oneShot, .readHangup],
                .epoll)
            if platform_has_kqueue() != 0 {
                // Not concurrent: that needs one-shots in the kernel, where each filter has its own.
                try insertBuiltIn(
                    "kqueue", rank: 300, capabilities: [.fileno, .concurrent, .edge], .kqueue)
            } else {
                try insertBuiltIn(
                    "kqueue", rank: 300, unavailableBecause: "this system has no kqueue")
            }
            let ofPoll: BackendCapabilities =
                PollMask.toAsk(PollMask.readHangup) != 0 ? .readHangup : []
            try insertBuiltIn("devpoll", rank: 250, capabilities: ofPoll, .devpoll)
            try insertBuiltIn("poll", rank: 200, capabilities: ofPoll, .poll)
            try insertBuiltIn("select", rank: 100, .select)
            return true
        } catch {
            return false
        }
    }

    private func insertBuiltIn(
        _ name: StaticString, rank: Int32, capabilities: BackendCapabilities = [],
        _ maker: BackendMaker
    ) throws(SystemError) {
        try insert(name.cString, rank: rank, capabilities: capabilities, maker: maker)
    }

    private func insertBuiltIn(
        _ name: StaticString, rank: Int32, unavailableBecause reason: StaticString
    ) throws(SystemError) {
        let entry = try insert(name.cString, rank: rank, capabilities: [], maker: .none)
        entry.state.pointee.verdict = .unavailable(reason.cString)
    }
}
