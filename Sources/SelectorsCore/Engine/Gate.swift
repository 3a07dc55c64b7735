import CSelectorsPlatform
import Synchronization

/// Lets one thread at a time at a selector's state, and one at a time wait in the kernel.
///
/// It is a lock whose word also tells whether a thread is waiting in the kernel, meanwhile the lock
/// is free, and whether a select has something to see to before it may wait. Without contention
/// each step is one atomic operation; threads that have to sleep do so on a condition variable.
package struct Gate: ~Copyable {
    /// A thread holds the lock.
    private static let locked: UInt32 = 1
    /// A thread is waiting in the kernel.
    private static let waiting: UInt32 = 2
    /// Threads sleep until the state changes.
    private static let contended: UInt32 = 4
    /// The next select has something to see to.
    private static let attention: UInt32 = 8

    private let state = Atomic<UInt32>(0)
    /// Where threads sleep.
    ///
    /// `contended` is set with the mutex held only.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let changed: UnsafeMutablePointer<pthread_cond_t>

    package init() {
        mutex = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        changed = .allocate(capacity: 1)
        platform_cond_init(changed)
    }

    deinit {
        // The last thread to leave may still be on its way out of the mutex.
        pthread_mutex_lock(mutex)
        pthread_mutex_unlock(mutex)
        pthread_cond_destroy(changed)
        changed.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    // MARK: The quick way

    /// Begins a wait if nobody is here and there is nothing to see to.
    @inline(__always)
    func tryBeginWait() -> Bool {
        state.compareExchange(expected: 0, desired: Gate.waiting, ordering: .acquiring).exchanged
    }

    // MARK: The lock

    /// Takes the lock.
    package func lock() {
        _ = lockAndLook()
    }

    /// Takes the lock, and tells whether somebody may be here, or there may be something to see to.
    ///
    /// Whoever holds the lock knows that, too, and tells it when he gives the lock back.
    @inline(__always)
    func lockAndLook() -> Bool {
        let before = state.load(ordering: .relaxed)
        if before & ~Gate.attention == 0
            && state.compareExchange(
                expected: before, desired: Gate.locked, ordering: .acquiring
            ).exchanged
        {
            return before != 0
        }
        acquire(clearing: 0)
        return true
    }

    /// Gives the lock back and leaves bits in its place, if nobody sleeps for it or waits.
    @inline(__always)
    func tryUnlock(leaving bits: UInt32 = 0) -> Bool {
        state.compareExchange(expected: Gate.locked, desired: bits, ordering: .releasing).exchanged
    }

    /// Gives the lock back.
    ///
    /// - Parameter attention: Whether the next select has something to see to.
    @inline(__always)
    package func unlock(attention: Bool) {
        let rest = attention ? Gate.attention : 0
        if !tryUnlock(leaving: rest) { release(to: rest, keeping: Gate.waiting) }
    }

    /// With the lock held: sleeps until another thread has held it, and takes it again.
    ///
    /// - Parameter nanoseconds: At most that long; negative: no limit.
    func sleep(atMost nanoseconds: Int64 = -1) {
        pthread_mutex_lock(mutex)
        var old = state.load(ordering: .relaxed)
        while true {
            let new = old & (Gate.waiting | Gate.attention) | Gate.contended
            let (isExchanged, now) = state.compareExchange(
                expected: old, desired: new, ordering: .releasing)
            if isExchanged { break }
            old = now
        }
        // Others may sleep for the lock that has just come free.
        if old & Gate.contended != 0 { pthread_cond_broadcast(changed) }
        platform_cond_wait(changed, mutex, nanoseconds)
        pthread_mutex_unlock(mutex)
        lock()
    }

    /// In the child of a fork, where no other thread is: gives back the lock, which the forking
    /// thread took before, and forgets who was waiting and sleeping.
    func unlockAfterFork(attention: Bool) {
        pthread_mutex_init(mutex, nil)
        platform_cond_init(changed)
        state.store(attention ? Gate.attention : 0, ordering: .relaxed)
    }

    // MARK: Waiting in the kernel

    /// Whether a thread is waiting in the kernel.
    ///
    /// The lock is held.
    var isWaiting: Bool {
        state.load(ordering: .relaxed) & Gate.waiting != 0
    }

    /// Turns the lock into a wait.
    func beginWait(attention: Bool) {
        release(to: Gate.waiting | (attention ? Gate.attention : 0), keeping: 0)
    }

    /// Ends the wait and takes the lock, if nobody is here and there is nothing to see to.
    @inline(__always)
    func tryEndWait() -> Bool {
        state.compareExchange(
            expected: Gate.waiting, desired: Gate.locked, ordering: .acquiring
        ).exchanged
    }

    /// Ends the wait and takes the lock.
    func endWait() {
        if !tryEndWait() { acquire(clearing: Gate.waiting) }
    }

    // MARK: The slow way

    /// Takes the lock, and clears a bit with it.
    @inline(never)
    private func acquire(clearing bit: UInt32) {
        var old = state.load(ordering: .relaxed)
        while true {
            if old & Gate.locked != 0 {
                pthread_mutex_lock(mutex)
                // Released meanwhile: then the bit costs somebody a needless broadcast, no more.
                let before = state.bitwiseOr(Gate.contended, ordering: .relaxed).oldValue
                if before & Gate.locked != 0 { pthread_cond_wait(changed, mutex) }
                pthread_mutex_unlock(mutex)
                old = state.load(ordering: .relaxed)
                continue
            }
            let (isExchanged, now) = state.compareExchange(
                expected: old, desired: old & ~bit | Gate.locked, ordering: .acquiring)
            if isExchanged { return }
            old = now
        }
    }

    /// Gives the lock back and leaves new bits in its place, and some of the old ones.
    @inline(never)
    private func release(to bits: UInt32, keeping kept: UInt32) {
        var old = state.load(ordering: .relaxed)
        while old & Gate.contended == 0 {
            let (isExchanged, now) = state.compareExchange(
                expected: old, desired: old & kept | bits, ordering: .releasing)
            if isExchanged { return }
            old = now
        }
        // Nobody but the holder of lock and mutex changes the word now. The mutex is held to the
        // end, so that who frees the gate next can tell that this thread has left it.
        pthread_mutex_lock(mutex)
        state.store(state.load(ordering: .relaxed) & kept | bits, ordering: .releasing)
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
    }
}
