import CSelectorsPlatform
import Synchronization

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
        /// The thread that forks, or 0, and how many of its forks are under way.
        let forking = Atomic<UInt>(0)
        var depth = 0
        /// Goes up in each child.
        var generation: UInt32 = 0

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
        takeForkLock(globals)
        if globals.pointee.forks.depth > 1 { return }
        while !tryLockAll(in: globals) { platform_nap() }
    }

    private static let resume: @convention(c) () -> Void = {
        guard let globals = Globals.shared else { return }
        if globals.pointee.forks.depth == 1 { unlockAll(in: globals) }
        giveForkLock(globals)
    }

    private static let beginChild: @convention(c) () -> Void = {
        guard let globals = Globals.shared else { return }
        globals.pointee.forks.generation &+= 1
        forEach(in: globals) { $0.closeAfterFork() }
        _ = globals.pointee.forks.gate.reopenAfterFork()
        _ = globals.pointee.registry.gate.reopenAfterFork()
        giveForkLock(globals)
    }

    /// Lets one thread at a time fork.
    ///
    /// A signal handler may fork while its thread does; then what was taken so far has to do.
    private static func takeForkLock(_ globals: UnsafeMutablePointer<Globals>) {
        let me = platform_thread()
        while globals.pointee.forks.forking.load(ordering: .relaxed) != me {
            let isTaken = globals.pointee.forks.forking.compareExchange(
                expected: 0, desired: me, ordering: .acquiring
            ).exchanged
            if isTaken { break }
            platform_nap()
        }
        globals.pointee.forks.depth += 1
    }

    private static func giveForkLock(_ globals: UnsafeMutablePointer<Globals>) {
        globals.pointee.forks.depth -= 1
        if globals.pointee.forks.depth == 0 {
            globals.pointee.forks.forking.store(0, ordering: .releasing)
        }
    }

    /// Takes all locks, or none: a thread that holds one may wait for another, in an order of its own,
    /// when a backend's function calls the library.
    private static func tryLockAll(in globals: UnsafeMutablePointer<Globals>) -> Bool {
        guard globals.pointee.registry.gate.tryLockForFork() else { return false }
        guard globals.pointee.forks.gate.tryLockForFork() else {
            globals.pointee.registry.gate.unlockAfterFork()
            return false
        }
        var next = globals.pointee.forks.first
        while let core = next {
            if !core.prepareFork() {
                unlockAll(in: globals)
                return false
            }
            next = core.nextOpen
        }
        return true
    }

    private static func unlockAll(in globals: UnsafeMutablePointer<Globals>) {
        forEach(in: globals) { $0.resumeAfterFork() }
        globals.pointee.forks.gate.unlockAfterFork()
        globals.pointee.registry.gate.unlockAfterFork()
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

    /// Tells apart a process and a child of it.
    static var generation: UInt32 { Globals.shared?.pointee.forks.generation ?? 0 }

    /// Adds a selector, unless the process is a child of that in which its making began.
    ///
    /// - Throws: `ECANCELED` in that case.
    static func add(_ core: SelectorCore, since generation: UInt32) throws(SystemError) {
        let globals = try Globals.get()
        try globals.pointee.forks.gate.lock()
        let first = globals.pointee.forks.first
        core.nextOpen = first
        first?.previousOpen = core
        globals.pointee.forks.first = core
        globals.pointee.forks.gate.unlock()
        if generation != globals.pointee.forks.generation {
            _ = remove(core)
            throw SystemError(ECANCELED)
        }
    }

    /// Takes a selector out.
    ///
    /// - Returns: Whether it was there.
    static func remove(_ core: SelectorCore) -> Bool {
        guard let globals = Globals.shared, (try? globals.pointee.forks.gate.lock()) != nil else {
            return false
        }
        defer { globals.pointee.forks.gate.unlock() }
        if let previous = core.previousOpen {
            previous.nextOpen = core.nextOpen
        } else if globals.pointee.forks.first?.state == core.state {
            globals.pointee.forks.first = core.nextOpen
        } else {
            return false
        }
        core.nextOpen?.previousOpen = core.previousOpen
        (core.previousOpen, core.nextOpen) = (nil, nil)
        return true
    }
}
