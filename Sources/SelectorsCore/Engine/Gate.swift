import CSelectorsPlatform
import Synchronization

/// Lets one thread at a time at a selector's state, counts who waits in the kernel, and queues those
/// who have to sleep.
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
///   queue        sleeps until                                  is served
///   lockers      the lock is free                              first
///   evacuators   nobody waits in the kernel                    when the last waiter has left it
///   turns        it may wait in the kernel                     when no evacuator is left
///   closer       no other call is here                         when the last one has left
/// ```
///
/// One word says it all: who enters changes it, before anything else, so that ``awaitNobody()`` can
/// tell when the last call has left. Without contention each transition is one atomic operation.
///
/// Who frees the lock wakes one sleeper at most. Whoever has slept for more than the lock moves on to
/// the lockers when that has come true, and until it has the lock it is `promised` what it slept for:
/// nobody else enters the kernel meanwhile. A locker that found the lock taken again is handed it the
/// next time, so that it waits for two others at most.
///
/// In a fork's child the word is wiped by the kernel until ``reopen(after:isAttentive:)`` sets it anew.
/// In the child of `_Fork` or bare `clone` it stays so, and each call is refused with `ECANCELED`.
package struct Gate {
    /// The bits and counters of the word.
    private enum Word {
        /// A thread holds the lock.
        static let locked: UInt64 = 1
        /// The next select has something to see to, and must not begin to wait at once.
        static let attention: UInt64 = 2
        /// Somebody sleeps: who frees the lock has to look whom to wake.
        static let queued: UInt64 = 4
        /// Always set, but in a child whose fork was not noticed.
        static let live: UInt64 = 8
        /// A fork was in the middle of a call, and this is the child: new calls are refused.
        ///
        /// It stands here since what is guarded by the lock may be being changed.
        static let abandoned: UInt64 = 16
        /// What keeps a call from going on without a look: ``locked``, ``queued`` and ``abandoned``.
        static let obstacles: UInt64 = 0b10101
        /// One call that wants the lock and does not have it.
        static let entered: UInt64 = 1 << 8
        /// One thread that waits in the kernel, or has done so and does not have the lock yet.
        static let waiting: UInt64 = 1 << 32

        static let enteredMask: UInt64 = waiting - entered

        /// The word when a call that was counted as ``entered`` or ``waiting`` is so no more.
        ///
        /// It may not be counted: in a fork's child the counts begin anew.
        static func without(_ counted: UInt64, _ word: UInt64) -> UInt64 {
            let isCounted = counted == waiting ? word >= waiting : word & enteredMask != 0
            return isCounted ? word - counted : word
        }
    }

    /// What one thread sleeps for, on its stack.
    fileprivate struct Sleeper {
        var previous, next: UnsafeMutablePointer<Sleeper>?
        var condition = platform_condition()
        let thread = platform_thread()
        /// How it is counted in the word.
        let counted: UInt64
        var queue = Queue.none
        /// Somebody has taken it out of the lockers for it to go on.
        var isWoken = false
        /// It was handed the lock.
        var hasLock = false
        /// It was woken before, and others were quicker.
        var isLate = false
    }

    fileprivate enum Queue {
        case none, lockers, evacuators, turns, closer
    }

    /// Sleepers in the order in which they came.
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

    /// What stands beside the word; all of it is guarded by the mutex but for the owner.
    ///
    /// The first field is, too: the thread sanitizer takes a change of any field for one of the whole.
    struct State: ~Copyable {
        fileprivate var mutex = platform_mutex()
        fileprivate var lockers = Sleepers()
        fileprivate var evacuators = Sleepers()
        fileprivate var turns = Sleepers()
        /// Sleeps until no other call is here.
        fileprivate var closer: UnsafeMutablePointer<Sleeper>?
        /// What a sleeper has waited for has come true, and it does not have the lock yet.
        fileprivate var promised: UnsafeMutablePointer<Sleeper>?
        /// Nobody is to sleep any more but for the lock.
        fileprivate var isClosing = false
        /// How the thread that forks has the gate.
        fileprivate var hold = Hold.none
        /// Several threads may wait in the kernel at once.
        fileprivate let isShared: Bool
        /// The thread that holds the lock; 0 where there is none, and for a few instructions more.
        fileprivate let owner = Atomic<UInt>(0)
        /// Likewise of the mutex.
        fileprivate let mutexOwner = Atomic<UInt>(0)

        init(isShared: Bool) {
            self.isShared = isShared
        }
    }

    /// How a thread that forks has the gate.
    fileprivate enum Hold {
        case none
        /// It has taken the lock and the mutex for the fork.
        case taken
        /// It had the lock before, in the middle of a call.
        case owned
    }

    private let state: UnsafeMutablePointer<State>

    /// SAFETY: the memory before the state is that of ``platform_map``, which zeroed it.
    @inline(__always)
    private var word: UnsafeMutablePointer<Atomic<UInt64>> {
        (UnsafeMutableRawPointer(state) - Int(PLATFORM_WIPED))
            .assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// The gate that was made at a place.
    @inline(__always)
    init(at place: UnsafeMutableRawPointer) {
        state = place.assumingMemoryBound(to: State.self)
    }

    /// How many bytes a gate takes beside its word.
    static let stateSize = (MemoryLayout<State>.stride + 63) / 64 * 64

    /// Makes a gate.
    ///
    /// - Parameters:
    ///   - place: In memory of `platform_map`, behind what is wiped.
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

    /// Ends a gate that nobody uses any more.
    func destroy() {
        // The last thread to leave may still be on its way out of the mutex.
        platform_mutex_lock(&state.pointee.mutex)
        platform_mutex_unlock(&state.pointee.mutex)
        platform_mutex_destroy(&state.pointee.mutex)
        state.deinitialize(count: 1)
    }

    // MARK: The quick way

    /// Begins a wait if nobody is here and there is nothing to see to.
    @inline(__always)
    func tryBeginWait() -> Bool {
        word.pointee.compareExchange(
            expected: Word.live, desired: Word.live + Word.waiting, ordering: .acquiring
        ).exchanged
    }

    /// Ends the wait and takes the lock, if nobody else is here and there is nothing to see to.
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

    /// Gives the lock back, if nobody else is here; see ``unlock(attention:)``.
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

    /// Whether a fork, if there was one, was noticed.
    var isLive: Bool {
        word.pointee.load(ordering: .relaxed) & Word.live != 0
    }

    /// Whether the calling thread holds the lock.
    var isOwned: Bool {
        state.pointee.owner.load(ordering: .relaxed) == platform_thread()
    }

    // MARK: The lock

    /// Takes the lock, and tells whether somebody may be here, or there may be something to see to.
    ///
    /// - Throws: `EDEADLK` where this thread holds it already: a backend's function has called back;
    ///   `ECANCELED` in a child whose fork was not noticed, or was in the middle of a call.
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

    /// Gives the lock back.
    ///
    /// - Parameter attention: Whether the next select has something to see to.
    @inline(__always)
    package func unlock(attention: Bool = false) {
        if !tryUnlock(attention: attention) { release(attention: attention, becoming: 0) }
    }

    // MARK: Waiting in the kernel

    /// Whether a thread waits in the kernel.
    ///
    /// The lock is held. Threads may leave the kernel meanwhile, but none enters it.
    var isWaiting: Bool {
        word.pointee.load(ordering: .relaxed) >= Word.waiting
    }

    /// Whether another call is here that has waited in the kernel, or does so, and may have a report
    /// that it did not look at yet.
    ///
    /// The lock is held.
    var hasOthers: Bool {
        word.pointee.load(ordering: .relaxed) >= Word.entered
    }

    /// Whether somebody sleeps until nobody waits in the kernel.
    ///
    /// The lock is held.
    var hasEvacuator: Bool {
        guard word.pointee.load(ordering: .relaxed) & Word.queued != 0 else { return false }
        lockMutex()
        defer { unlockMutex() }
        return !state.pointee.evacuators.isEmpty || state.pointee.closer != nil
    }

    /// Begins one of several waits, if there is nothing to see to.
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
    /// Until then nobody else may use a kernel set for one thread, nor replace any: what the wait has
    /// reported was not looked at yet.
    ///
    /// - Throws: `ECANCELED` in a child whose fork was not noticed.
    func endWait() throws(SystemError) {
        var old = word.pointee.load(ordering: .relaxed)
        while old >= Word.waiting && old & (Word.live | Word.obstacles) == Word.live {
            let new = (old - Word.waiting) & ~Word.attention | Word.locked
            if exchange(&old, new) { return setOwner() }
        }
        try acquire(counted: Word.waiting)
    }

    /// Tells whether the holder of the lock may begin to wait.
    ///
    /// If it `hasTurn`, it has slept for it, and others who do so came later.
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
    ///   - end: The end of the time on the clock of `platform_now`; negative: no limit.
    ///   - isFirst: It had its turn before and comes first again.
    /// - Returns: Whether it has its turn; else the time is over.
    func awaitTurn(until end: Int64, isFirst: Bool) -> Bool {
        sleep(in: .turns, until: end, isFirst: isFirst)
    }

    /// With the lock held: sleeps until nobody waits in the kernel, and takes the lock again.
    ///
    /// Somebody has to make them leave. Nobody enters before the lock is given back.
    ///
    /// It may return before, once ``awaitNobody()`` was called.
    func awaitEmptyKernel() {
        while isWaiting && !state.pointee.isClosing {
            _ = sleep(in: .evacuators, until: -1, isFirst: false)
        }
    }

    /// With the lock held: sleeps until no other call is here, and takes the lock again.
    ///
    /// Those who sleep here for more than the lock are woken. Somebody has to make leave who waits in
    /// the kernel. It is called once.
    func awaitNobody() {
        assert(isOwned)
        state.pointee.isClosing = true
        while word.pointee.load(ordering: .acquiring) & ~Word.queued != Word.live | Word.locked {
            _ = sleep(in: .closer, until: -1, isFirst: false)
        }
    }

    // MARK: The slow way

    private func lockMutex() {
        platform_mutex_lock(&state.pointee.mutex)
        state.pointee.mutexOwner.store(platform_thread(), ordering: .relaxed)
    }

    private func unlockMutex() {
        state.pointee.mutexOwner.store(0, ordering: .relaxed)
        platform_mutex_unlock(&state.pointee.mutex)
    }

    @inline(__always)
    private func exchange(_ old: inout UInt64, _ new: UInt64) -> Bool {
        let (isExchanged, now) = word.pointee.weakCompareExchange(
            expected: old, desired: new, ordering: .acquiringAndReleasing)
        if !isExchanged { old = now }
        return isExchanged
    }

    /// Takes the lock for a call that is to be counted as ``Word/entered``, or is as ``Word/waiting``.
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
        platform_condition_init(&me.condition)
        withUnsafeMutablePointer(to: &me) { me in
            lockMutex()
            takeOrSleep(me)
            unlockMutex()
        }
        platform_condition_destroy(&me.condition)
    }

    /// How often a thread looks for the lock before it sleeps: about a microsecond long, in which most
    /// who hold it give it back.
    private static let spins = 40

    /// Takes the lock, if it is free, for a call that is counted.
    private func take(_ counted: UInt64) -> Bool {
        var old = word.pointee.load(ordering: .relaxed)
        while old & Word.locked == 0 {
            let new = Word.without(counted, old) & ~Word.attention | Word.locked
            if exchange(&old, new) { return true }
        }
        return false
    }

    /// With the mutex held: takes the lock, or sleeps until it was handed over or is free.
    private func takeOrSleep(_ me: UnsafeMutablePointer<Sleeper>) {
        while !me.pointee.hasLock && !take(me.pointee.counted) {
            var old = word.pointee.load(ordering: .relaxed)
            // Who holds the lock now has to look for sleepers when he frees it.
            guard old & Word.locked != 0, exchange(&old, old | Word.queued)
            else { continue }
            if me.pointee.queue != .lockers {
                me.pointee.queue = .lockers
                me.pointee.isWoken = false
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

    /// With the mutex held: sleeps until it is woken or the time is over.
    private func park(_ me: UnsafeMutablePointer<Sleeper>, until end: Int64) {
        while !me.pointee.isWoken && (end < 0 || platform_now() < end) {
            state.pointee.mutexOwner.store(0, ordering: .relaxed)
            platform_condition_wait(&me.pointee.condition, &state.pointee.mutex, end)
            state.pointee.mutexOwner.store(platform_thread(), ordering: .relaxed)
        }
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
    /// - Returns: Whether it was woken before the time was over.
    private func sleep(in queue: Queue, until end: Int64, isFirst: Bool) -> Bool {
        assert(isOwned)
        var me = Sleeper(counted: Word.entered)
        platform_condition_init(&me.condition)
        let isInTime = withUnsafeMutablePointer(to: &me) { me in
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
        platform_condition_destroy(&me.condition)
        return isInTime
    }

    /// Gives the lock back, and leaves a wait or a call that wants the lock in its place.
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

    /// With the lock and the mutex held: frees the lock, or hands it over, and wakes one sleeper.
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
        next.pointee.isWoken = true
        if isHandedOver {
            next.pointee.hasLock = true
            state.pointee.owner.store(next.pointee.thread, ordering: .relaxed)
        }
        platform_condition_signal(&next.pointee.condition)
    }

    /// With the lock and the mutex held, before the lock is freed: has the sleeper go on whose time has
    /// come, if there is one.
    ///
    /// - Parameter word: As it will be, but for the lock.
    private func promote(_ word: UInt64) {
        let isEmpty = word < Word.waiting
        if state.pointee.isClosing {
            while let next = state.pointee.evacuators.popFirst() { moveToLockers(next) }
            while let next = state.pointee.turns.popFirst() { moveToLockers(next) }
            // Its own call is the one that is left.
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

    /// Before a fork: takes the lock, so that no other thread is in the middle of a change.
    ///
    /// It may be this thread that holds it, or the mutex, when a signal handler or a backend's function
    /// forks; it then goes on with it. Which thread holds one is not known for a few instructions after
    /// it was taken: if it stays unknown for long, it is this one that was interrupted there. Nothing here
    /// sleeps in a queue, for this thread may stand in one already.
    ///
    /// - Returns: Whether it has come to an end; else another thread holds the lock for long, and may
    ///   wait for another one that the fork has taken.
    func tryLockForFork() -> Bool {
        assert(state.pointee.hold == .none)
        var (attempts, doubts) = (Gate.attempts, Gate.doubts)
        while true {
            if isOwned || state.pointee.mutexOwner.load(ordering: .relaxed) == platform_thread() {
                return end(with: .owned)
            }
            var old = word.pointee.load(ordering: .relaxed)
            if old & Word.live == 0 { return end(with: .owned) }
            if old & Word.locked == 0 && exchange(&old, old | Word.locked) { break }
            if state.pointee.owner.load(ordering: .relaxed) == 0 || !canTakeMutex {
                doubts -= 1
                if doubts == 0 { return end(with: .owned) }
            } else {
                attempts -= 1
                if attempts == 0 { return false }
            }
            platform_nap()
        }
        while platform_mutex_try(&state.pointee.mutex) == 0 {
            doubts -= 1
            if doubts <= 0 || state.pointee.mutexOwner.load(ordering: .relaxed) == platform_thread()
            {
                // Whoever holds the mutex sees to the sleepers.
                word.pointee.bitwiseAnd(~Word.locked, ordering: .releasing)
                return end(with: .owned)
            }
            platform_nap()
        }
        setOwner()
        return end(with: .taken)
    }

    /// How often a fork looks for a lock that another thread holds before it gives back all others.
    private static let attempts = 20
    /// How often, where it is not known who holds it.
    private static let doubts = 2000

    private func end(with hold: Hold) -> Bool {
        state.pointee.hold = hold
        return true
    }

    private var canTakeMutex: Bool {
        guard platform_mutex_try(&state.pointee.mutex) != 0 else { return false }
        platform_mutex_unlock(&state.pointee.mutex)
        return true
    }

    /// After a fork, in the parent, or instead of one: goes on.
    func unlockAfterFork() {
        let hold = state.pointee.hold
        state.pointee.hold = .none
        guard hold == .taken else { return }
        platform_mutex_unlock(&state.pointee.mutex)
        unlock(attention: true)
    }

    /// After a fork, in the child, where no other thread is: sets the word anew, and forgets who was
    /// here.
    ///
    /// - Returns: Whether the lock was taken for the fork. Else the fork is in the middle of a call,
    ///   which goes on and frees it.
    func reopenAfterFork() -> Bool {
        let isTaken = state.pointee.hold == .taken
        state.pointee.hold = .none
        var word = Word.live | Word.attention
        if isTaken {
            clearOwner()
        } else {
            word = Word.live | Word.abandoned | (isOwned ? Word.locked : 0)
        }
        // A signal handler has forked while this thread was asleep here: it goes on.
        if isTaken || state.pointee.mutexOwner.load(ordering: .relaxed) == platform_thread() {
            word += wakeThisThread(in: &state.pointee.lockers)
            word += wakeThisThread(in: &state.pointee.evacuators)
            word += wakeThisThread(in: &state.pointee.turns)
            // A close that goes on finds nobody else.
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

    /// In the child: refuses new calls from now on, though the lock was taken for the fork.
    func abandon() {
        word.pointee.bitwiseOr(Word.abandoned, ordering: .relaxed)
    }

    /// Whether new calls are refused, because the fork was in the middle of one.
    var isAbandoned: Bool {
        word.pointee.load(ordering: .relaxed) & Word.abandoned != 0
    }

    /// Wakes those of a queue that are this thread, and returns how they are counted.
    private func wakeThisThread(in queue: inout Sleepers) -> UInt64 {
        var entered: UInt64 = 0
        while let sleeper = queue.popFirst() { entered += wakeIfThisThread(sleeper) }
        return entered
    }

    private func wakeIfThisThread(_ sleeper: UnsafeMutablePointer<Sleeper>) -> UInt64 {
        guard sleeper.pointee.thread == platform_thread() else { return 0 }
        sleeper.pointee.queue = .none
        sleeper.pointee.isWoken = true
        platform_condition_signal(&sleeper.pointee.condition)
        return sleeper.pointee.counted
    }
}
