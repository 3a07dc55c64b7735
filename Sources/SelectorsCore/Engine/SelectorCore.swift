import CSelectorsPlatform
import CSelectors

/// The engine under both faces: keeps registrations, deadlines and fairness over one backend.
///
/// Errors are errno values; the C header says which. Any thread may call anything at any time: the
/// gate lets one at a time at what is kept here, and leaves the lock to others while threads wait in
/// the kernel.
///
/// It is a reference to memory that was claimed as one piece, so that a lack of it is an error. Its
/// owner calls ``close()`` and, when no other call can begin any more, ``deallocate()``.
package struct SelectorCore: @unchecked Sendable {
    /// All of it is guarded by the gate's lock but for what never changes, and for the wake-up.
    ///
    /// The first field is, too: the thread sanitizer takes a change of any field for one of the whole.
    struct State: ~Copyable {
        /// What select has to see to before it may just wait.
        var duties: Duties

        let backend: Backend
        /// What the backend can do.
        ///
        /// Where the kernel does not see a change during a wait, the waiting thread is woken first.
        let capabilities: BackendCapabilities
        /// The backend's name, as a C string that lives forever.
        let backendName: UnsafePointer<CChar>
        var wakeUp: WakeUp
        var table = RegistrationTable()

        /// The first number whose interest the backend has not been told yet.
        ///
        /// Changes wait for the next select, where a change and its reversal cancel out.
        var firstChange = RegistrationTable.none
        /// Set once `fileno` is known outside: somebody may wait on it, so changes cannot wait.
        var isNested = false

        /// Whether what poll(2) watches comes first in the next select, so that neither kind starves.
        var polledFirst = false

        /// An unregistered file may be left in the kernel set, because it was closed under its number
        /// before: an unknown token then means that the set has to be built anew.
        var mayHaveLeftovers = false

        /// Whether a signal ends a select.
        var isInterruptible = false

        /// What has gone wrong with the wake-up during a wait, an errno value; 0: nothing.
        var wakeUpFailure: Int32 = 0

        /// Whether the last wait has reported the wake-up.
        var hasSeenWakeUp = false

        /// The threads that wait by a function of somebody else's, which may call back.
        var foreignWaiters: UnsafeMutablePointer<ForeignWaiter>?

        /// The neighbours among all selectors.
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
        /// Changes are to be handed to the backend.
        static let applyChanges = Duties(rawValue: 1)
        /// The kernel set is to be built anew before it is used again.
        static let rebuild = Duties(rawValue: 2)
        /// Some numbers are poll's to watch.
        static let pollBeside = Duties(rawValue: 4)
        /// A select is asked to return.
        static let wakeUp = Duties(rawValue: 8)
        /// The selector is being closed.
        static let close = Duties(rawValue: 16)
        /// The process is a fork's child, and the kernel set the parent's.
        static let renewAfterFork = Duties(rawValue: 32)
        /// Always: who waits has to be known, for the backend may call back.
        static let foreign = Duties(rawValue: 128)

        /// A thread waits in poll(2) for what it watches and for the backend: until it is back, that
        /// must not change.
        static let blockInPoll = Duties(rawValue: 256)

        /// What a call has to look at before it goes on: ``close``, ``foreign`` and ``blockInPoll``.
        ///
        /// An array of them would be allocated where the code is not optimised.
        static let looks = Duties(rawValue: 0b1_1001_0000)

        /// ``applyChanges`` and ``blockInPoll``.
        static let changesInPoll = Duties(rawValue: 0b1_0000_0001)
    }

    /// A thread that waits, on its stack.
    struct ForeignWaiter {
        let thread = platform_thread()
        var next: UnsafeMutablePointer<ForeignWaiter>?
    }

    let state: UnsafeMutablePointer<State>

    /// The state stands behind both gates, and before ``polled``.
    private static let stateOffset = Int(PLATFORM_WIPED) + 2 * Gate.stateSize
    private static let size =
        2 * Gate.stateSize + MemoryLayout<State>.stride + MemoryLayout<PollBackend>.stride

    @inline(__always)
    package init(_ address: UnsafeMutableRawPointer) {
        state = address.assumingMemoryBound(to: State.self)
    }

    /// What ``init(_:)`` makes the same reference of.
    package var address: UnsafeMutableRawPointer { UnsafeMutableRawPointer(state) }

    @inline(__always)
    var gate: Gate { Gate(at: UnsafeMutableRawPointer(state) - 2 * Gate.stateSize) }

    /// What poll(2) watches because the backend cannot: files always ready, closed numbers.
    ///
    /// It is no field of the state, for a thread waits with it without the lock, which the thread
    /// sanitizer would take for a change of the whole.
    var polled: UnsafeMutablePointer<PollBackend> {
        UnsafeMutableRawPointer(state + 1).assumingMemoryBound(to: PollBackend.self)
    }

    /// Guards what a face keeps beside this; it is taken before ``gate``, and never during a wait.
    package var faceGate: Gate { Gate(at: UnsafeMutableRawPointer(state) - Gate.stateSize) }

    @inline(__always)
    var duties: Duties {
        get { state.pointee.duties }
        nonmutating set { state.pointee.duties = newValue }
    }

    /// The backend's name, as a C string that lives forever.
    package var backendName: UnsafePointer<CChar> { state.pointee.backendName }

    /// What the backend can do.
    package var capabilities: BackendCapabilities { state.pointee.capabilities }

    // MARK: Life

    /// Opens a core over a backend, which it closes, also when it throws.
    ///
    /// - Throws: Also `ECANCELED`, in a child that was forked, by a signal handler or a plug-in's
    ///   function, since `generation`: the backend is the parent's.
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

    /// Closes a backend that no core could be made over, and gives the error to throw.
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

    /// Ends all use: a blocked select returns `ECANCELED`, as does every later call.
    ///
    /// When this returns, no thread is inside any more, and the kernel set is gone.
    ///
    /// - Throws: `EDEADLK` where a backend's function calls it.
    package func close() throws(SystemError) {
        do throws(SystemError) {
            try gate.lock()
        } catch {
            guard error.code == ECANCELED else { throw error }
            if gate.isAbandoned { return try closeAbandoned() }
            // In a child whose fork was not noticed nothing is to be trusted but the numbers.
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
        // A fork takes the lock of the list before those of its selectors.
        _ = Forks.remove(self)
        state.pointee.backend.close()
        state.pointee.wakeUp.close()
    }

    /// Ends all use in the child of a fork in the middle of a call, which has gone on and ended.
    private func closeAbandoned() throws(SystemError) {
        if isWaitingItself { throw SystemError(EDEADLK) }
        // Who takes it out of the list closes it.
        guard Forks.remove(self) else { return }
        state.pointee.backend.close()
        state.pointee.wakeUp.close()
    }

    /// Closes the descriptors, in a fork's child.
    private func closeDescriptors() {
        state.pointee.backend.closeAfterFork()
        state.pointee.wakeUp.detach()
    }

    /// Frees the memory of a closed core.
    package func deallocate() {
        // In a child whose fork was not noticed another thread of the parent's may have been in the
        // middle of a change: what was its memory is left.
        guard gate.isLive else { return }
        polled.deinitialize(count: 1)
        state.deinitialize(count: 1)
        faceGate.destroy()
        gate.destroy()
        platform_unmap(UnsafeMutableRawPointer(state) - SelectorCore.stateOffset, SelectorCore.size)
    }

    // MARK: Forks

    /// The neighbours among all selectors.
    var previousOpen: SelectorCore? {
        get { state.pointee.previousOpen }
        nonmutating set { state.pointee.previousOpen = newValue }
    }
    var nextOpen: SelectorCore? {
        get { state.pointee.nextOpen }
        nonmutating set { state.pointee.nextOpen = newValue }
    }

    /// Before a fork: makes sure that no other thread is in the middle of a change.
    ///
    /// - Returns: Whether it is so; else nothing was taken.
    func prepareFork() -> Bool {
        guard faceGate.tryLockForFork() else { return false }
        if gate.tryLockForFork() { return true }
        faceGate.unlockAfterFork()
        return false
    }

    /// After a fork, in the parent: goes on.
    func resumeAfterFork() {
        gate.unlockAfterFork()
        faceGate.unlockAfterFork()
    }

    /// After a fork, in the child: lets go of the parent's kernel set and descriptors.
    ///
    /// The next call that needs them makes others. It is async-signal-safe.
    func closeAfterFork() {
        let isWhole = gate.reopenAfterFork()
        let isFaceWhole = faceGate.reopenAfterFork()
        duties.formUnion([.renewAfterFork, .rebuild])
        duties.remove(.blockInPoll)
        // Another thread of the parent's was closing it: here nobody goes on with that.
        let isClosing = isWhole && duties.contains(.close)
        if isClosing { duties.remove(.close) }
        if isClosing || !isFaceWhole { gate.abandon() }
        closeDescriptors()
        // The stacks of the other threads will be those of new ones.
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

    /// Asks that the select which is waiting now, or else the next one, returns.
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

    /// With the lock free: the error that a call ends with.
    ///
    /// A descriptor of the selector's own may have gone because a signal handler has forked in the middle
    /// of the call, and this is the child.
    package func explain(_ error: SystemError) -> SystemError {
        guard error.code == EBADF else { return error }
        do throws(SystemError) {
            try checkOpen()
            return error
        } catch {
            return error
        }
    }

    /// Makes signals end a select with `EINTR`, or not, also the one that goes on.
    package func setInterruptible(_ isInterruptible: Bool) throws(SystemError) {
        try lock()
        defer { unlock() }
        state.pointee.isInterruptible = isInterruptible
    }

    @inline(__always)
    func unlock() {
        gate.unlock(attention: !duties.isEmpty)
    }

    /// Takes the lock of a selector that can be used.
    func lock() throws(SystemError) {
        try gate.lock()
        do throws(SystemError) {
            try checkUsable()
        } catch {
            unlock()
            throw error
        }
    }

    /// With the lock held: throws `ECANCELED` where the selector cannot be used any more.
    ///
    /// - Throws: `EDEADLK` where the backend's function in which this thread waits has called back.
    func checkUsable() throws(SystemError) {
        if duties.isDisjoint(with: .looks) && !gate.isAbandoned { return }
        if duties.contains(.close) || gate.isAbandoned { throw SystemError(ECANCELED) }
        if isWaitingItself { throw SystemError(EDEADLK) }
    }

    /// Takes the lock at a moment at which the set may be changed.
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
            unlock()
            throw error
        }
    }

    /// With the lock held: makes all leave the kernel, and keeps others out until the lock is given
    /// back.
    ///
    /// - Throws: `EDEADLK` where this thread is one of them, `ECANCELED`, or what a wake-up fails with.
    func evacuate() throws(SystemError) {
        assert(gate.isOwned)
        guard gate.isWaiting else { return }
        if isWaitingItself { throw SystemError(EDEADLK) }
        try state.pointee.wakeUp.kick()
        gate.awaitEmptyKernel()
        try checkUsable()
    }

    /// With the lock held, after a wait: has the next one leave, if all are to leave.
    func passOnEvacuation() {
        if gate.isWaiting && gate.hasEvacuator { try? state.pointee.wakeUp.kick() }
    }

    /// Whether the backend's function in which this thread waits has called back.
    private var isWaitingItself: Bool {
        var waiter = state.pointee.foreignWaiters
        while let other = waiter {
            if other.pointee.thread == platform_thread() { return true }
            waiter = other.pointee.next
        }
        return false
    }
}
