import CSelectorsPlatform
import Synchronization

/// Admits one thread at a time to a selector's state, counts the threads that wait in the kernel,
/// and queues the threads that have to sleep.
///
/// ```text
///                    lock                         beginWait
///         .-----------------------> LOCKED -------------------------.
///         |         .-------------- (one thread) <-------------.    |
///         |  unlock |                 |      ^                 |    v
///       FREE <------'           sleep |      | woken,    endWait   WAITING
///         |                           v      | lock      .----- (in the kernel;
///         |                         ASLEEP --'           |      several, if shared)
///         |  tryBeginWait             in one of the queues         ^  |
///         '--------------------------------------------------------'  |
///       FREE <--------- tryEndWait gives LOCKED ----------------------'
///
///   queue        sleeps until                        is woken
///   lockers      the lock is free                    first
///   evacuators   no thread waits in the kernel       when the last waiter has left the kernel
///   turns        the thread may wait in the kernel   when no evacuator is left
///   closer       no other call is here               when the last call has left
/// ```
///
/// All of this is in one atomic word: bits for the lock, for sleepers and for work that the next
/// select has to do, and two counters. A call changes the word before it does anything else, so
/// that ``awaitNobody()`` can tell when the last call has left. Without contention each transition
/// is one atomic operation.
///
/// A thread that frees the lock wakes at most one sleeper. A sleeper of another queue moves to the
/// lockers when its condition holds. Until it has the lock it is `promised` that condition: no
/// other thread enters the kernel. A woken locker that finds the lock taken again goes to the front
/// of the queue, and the next release hands the lock over to it.
///
/// In a fork's child the kernel wipes the word, and ``reopenAfterFork()`` sets it again. In the
/// child of `_Fork` or bare `clone` it stays wiped, and each call fails with `ECANCELED`.
package struct Gate {
    /// The bits and counters of the word.
    private enum Word {
        /// A thread holds the lock.
        static let locked: UInt64 = 1
        /// The next select has work to do before it may block.
        static let attention: UInt64 = 2
        /// A thread sleeps: the thread that frees the lock must look for one to wake.
        static let queued: UInt64 = 4
        /// Always set, except in a child whose fork was not noticed.
        static let live: UInt64 = 8
        /// The process is a child whose fork interrupted a call: new calls are refused.
        ///
        /// The interrupted call may have left the guarded state half changed.
        static let abandoned: UInt64 = 16
        /// The bits that rule out the fast path: ``locked``, ``queued`` and ``abandoned``.
        static let obstacles: UInt64 = 0b10101
        /// Counts one call that wants the lock and does not hold it.
        static let entered: UInt64 = 1 << 8
        /// Counts one thread that waits in the kernel, or has waited and does not hold the lock
        /// yet.
        static let waiting: UInt64 = 1 << 32

        static let enteredMask: UInt64 = waiting - entered

        /// Returns the word with one ``entered`` or ``waiting`` call fewer.
        ///
        /// The count may be zero already: a fork's child resets it.
        static func without(_ counted: UInt64, _ word: UInt64) -> UInt64 {
            let isCounted = counted == waiting ? word >= waiting : word & enteredMask != 0
            return isCounted ? word - counted : word
        }
    }

    /// One sleeping thread; the structure is on its stack.
    fileprivate struct Sleeper {
        var previous, next: UnsafeMutablePointer<Sleeper>?
        let thread = platform_thread()
        /// The unit in which the word counts it.
        let counted: UInt64
        var queue = Queue.none
        /// Not 0: a thread that freed the lock has removed it from the lockers and woken it.
        var isWoken: UInt32 = 0
        /// The lock was handed over to it.
        var hasLock = false
        /// It was woken before, and another thread took the lock first.
        var isLate = false
    }

    fileprivate enum Queue {
        case none, lockers, evacuators, turns, closer
    }

    /// A queue of sleepers, first come first.
    fileprivate struct Sleepers: ~Copyable {
        private(set) var first: UnsafeMutablePointer<Sleeper>?
        private var last: UnsafeMutablePointer<Sleeper>?

        var isEmpty: Bool { first == nil }

        mutating func append(_ sleeper: UnsafeMutablePointer<Sleeper>) {
            sleeper.pointee.previous = last
            sleeper.pointee.next = nil
            if let last { last.pointee.next = sleeper } else { first = sleeper }
            last = sleeper
        }

        mutating func prepend(_ sleeper: UnsafeMutablePointer<Sleeper>) {
            sleeper.pointee.previous = nil
            sleeper.pointee.next = first
            if let first { first.pointee.previous = sleeper } else { last = sleeper }
            first = sleeper
        }

        mutating func remove(_ sleeper: UnsafeMutablePointer<Sleeper>) {
            let (previous, next) = (sleeper.pointee.previous, sleeper.pointee.next)
            if let previous { previous.pointee.next = next } else { first = next }
            if let next { next.pointee.previous = previous } else { last = previous }
        }

        mutating func popFirst() -> UnsafeMutablePointer<Sleeper>? {
            guard let first else { return nil }
            remove(first)
            return first
        }

        mutating func removeAll() {
            (first, last) = (nil, nil)
        }
    }

    /// The rest of the gate; the mutex guards all of it except the owners.
    ///
    /// The first field must be guarded too: the thread sanitizer treats a change to any field as a
    /// change to the whole structure.
    struct State: ~Copyable {
        fileprivate var mutex = platform_mutex()
        /// The signals that were blocked in the mutex's holder before.
        fileprivate var signals = platform_signals()
        fileprivate var lockers = Sleepers()
        fileprivate var evacuators = Sleepers()
        fileprivate var turns = Sleepers()
        /// The thread that sleeps until no other call is here.
        fileprivate var closer: UnsafeMutablePointer<Sleeper>?
        /// The sleeper whose condition holds and that does not have the lock yet.
        fileprivate var promised: UnsafeMutablePointer<Sleeper>?
        /// No thread may sleep any more, except for the lock.
        fileprivate var isClosing = false
        /// What the forking thread has taken.
        fileprivate var hold = Hold.nothing
        /// Several threads may wait in the kernel at once.
        fileprivate let isShared: Bool
        /// The thread that holds the lock.
        ///
        /// It is 0 if there is none, and briefly after the lock is taken and before it is freed.
        fileprivate let owner = Atomic<UInt>(0)

        init(isShared: Bool) {
            self.isShared = isShared
        }
    }

    /// What the forking thread has taken for the fork.
    fileprivate enum Hold {
        case nothing
        /// The mutex: the thread may have held the lock before, in the middle of a call.
        case mutex
        case lockAndMutex
    }

    private let state: UnsafeMutablePointer<State>

    /// SAFETY: `platform_map` mapped and zeroed the memory before the state.
    @inline(__always)
    private var word: UnsafeMutablePointer<Atomic<UInt64>> {
        (UnsafeMutableRawPointer(state) - Int(PLATFORM_WIPED))
            .assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// Refers to the gate that was made at `place`.
    @inline(__always)
    init(at place: UnsafeMutableRawPointer) {
        state = place.assumingMemoryBound(to: State.self)
    }

    /// The size of a gate in bytes, without its word.
    static let stateSize = (MemoryLayout<State>.stride + 63) / 64 * 64

    /// Makes a gate.
    ///
    /// - Parameters:
    ///   - place: An address in memory of `platform_map`, after the wiped part.
    ///   - isShared: Several threads may wait in the kernel at once.
    /// - Returns: The gate.
    static func make(at place: UnsafeMutableRawPointer, isShared: Bool = false) -> Gate {
        let state = place.bindMemory(to: State.self, capacity: 1)
        state.initialize(to: State(isShared: isShared))
        platform_mutex_init(&state.pointee.mutex)
        let gate = Gate(at: place)
        gate.word.initialize(to: Atomic(Word.live))
        return gate
    }

    /// Destroys a gate that is no longer in use.
    func destroy() {
        // The last thread to leave may not have finished unlocking the mutex.
        platform_mutex_lock(&state.pointee.mutex)
        platform_mutex_unlock(&state.pointee.mutex)
        platform_mutex_destroy(&state.pointee.mutex)
        state.deinitialize(count: 1)
    }

    // MARK: Fast path

    /// Begins a wait if no other call is here and there is no work to do first.
    @inline(__always)
    func tryBeginWait() -> Bool {
        word.pointee.compareExchange(
            expected: Word.live, desired: Word.live + Word.waiting, ordering: .acquiring
        ).exchanged
    }

    /// Ends the wait and takes the lock, if no other call is here and there is no work to do.
    @inline(__always)
    func tryEndWait() -> Bool {
        guard
            word.pointee.compareExchange(
                expected: Word.live + Word.waiting, desired: Word.live | Word.locked,
                ordering: .acquiring
            ).exchanged
        else { return false }
        setOwner()
        return true
    }

    /// Releases the lock if no other call is here; see ``unlock(attention:)``.
    @inline(__always)
    func tryUnlock(attention: Bool = false) -> Bool {
        clearOwner()
        let free = attention ? Word.live | Word.attention : Word.live
        return word.pointee.compareExchange(
            expected: Word.live | Word.locked, desired: free, ordering: .releasing
        ).exchanged
    }

    @inline(__always)
    private func setOwner() {
        state.pointee.owner.store(platform_thread(), ordering: .relaxed)
    }

    @inline(__always)
    private func clearOwner() {
        state.pointee.owner.store(0, ordering: .relaxed)
    }

    /// `false` in a child whose fork was not noticed.
    var isLive: Bool {
        word.pointee.load(ordering: .relaxed) & Word.live != 0
    }

    /// Whether the calling thread holds the lock.
    var isOwned: Bool {
        state.pointee.owner.load(ordering: .relaxed) == platform_thread()
    }

    // MARK: The lock

    /// Takes the lock, and returns whether another call may be here or there may be work to do.
    ///
    /// - Throws: `EDEADLK` if this thread already holds the lock: a backend's function has called
    ///   back; `ECANCELED` in a child whose fork was not noticed or interrupted a call.
    @inline(__always)
    func lockAndLook() throws(SystemError) -> Bool {
        let (isTaken, before) = word.pointee.compareExchange(
            expected: Word.live, desired: Word.live | Word.locked, ordering: .acquiring)
        if isTaken {
            setOwner()
            return false
        }
        if before & (Word.live | Word.obstacles) == Word.live
            && word.pointee.compareExchange(
                expected: before, desired: before & ~Word.attention | Word.locked,
                ordering: .acquiring
            ).exchanged
        {
            setOwner()
            return true
        }
        try acquire(counted: Word.entered)
        return true
    }

    /// Takes the lock; see ``lockAndLook()``.
    @inline(never)
    package func lock() throws(SystemError) {
        _ = try lockAndLook()
    }

    /// Releases the lock.
    ///
    /// - Parameter attention: Whether the next select has work to do before it may block.
    @inline(__always)
    package func unlock(attention: Bool = false) {
        if !tryUnlock(attention: attention) { release(attention: attention, becoming: 0) }
    }

    // MARK: Waiting in the kernel

    /// With the lock held: whether a thread waits in the kernel.
    ///
    /// Threads may leave the kernel meanwhile, but none enters it.
    var isWaiting: Bool {
        word.pointee.load(ordering: .relaxed) >= Word.waiting
    }

    /// With the lock held: whether another call is here.
    ///
    /// It may have a report from the kernel that it has not looked at yet.
    var hasOthers: Bool {
        word.pointee.load(ordering: .relaxed) >= Word.entered
    }

    /// With the lock held: whether a thread sleeps until no thread waits in the kernel.
    var hasEvacuator: Bool {
        guard word.pointee.load(ordering: .relaxed) & Word.queued != 0 else { return false }
        lockMutex()
        defer { unlockMutex() }
        return !state.pointee.evacuators.isEmpty || state.pointee.closer != nil
    }

    /// Begins a wait beside others, if the gate is shared and there is no work to do first.
    func tryShareWait() -> Bool {
        guard state.pointee.isShared else { return false }
        var old = word.pointee.load(ordering: .relaxed)
        while old & (Word.live | Word.attention | Word.obstacles) == Word.live {
            if exchange(&old, old + Word.waiting) { return true }
        }
        return false
    }

    /// Turns the lock into a wait.
    func beginWait(attention: Bool) {
        assert(isOwned)
        release(attention: attention, becoming: Word.waiting)
    }

    /// Ends the wait and takes the lock.
    ///
    /// The thread counts as waiting until it has the lock, because it has not looked at its reports
    /// yet. Until then no other thread waits with a kernel set that is not shared, or replaces any
    /// kernel set.
    ///
    /// - Throws: `ECANCELED` in a child whose fork was not noticed or interrupted a call.
    func endWait() throws(SystemError) {
        var old = word.pointee.load(ordering: .relaxed)
        while old >= Word.waiting && old & (Word.live | Word.obstacles) == Word.live {
            let new = (old - Word.waiting) & ~Word.attention | Word.locked
            if exchange(&old, new) { return setOwner() }
        }
        try acquire(counted: Word.waiting)
    }

    /// Returns whether the holder of the lock may begin to wait.
    ///
    /// With `hasTurn` it has slept for its turn, and comes before the threads in the queue.
    func mayWait(hasTurn: Bool) -> Bool {
        assert(isOwned)
        let old = word.pointee.load(ordering: .relaxed)
        guard state.pointee.isShared || old < Word.waiting else { return false }
        if old & Word.queued == 0 { return true }
        lockMutex()
        defer { unlockMutex() }
        return state.pointee.evacuators.isEmpty && state.pointee.promised == nil
            && (hasTurn || state.pointee.turns.isEmpty)
    }

    /// With the lock held: sleeps until the thread may begin to wait, and takes the lock again.
    ///
    /// - Parameters:
    ///   - end: The deadline on the clock of `platform_now`; negative: no limit.
    ///   - isFirst: The thread had its turn before and goes to the front of the queue.
    /// - Returns: Whether it has its turn; `false` if the deadline has passed.
    func awaitTurn(until end: Int64, isFirst: Bool) -> Bool {
        sleep(in: .turns, until: end, isFirst: isFirst)
    }

    /// With the lock held: sleeps until no thread waits in the kernel, and takes the lock again.
    ///
    /// The caller must make the waiting threads leave. None enters before the lock is released.
    /// Once ``awaitNobody()`` was called, it may return early.
    func awaitEmptyKernel() {
        while isWaiting && !state.pointee.isClosing {
            _ = sleep(in: .evacuators, until: -1, isFirst: false)
        }
    }

    /// With the lock held: sleeps until no other call is here, and takes the lock again.
    ///
    /// It wakes the evacuators and the threads that sleep for their turn. The caller must make the
    /// threads in the kernel leave. It is called once.
    func awaitNobody() {
        assert(isOwned)
        state.pointee.isClosing = true
        // In a child whose fork interrupted this, it is abandoned as well.
        while word.pointee.load(ordering: .acquiring) & ~(Word.queued | Word.abandoned)
            != Word.live | Word.locked
        {
            _ = sleep(in: .closer, until: -1, isFirst: false)
        }
    }

    // MARK: Slow path

    /// Takes the mutex.
    ///
    /// No signal handler runs in this thread until it is given back, so that none can fork in the
    /// middle of a queue.
    @inline(never)
    private func lockMutex() {
        let signals = platform_block_signals()
        platform_mutex_lock(&state.pointee.mutex)
        state.pointee.signals = signals
    }

    @inline(never)
    private func unlockMutex() {
        let signals = state.pointee.signals
        platform_mutex_unlock(&state.pointee.mutex)
        platform_restore_signals(signals)
    }

    @inline(__always)
    private func exchange(_ old: inout UInt64, _ new: UInt64) -> Bool {
        let (isExchanged, now) = word.pointee.weakCompareExchange(
            expected: old, desired: new, ordering: .acquiringAndReleasing)
        if !isExchanged { old = now }
        return isExchanged
    }

    /// Takes the lock for a call that becomes ``Word/entered``, or is counted as ``Word/waiting``
    /// already.
    @inline(never)
    private func acquire(counted: UInt64) throws(SystemError) {
        if counted == Word.entered && isOwned { throw SystemError(EDEADLK) }
        var old = word.pointee.load(ordering: .relaxed)
        repeat {
            guard old & (Word.live | Word.abandoned) == Word.live else {
                throw SystemError(ECANCELED)
            }
        } while counted == Word.entered && !exchange(&old, old + Word.entered)
        for _ in 0..<Gate.spins {
            if take(counted) { return setOwner() }
            platform_pause()
        }
        var me = Sleeper(counted: counted)
        withUnsafeMutablePointer(to: &me) { me in
            lockMutex()
            takeOrSleep(me)
            unlockMutex()
        }
    }

    /// How often a thread tries the lock before it sleeps.
    ///
    /// This takes about a microsecond; most holders release the lock within that time.
    private static let spins = 40

    /// Takes the lock if it is free, and removes the call from its count.
    private func take(_ counted: UInt64) -> Bool {
        var old = word.pointee.load(ordering: .relaxed)
        while old & Word.locked == 0 {
            let new = Word.without(counted, old) & ~Word.attention | Word.locked
            if exchange(&old, new) { return true }
        }
        return false
    }

    /// With the mutex held: takes the lock, or sleeps until it is free or handed over.
    private func takeOrSleep(_ me: UnsafeMutablePointer<Sleeper>) {
        while !me.pointee.hasLock && !take(me.pointee.counted) {
            var old = word.pointee.load(ordering: .relaxed)
            // The holder of the lock must now look for sleepers when it frees the lock.
            guard old & Word.locked != 0, exchange(&old, old | Word.queued)
            else { continue }
            if me.pointee.queue != .lockers {
                me.pointee.queue = .lockers
                me.pointee.isWoken = 0
                if me.pointee.isLate {
                    state.pointee.lockers.prepend(me)
                } else {
                    state.pointee.lockers.append(me)
                }
            }
            park(me, until: -1)
            me.pointee.isLate = true
        }
        if me.pointee.queue != .none { remove(me) }
        setOwner()
    }

    /// With the mutex held: gives it back, sleeps until it is woken or the deadline passes, and takes
    /// the mutex again.
    private func park(_ me: UnsafeMutablePointer<Sleeper>, until end: Int64) {
        while me.pointee.isWoken == 0 {
            let rest = end < 0 ? -1 : end - platform_now()
            if end >= 0 && rest <= 0 { return }
            unlockMutex()
            platform_futex_wait(&me.pointee.isWoken, rest)
            lockMutex()
        }
    }

    private func wake(_ sleeper: UnsafeMutablePointer<Sleeper>) {
        sleeper.pointee.isWoken = 1
        platform_futex_wake(&sleeper.pointee.isWoken)
    }

    private func remove(_ me: UnsafeMutablePointer<Sleeper>) {
        switch me.pointee.queue {
        case .lockers: state.pointee.lockers.remove(me)
        case .evacuators: state.pointee.evacuators.remove(me)
        case .turns: state.pointee.turns.remove(me)
        case .closer: state.pointee.closer = nil
        case .none: break
        }
        me.pointee.queue = .none
    }

    /// With the lock held: frees it, sleeps in a queue, and takes the lock again.
    ///
    /// - Returns: Whether it was woken before the deadline.
    private func sleep(in queue: Queue, until end: Int64, isFirst: Bool) -> Bool {
        assert(isOwned)
        var me = Sleeper(counted: Word.entered)
        return withUnsafeMutablePointer(to: &me) { me in
            lockMutex()
            me.pointee.queue = queue
            switch queue {
            case .evacuators: state.pointee.evacuators.append(me)
            case .closer: state.pointee.closer = me
            default: isFirst ? state.pointee.turns.prepend(me) : state.pointee.turns.append(me)
            }
            clearOwner()
            releaseToSleepers(attention: true, becoming: Word.entered)
            park(me, until: end)
            let isInTime = me.pointee.queue != queue
            if !isInTime { remove(me) }
            takeOrSleep(me)
            if state.pointee.promised == me { state.pointee.promised = nil }
            unlockMutex()
            return isInTime
        }
    }

    /// Releases the lock, and adds to the word a wait, a call that wants the lock, or nothing.
    @inline(never)
    private func release(attention: Bool, becoming counted: UInt64) {
        clearOwner()
        let bits = attention ? Word.attention : 0
        var old = word.pointee.load(ordering: .relaxed)
        while old & Word.queued == 0 {
            let new = old & ~(Word.locked | Word.attention) + counted | bits
            if exchange(&old, new) { return }
        }
        setOwner()
        lockMutex()
        clearOwner()
        releaseToSleepers(attention: attention, becoming: counted)
        unlockMutex()
    }

    /// With the lock and the mutex held: frees the lock or hands it over, and wakes one sleeper.
    private func releaseToSleepers(attention: Bool, becoming counted: UInt64) {
        var old = word.pointee.load(ordering: .relaxed)
        promote(old + counted)
        let next = state.pointee.lockers.popFirst()
        let isHandedOver = next?.pointee.isLate == true
        let isQueued =
            !state.pointee.lockers.isEmpty || !state.pointee.evacuators.isEmpty
            || !state.pointee.turns.isEmpty || state.pointee.closer != nil
            || state.pointee.promised != nil
        var new: UInt64
        repeat {
            new = old & ~(Word.locked | Word.attention | Word.queued) + counted
            if isQueued { new |= Word.queued }
            if isHandedOver, let next {
                new = Word.without(next.pointee.counted, new) | Word.locked
            } else if attention {
                new |= Word.attention
            }
        } while !exchange(&old, new)
        guard let next else { return }
        next.pointee.queue = .none
        if isHandedOver {
            next.pointee.hasLock = true
            state.pointee.owner.store(next.pointee.thread, ordering: .relaxed)
        }
        wake(next)
    }

    /// With the lock and the mutex held, before a release: moves sleepers whose condition holds to
    /// the lockers.
    ///
    /// - Parameter word: The word after the release, apart from the lock bit.
    private func promote(_ word: UInt64) {
        let isEmpty = word < Word.waiting
        if state.pointee.isClosing {
            while let next = state.pointee.evacuators.popFirst() { moveToLockers(next) }
            while let next = state.pointee.turns.popFirst() { moveToLockers(next) }
            // Only the closer's own call is left.
            if let closer = state.pointee.closer,
                isEmpty && word & Word.enteredMask == Word.entered
            {
                state.pointee.closer = nil
                moveToLockers(closer)
            }
        } else if state.pointee.promised == nil {
            var next: UnsafeMutablePointer<Sleeper>?
            if !state.pointee.evacuators.isEmpty {
                if isEmpty { next = state.pointee.evacuators.popFirst() }
            } else if isEmpty || state.pointee.isShared {
                next = state.pointee.turns.popFirst()
            }
            state.pointee.promised = next
            if let next { moveToLockers(next) }
        }
    }

    private func moveToLockers(_ sleeper: UnsafeMutablePointer<Sleeper>) {
        sleeper.pointee.queue = .lockers
        state.pointee.lockers.append(sleeper)
    }

    // MARK: Forks

    /// Before a fork: takes the lock, so that no other thread is in the middle of a change, and the
    /// mutex, so that none is in the middle of a queue.
    ///
    /// If a signal handler or a backend's function forks, this thread may hold the lock already, and
    /// keeps it. The owner is unknown for a few instructions after the lock was taken and before it
    /// is freed: if it stays unknown for long, this thread was interrupted there. It never holds the
    /// mutex, because no handler runs meanwhile. Nothing here sleeps in a queue, because this thread
    /// may be in one already.
    ///
    /// - Parameters:
    ///   - mayLeave: It goes without a lock that another thread holds for long.
    ///   - isUninterrupted: No signal handler runs in the holder of the lock, so this thread is not
    ///     the one that is unknown.
    /// - Returns: `false` if another thread holds the lock for long. It may be waiting for a lock
    ///   that the fork has taken.
    func tryLockForFork(orLeave mayLeave: Bool, isUninterrupted: Bool = false) -> Bool {
        assert(state.pointee.hold == .nothing)
        // In a child whose fork was not noticed, a thread of the parent may have left the mutex
        // locked.
        guard isLive else { return true }
        var (attempts, doubtful) = (Gate.attempts, Int64(0))
        while !isOwned {
            var old = word.pointee.load(ordering: .relaxed)
            if old & Word.locked == 0 && exchange(&old, old | Word.locked) {
                setOwner()
                state.pointee.hold = .lockAndMutex
                break
            }
            if isUninterrupted || state.pointee.owner.load(ordering: .relaxed) != 0 {
                (attempts, doubtful) = (attempts - 1, 0)
                if attempts == 0 && mayLeave { break }
                if attempts == 0 { return false }
            } else if doubtful == 0 {
                doubtful = platform_now()
            } else if platform_now() - doubtful > Gate.doubt {
                break
            }
            platform_nap()
        }
        lockMutex()
        if state.pointee.hold == .nothing { state.pointee.hold = .mutex }
        return true
    }

    /// How often a fork tries a lock that another thread holds before it releases all others.
    private static let attempts = 20
    /// For how long the owner of a lock stays unknown at most if that is another thread; nanoseconds.
    private static let doubt: Int64 = 100_000_000

    /// Releases what ``tryLockForFork()`` took: in the parent, or before another attempt.
    func unlockAfterFork() {
        let hold = state.pointee.hold
        state.pointee.hold = .nothing
        if hold != .nothing { unlockMutex() }
        if hold == .lockAndMutex { unlock(attention: true) }
    }

    /// In the child of a fork, where no other thread exists: resets the word and the queues.
    ///
    /// - Returns: Whether the lock was taken for the fork. If not, the fork interrupted a call of
    ///   this thread, which continues and frees the lock.
    func reopenAfterFork() -> Bool {
        let hold = state.pointee.hold
        let isTaken = hold == .lockAndMutex
        state.pointee.hold = .nothing
        var word = Word.live | Word.attention
        if isTaken {
            clearOwner()
        } else {
            word = Word.live | Word.abandoned | (isOwned ? Word.locked : 0)
        }
        // A signal handler may have forked while this thread slept here: the thread continues.
        if hold != .nothing {
            word += wakeThisThread(in: &state.pointee.lockers)
            word += wakeThisThread(in: &state.pointee.evacuators)
            word += wakeThisThread(in: &state.pointee.turns)
            // A close that continues finds no other call.
            if let closer = state.pointee.closer { word += wakeIfThisThread(closer) }
        }
        platform_mutex_init(&state.pointee.mutex)
        state.pointee.lockers.removeAll()
        state.pointee.evacuators.removeAll()
        state.pointee.turns.removeAll()
        state.pointee.closer = nil
        state.pointee.promised = nil
        self.word.pointee.store(word, ordering: .releasing)
        return isTaken
    }

    /// In the child: refuses new calls, although the lock was taken for the fork.
    func abandon() {
        word.pointee.bitwiseOr(Word.abandoned, ordering: .relaxed)
    }

    /// Whether new calls are refused, because the fork interrupted one.
    var isAbandoned: Bool {
        word.pointee.load(ordering: .relaxed) & Word.abandoned != 0
    }

    /// Empties a queue, wakes this thread if it sleeps there, and returns what the word counts for
    /// it.
    private func wakeThisThread(in queue: inout Sleepers) -> UInt64 {
        var entered: UInt64 = 0
        while let sleeper = queue.popFirst() { entered += wakeIfThisThread(sleeper) }
        return entered
    }

    private func wakeIfThisThread(_ sleeper: UnsafeMutablePointer<Sleeper>) -> UInt64 {
        guard sleeper.pointee.thread == platform_thread() else { return 0 }
        sleeper.pointee.queue = .none
        wake(sleeper)
        return sleeper.pointee.counted
    }
}
