import CSelectorsPlatform

/// All selectors of the process, so that a fork finds them.
///
/// `fork` is called by the one thread that survives in the child, but others may be in the middle of
/// a change then. So it waits for them (pthread_atfork(3)); in the child each selector lets go of the
/// parent's kernel set. What the forking thread is itself in the middle of, it goes on with.
///
/// A child of `_Fork` or of bare `clone` is told by the words of the gates, which the kernel has wiped.
enum Forks {
    struct State: ~Copyable {
        /// Guarded by the gate's lock.
        var first: SelectorCore?
        let gate: Gate

        init(gate: Gate) {
            self.gate = gate
        }
    }

    /// Has the handlers called from now on; returns 0 or an errno value.
    static func listen() -> Int32 {
        let saved = platform_errno()
        defer { platform_set_errno(saved) }
        return pthread_atfork(Forks.prepare, Forks.resume, Forks.beginChild)
    }

    private static let prepare: @convention(c) () -> Void = {
        guard let globals = Globals.shared else { return }
        globals.pointee.registry.gate.lockForFork()
        globals.pointee.forks.gate.lockForFork()
        forEach(in: globals) { $0.prepareFork() }
    }

    private static let resume: @convention(c) () -> Void = {
        guard let globals = Globals.shared else { return }
        forEach(in: globals) { $0.resumeAfterFork() }
        globals.pointee.forks.gate.unlockAfterFork()
        globals.pointee.registry.gate.unlockAfterFork()
    }

    private static let beginChild: @convention(c) () -> Void = {
        guard let globals = Globals.shared else { return }
        forEach(in: globals) { $0.leaveToParent() }
        _ = globals.pointee.forks.gate.reopenAfterFork()
        _ = globals.pointee.registry.gate.reopenAfterFork()
    }

    private static func forEach(
        in globals: UnsafeMutablePointer<Globals>, _ body: (SelectorCore) -> Void
    ) {
        var next = globals.pointee.forks.first
        while let core = next {
            body(core)
            next = core.nextOpen
        }
    }

    static func add(_ core: SelectorCore) throws(SystemError) {
        let globals = try Globals.get()
        try globals.pointee.forks.gate.lock()
        let first = globals.pointee.forks.first
        core.nextOpen = first
        first?.previousOpen = core
        globals.pointee.forks.first = core
        globals.pointee.forks.gate.unlock()
    }

    static func remove(_ core: SelectorCore) {
        guard let globals = Globals.shared, (try? globals.pointee.forks.gate.lock()) != nil else {
            return
        }
        core.nextOpen?.previousOpen = core.previousOpen
        if let previous = core.previousOpen {
            previous.nextOpen = core.nextOpen
        } else {
            globals.pointee.forks.first = core.nextOpen
        }
        globals.pointee.forks.gate.unlock()
    }
}
