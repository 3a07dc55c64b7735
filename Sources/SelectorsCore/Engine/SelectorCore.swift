import CSelectorsPlatform
import CSelectors

/// The engine under both faces: keeps registrations, deadlines and fairness over one backend.
///
/// Errors are errno values; the C header lists them. All functions are thread-safe. The gate admits
/// one thread at a time to the state, and the lock is free while threads wait in the kernel.
///
/// A value refers to memory that is claimed as one piece, so that a lack of memory is an error. The
/// owner calls ``close()`` and then, when no other call can begin, ``deallocate()``.
package struct SelectorCore: @unchecked Sendable {
    /// The gate's lock guards all of it, except constants and the wake-up.
    ///
    /// The first field must be guarded too: the thread sanitizer treats a change to any field as a
    /// change to the whole structure.
    struct State: ~Copyable {
        /// What select must do before it may just wait.
        var duties: Duties

        let backend: Backend
        /// What the backend supports.
        ///
        /// Without `concurrent`, the waiting thread leaves the kernel before a change.
        let capabilities: BackendCapabilities
        /// The backend's name, a C string that is never freed.
        let backendName: UnsafePointer<CChar>
        var wakeUp: WakeUp
        var table = RegistrationTable()

        /// The first descriptor whose interest the backend does not have yet.
        ///
        /// Changes wait for the next select, so that a change and its reversal cancel out.
        var firstChange = RegistrationTable.none
        /// Set once the caller knows `fileno`: it may wait for it elsewhere, so changes are applied
        /// at once.
        var isNested = false

        /// Whether select looks first at what poll(2) watches.
        ///
        /// It alternates, so that neither kind starves.
        var polledFirst = false

        /// The kernel set may contain a file that is unregistered, because its descriptor was
        /// closed first.
        ///
        /// An event with an unknown token then means that the set must be rebuilt.
        var mayHaveLeftovers = false

        /// Whether a signal ends a select.
        var isInterruptible = false

        /// The errno value of a failure of the wake-up during a wait; 0: none.
        var wakeUpFailure: Int32 = 0

        /// Whether the last wait reported the wake-up, or blocked in poll(2): select then looks
        /// once more.
        var hasSeenWakeUp = false

        /// The threads that wait in a function of a plug-in or custom backend, which may call back.
        var foreignWaiters: UnsafeMutablePointer<ForeignWaiter>?

        /// The neighbours in the list of all selectors.
        var previousOpen: SelectorCore?
        var nextOpen: SelectorCore?

        init(
            _ backend: Backend, _ name: UnsafePointer<CChar>,
            _ capabilities: BackendCapabilities, _ wakeUp: consuming WakeUp
        ) {
            self.backend = backend
            self.wakeUp = wakeUp
            self.capabilities = capabilities
            backendName = name
            duties = backend.isForeign ? .foreign : []
        }
    }

    struct Duties: OptionSet {
        let rawValue: UInt16
        /// Changes must be handed to the backend.
        static let applyChanges = Duties(rawValue: 1)
        /// The kernel set must be rebuilt before it is used again.
        static let rebuild = Duties(rawValue: 2)
        /// poll(2) watches some descriptors.
        static let pollBeside = Duties(rawValue: 4)
        /// A select must return.
        static let wakeUp = Duties(rawValue: 8)
        /// The selector is closed or being closed.
        static let close = Duties(rawValue: 16)
        /// The process is a fork's child, and the kernel set is the parent's.
        static let renewAfterFork = Duties(rawValue: 32)
        /// Always set if the backend may call back: waiting threads must then be known.
        static let foreign = Duties(rawValue: 128)

        /// A thread blocks in poll(2), for the descriptors that it watches and for the backend.
        ///
        /// That set must not change until the thread returns.
        static let blockInPoll = Duties(rawValue: 256)

        /// The duties that a call checks before it proceeds: ``close``, ``foreign`` and
        /// ``blockInPoll``.
        ///
        /// It is a literal because unoptimised code would allocate an array of them.
        static let looks = Duties(rawValue: 0b1_1001_0000)

        /// ``applyChanges`` and ``blockInPoll``.
        static let changesInPoll = Duties(rawValue: 0b1_0000_0001)
    }

    /// One waiting thread; the structure is on its stack.
    struct ForeignWaiter {
        let thread = platform_thread()
        var next: UnsafeMutablePointer<ForeignWaiter>?
    }

    let state: UnsafeMutablePointer<State>

    /// The memory holds both gates, the state and ``polled``, in this order.
    private static let stateOffset = Int(PLATFORM_WIPED) + 2 * Gate.stateSize
    private static let size =
        2 * Gate.stateSize + MemoryLayout<State>.stride + MemoryLayout<PollBackend>.stride

    @inline(__always)
    package init(_ address: UnsafeMutableRawPointer) {
        state = address.assumingMemoryBound(to: State.self)
    }

    /// The address from which ``init(_:)`` makes the same reference.
    package var address: UnsafeMutableRawPointer { UnsafeMutableRawPointer(state) }

    @inline(__always)
    var gate: Gate { Gate(at: UnsafeMutableRawPointer(state) - 2 * Gate.stateSize) }

    /// What poll(2) watches because the backend cannot: files that are always ready, closed
    /// descriptors.
    ///
    /// It is not a field of the state. A thread waits with it without the lock, and the thread
    /// sanitizer would treat that as a change to the whole state.
    var polled: UnsafeMutablePointer<PollBackend> {
        UnsafeMutableRawPointer(state + 1).assumingMemoryBound(to: PollBackend.self)
    }

    /// Guards what a face keeps beside this; it is taken before ``gate``, and never held during a
    /// wait.
    package var faceGate: Gate { Gate(at: UnsafeMutableRawPointer(state) - Gate.stateSize) }

    @inline(__always)
    var duties: Duties {
        get { state.pointee.duties }
        nonmutating set { state.pointee.duties = newValue }
    }

    /// The backend's name, a C string that is never freed.
    package var backendName: UnsafePointer<CChar> { state.pointee.backendName }

    /// What the backend supports.
    package var capabilities: BackendCapabilities { state.pointee.capabilities }

    // MARK: Opening and closing

    /// Opens a core over a backend and takes ownership of the backend, even if it throws.
    ///
    /// - Throws: Also `ECANCELED` in a child that a signal handler or a plug-in's function has
    ///   forked since `generation`: the backend is the parent's.
    static func open(
        backend: Backend, name: UnsafePointer<CChar>, capabilities: BackendCapabilities,
        since generation: UInt32
    ) throws(SystemError) -> SelectorCore {
        guard generation == Forks.generation, let memory = platform_map(size) else {
            throw abandon(backend, SystemError(ENOMEM), since: generation)
        }
        let start = memory + Int(PLATFORM_WIPED)
        _ = Gate.make(at: start, isShared: capabilities.contains(.concurrent))
        _ = Gate.make(at: start + Gate.stateSize)
        do throws(SystemError) {
            let wakeUp = try WakeUp.open(isEdge: capabilities.contains(.edge))
            let core = SelectorCore(memory + stateOffset)
            core.state.initialize(to: State(backend, name, capabilities, wakeUp))
            core.polled.initialize(to: PollBackend())
            do throws(SystemError) {
                try core.watchWakeUp()
                try Forks.add(core, since: generation)
            } catch {
                core.state.pointee.wakeUp.close()
                core.polled.deinitialize(count: 1)
                core.state.deinitialize(count: 1)
                throw error
            }
            core.unlockNew()
            return core
        } catch {
            platform_unmap(memory, size)
            throw abandon(backend, error, since: generation)
        }
    }

    /// Closes a backend over which no core could be opened, and returns the error to throw.
    private static func abandon(
        _ backend: Backend, _ error: SystemError, since generation: UInt32
    ) -> SystemError {
        let isInChild = generation != Forks.generation
        if isInChild { backend.closeAfterFork() }
        backend.close()
        return isInChild ? SystemError(ECANCELED) : error
    }

    private func unlockNew() {
        try? gate.lock()
        unlock()
    }

    /// Ends all use: a blocked select fails with `ECANCELED`, as does every later call.
    ///
    /// When this returns, no other thread is inside, and the kernel set is closed.
    ///
    /// - Throws: `EDEADLK` if a backend's function calls it.
    package func close() throws(SystemError) {
        do throws(SystemError) {
            try gate.lock()
        } catch {
            guard error.code == ECANCELED else { throw error }
            if gate.isAbandoned { return try closeAbandoned() }
            // In a child whose fork was not noticed, only the descriptor numbers can be trusted.
            return closeDescriptors()
        }
        if duties.contains(.close) { return unlock() }
        if isWaitingItself {
            unlock()
            throw SystemError(EDEADLK)
        }
        duties.insert(.close)
        if gate.isWaiting { try? state.pointee.wakeUp.kick() }
        gate.awaitNobody()
        unlock()
        // A fork takes the lock of the list before the locks of its selectors.
        _ = Forks.remove(self)
        state.pointee.backend.close()
        state.pointee.wakeUp.close()
    }

    /// Ends all use in a child whose fork interrupted a call, after that call has ended.
    private func closeAbandoned() throws(SystemError) {
        if isWaitingItself { throw SystemError(EDEADLK) }
        // The thread that removes it from the list closes it.
        guard Forks.remove(self) else { return }
        state.pointee.backend.close()
        state.pointee.wakeUp.close()
    }

    /// In a fork's child: closes the descriptors.
    private func closeDescriptors() {
        state.pointee.backend.closeAfterFork()
        state.pointee.wakeUp.detach()
    }

    /// Frees the memory of a closed core.
    package func deallocate() {
        // In a child whose fork was not noticed, another thread of the parent may have left the
        // state half changed: its memory is not freed.
        guard gate.isLive else { return }
        polled.deinitialize(count: 1)
        state.deinitialize(count: 1)
        faceGate.destroy()
        gate.destroy()
        platform_unmap(UnsafeMutableRawPointer(state) - SelectorCore.stateOffset, SelectorCore.size)
    }

    // MARK: Forks

    /// The neighbours in the list of all selectors.
    var previousOpen: SelectorCore? {
        get { state.pointee.previousOpen }
        nonmutating set { state.pointee.previousOpen = newValue }
    }
    var nextOpen: SelectorCore? {
        get { state.pointee.nextOpen }
        nonmutating set { state.pointee.nextOpen = newValue }
    }

    /// Before a fork: takes both locks, so that no other thread is in the middle of a change.
    ///
    /// - Parameter isLast: It leaves a lock that another thread holds for long.
    /// - Returns: Whether it has both; if not, it has neither.
    func prepareFork(isLast: Bool) -> Bool {
        guard faceGate.tryLockForFork(orLeave: isLast) else { return false }
        if gate.tryLockForFork(orLeave: isLast) { return true }
        faceGate.unlockAfterFork()
        return false
    }

    /// Releases what ``prepareFork()`` took: in the parent, or before another attempt.
    func resumeAfterFork() {
        gate.unlockAfterFork()
        faceGate.unlockAfterFork()
    }

    /// In the child of a fork: closes the kernel set and descriptors inherited from the parent.
    ///
    /// The next call that needs them opens new ones. Async-signal-safe.
    func closeAfterFork() {
        let isWhole = gate.reopenAfterFork()
        let isFaceWhole = faceGate.reopenAfterFork()
        duties.formUnion([.renewAfterFork, .rebuild])
        duties.remove(.blockInPoll)
        // Another thread of the parent was closing it; no thread continues that in the child.
        let isClosing = isWhole && duties.contains(.close)
        if isClosing { duties.remove(.close) }
        if isClosing || !isFaceWhole { gate.abandon() }
        closeDescriptors()
        // New threads will reuse the stacks of the other threads.
        var mine: UnsafeMutablePointer<ForeignWaiter>?
        var waiter = state.pointee.foreignWaiters
        while let other = waiter {
            waiter = other.pointee.next
            if other.pointee.thread == platform_thread() {
                other.pointee.next = mine
                mine = other
            }
        }
        state.pointee.foreignWaiters = mine
    }

    // MARK: Threads

    /// Asks the select that is waiting, or else the next one, to return.
    ///
    /// Async-signal-safe.
    @inline(__always)
    package func wakeup() throws(SystemError) {
        try state.pointee.wakeUp.request()
    }

    /// Throws `ECANCELED` once the selector is closed.
    package func checkOpen() throws(SystemError) {
        try lock()
        unlock()
    }

    /// Before a call leaves the gate: returns the error that it fails with.
    ///
    /// `EBADF` may mean that a signal handler has forked in the middle of the call, and that this
    /// is the child: the selector's own descriptor is closed. The error is then that of an unusable
    /// selector.
    func explain(_ error: SystemError) -> SystemError {
        error.code == EBADF && gate.isAbandoned ? SystemError(ECANCELED) : error
    }

    /// Sets whether signals end a select with `EINTR`, including a select in progress.
    package func setInterruptible(_ isInterruptible: Bool) throws(SystemError) {
        try lock()
        defer { unlock() }
        state.pointee.isInterruptible = isInterruptible
    }

    @inline(__always)
    func unlock() {
        gate.unlock(attention: !duties.isEmpty)
    }

    /// Takes the lock; throws if the selector cannot be used.
    func lock() throws(SystemError) {
        try gate.lock()
        do throws(SystemError) {
            try checkUsable()
        } catch {
            unlock()
            throw error
        }
    }

    /// With the lock held: throws `ECANCELED` if the selector can no longer be used.
    ///
    /// - Throws: Also `EDEADLK` if this thread waits in a backend's function, which has called
    ///   back.
    func checkUsable() throws(SystemError) {
        if duties.isDisjoint(with: .looks) && !gate.isAbandoned { return }
        if duties.contains(.close) || gate.isAbandoned { throw SystemError(ECANCELED) }
        if isWaitingItself { throw SystemError(EDEADLK) }
    }

    /// Takes the lock and makes sure that the kernel set may be changed.
    @inline(__always)
    func lockForChange() throws(SystemError) {
        guard try gate.lockAndLook() else { return }
        if !duties.isDisjoint(with: .looks)
            || gate.isWaiting && !state.pointee.capabilities.contains(.concurrent)
        {
            try makeRoomForChange()
        }
    }

    @inline(never)
    private func makeRoomForChange() throws(SystemError) {
        do throws(SystemError) {
            try checkUsable()
            if !state.pointee.capabilities.contains(.concurrent) || duties.contains(.blockInPoll) {
                try evacuate()
            }
        } catch {
            let failure = explain(error)
            unlock()
            throw failure
        }
    }

    /// With the lock held: makes all threads leave the kernel, and keeps others out until the lock
    /// is released.
    ///
    /// - Throws: `EDEADLK` if this thread is one of them, `ECANCELED`, or an error of the wake-up.
    func evacuate() throws(SystemError) {
        assert(gate.isOwned)
        guard gate.isWaiting else { return }
        if isWaitingItself { throw SystemError(EDEADLK) }
        try state.pointee.wakeUp.kick()
        gate.awaitEmptyKernel()
        try checkUsable()
    }

    /// With the lock held, after a wait: makes the next thread leave the kernel, if all must leave.
    func passOnEvacuation() {
        if gate.isWaiting && gate.hasEvacuator { try? state.pointee.wakeUp.kick() }
    }

    /// Whether this thread waits in a backend's function, which has called back.
    private var isWaitingItself: Bool {
        var waiter = state.pointee.foreignWaiters
        while let other = waiter {
            if other.pointee.thread == platform_thread() { return true }
            waiter = other.pointee.next
        }
        return false
    }
}
