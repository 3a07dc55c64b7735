import CSelectorsPlatform
import Synchronization

/// All selectors of the process, so that a fork finds them.
///
/// Only the thread that calls `fork` exists in the child, but others may be in the middle of a
/// change. The fork therefore waits for them (pthread_atfork(3)). In the child each selector closes
/// the kernel set that it inherited. If the forking thread itself is in a call, the call continues
/// after the fork.
///
/// A child of `_Fork` or bare `clone` is recognised by the words of the gates, which the kernel
/// wipes.
enum Forks {
    struct State: ~Copyable {
        /// Guarded by the gate's lock.
        var first: SelectorCore?
        let gate: Gate
        /// The thread that forks, or 0; `depth` counts its forks that are under way.
        let forking = Atomic<UInt>(0)
        var depth = 0
        /// The signals that were blocked in that thread before its fork, which blocks all.
        var signals = platform_signals()
        /// Incremented in each child.
        var generation: UInt32 = 0

        init(gate: Gate) {
            self.gate = gate
        }
    }

    /// Registers the fork handlers; returns 0 or an errno value.
    static func listen() -> Int32 {
        let saved = platform_errno()
        defer { platform_set_errno(saved) }
        return pthread_atfork(Forks.prepare, Forks.resume, Forks.beginChild)
    }

    private static let prepare: @convention(c) () -> Void = {
        guard let globals = Globals.shared else { return }
        takeForkLock(globals)
        if globals.pointee.forks.depth > 1 { return }
        var attempt = 1
        while !tryLockAll(in: globals, isLast: attempt >= attempts) {
            // Another thread may hold one of the locks in a signal handler that forks as well.
            giveForkLock(globals)
            platform_nap()
            takeForkLock(globals)
            attempt += 1
        }
    }

    /// How often a fork tries to take all locks, for a second or more in all.
    ///
    /// Then it leaves those that it cannot get: handlers of two threads may fork, each within a call
    /// that holds a lock.
    private static let attempts = 500

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

    /// Lets one thread at a time fork, and no signal handler run in it.
    ///
    /// A fork handler of another library may fork while its thread does; it uses the locks taken so
    /// far.
    private static func takeForkLock(_ globals: UnsafeMutablePointer<Globals>) {
        let me = platform_thread()
        let signals = platform_block_signals()
        while globals.pointee.forks.forking.load(ordering: .relaxed) != me {
            let isTaken = globals.pointee.forks.forking.compareExchange(
                expected: 0, desired: me, ordering: .acquiring
            ).exchanged
            if isTaken { break }
            platform_nap()
        }
        globals.pointee.forks.depth += 1
        if globals.pointee.forks.depth == 1 { globals.pointee.forks.signals = signals }
    }

    private static func giveForkLock(_ globals: UnsafeMutablePointer<Globals>) {
        globals.pointee.forks.depth -= 1
        if globals.pointee.forks.depth == 0 {
            let signals = globals.pointee.forks.signals
            globals.pointee.forks.forking.store(0, ordering: .releasing)
            platform_restore_signals(signals)
        }
    }

    /// Takes all locks, or none.
    ///
    /// When a backend's function calls the library, a thread may hold one lock and wait for
    /// another, in any order.
    ///
    /// - Parameters:
    ///   - globals: The global state.
    ///   - isLast: It leaves those that another thread holds for long: the child finds what they
    ///     guard in the middle of a change, and refuses calls. That of the list is never left, since
    ///     whoever holds it may free a selector.
    /// - Returns: Whether it has taken them.
    private static func tryLockAll(
        in globals: UnsafeMutablePointer<Globals>, isLast: Bool
    ) -> Bool {
        guard globals.pointee.registry.gate.tryLockForFork(orLeave: isLast) else { return false }
        guard
            globals.pointee.forks.gate.tryLockForFork(
                orLeave: false, isUninterrupted: true)
        else {
            globals.pointee.registry.gate.unlockAfterFork()
            return false
        }
        var next = globals.pointee.forks.first
        while let core = next {
            if !core.prepareFork(isLast: isLast) {
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

    /// A number that differs between a process and its child.
    static var generation: UInt32 { Globals.shared?.pointee.forks.generation ?? 0 }

    /// Takes the lock of the list.
    ///
    /// No signal handler runs in this thread until it is given back: one that forks would leave the
    /// child a list that nobody may change.
    private static func lockList(
        _ globals: UnsafeMutablePointer<Globals>
    ) throws(SystemError) -> platform_signals {
        let signals = platform_block_signals()
        do throws(SystemError) {
            try globals.pointee.forks.gate.lock()
            return signals
        } catch {
            platform_restore_signals(signals)
            throw error
        }
    }

    private static func unlockList(
        _ globals: UnsafeMutablePointer<Globals>, _ signals: platform_signals
    ) {
        globals.pointee.forks.gate.unlock()
        platform_restore_signals(signals)
    }

    /// Adds a selector, unless its creation began in a parent of this process.
    ///
    /// - Throws: `ECANCELED` in that case.
    static func add(_ core: SelectorCore, since generation: UInt32) throws(SystemError) {
        let globals = try Globals.get()
        let signals = try lockList(globals)
        let first = globals.pointee.forks.first
        core.nextOpen = first
        first?.previousOpen = core
        globals.pointee.forks.first = core
        unlockList(globals, signals)
        if generation != globals.pointee.forks.generation {
            _ = remove(core)
            throw SystemError(ECANCELED)
        }
    }

    /// Removes a selector.
    ///
    /// - Returns: Whether it was in the list.
    static func remove(_ core: SelectorCore) -> Bool {
        guard let globals = Globals.shared, let signals = try? lockList(globals) else {
            return false
        }
        defer { unlockList(globals, signals) }
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
