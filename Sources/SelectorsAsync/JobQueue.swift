import Synchronization

/// A job, and the role in which the executor received it.
///
/// A task that runs in the wrong role is enqueued again at each of its steps.
struct Job {
    enum Role {
        /// A job of an actor.
        case serial
        /// A job of a task that prefers the executor.
        case task
        /// A job of an actor whose task also prefers the executor.
        case both
    }

    let job: UnownedJob
    let role: Role

    /// Returns whether another job belongs to the same task.
    func isStep(ofTaskOf other: UnownedJob) -> Bool {
        // SAFETY: an unowned job is a single pointer.
        unsafeBitCast(job, to: UInt.self) == unsafeBitCast(other, to: UInt.self)
    }
}

/// The jobs of an executor, in the order of their arrival.
///
/// Jobs that the running thread adds need no lock.
final class JobQueue: Sendable {
    /// The jobs that arrived since the current turn began; used only by the running thread.
    @exclusivity(unchecked) private nonisolated(unsafe) var fresh: [Job] = []
    /// The jobs of the current turn; used only by the running thread.
    @exclusivity(unchecked) private nonisolated(unsafe) var turn: [Job] = []
    @exclusivity(unchecked) private nonisolated(unsafe) var position = 0
    /// The number of jobs taken so far; used only by the running thread, for tests.
    @exclusivity(unchecked) private(set) nonisolated(unsafe) var taken = 0

    private let lock = Lock()
    /// The jobs that other threads sent; guarded by ``lock``.
    @exclusivity(unchecked) private nonisolated(unsafe) var mail: [Job] = []
    private let hasMail = Atomic<Bool>(false)

    /// Adds a job, in the running thread.
    @inline(__always)
    func add(_ job: Job) { fresh.append(job) }

    /// Adds a job, in any other thread.
    func send(_ job: Job) {
        lock.lock()
        mail.append(job)
        // The sender stores this before it loads `isAsleep`; the running thread stores `isAsleep`
        // before it loads this. So at least one of them sees the other's store.
        hasMail.store(true, ordering: .sequentiallyConsistent)
        lock.unlock()
    }

    /// Whether there is no job; the running thread asks again after it has set `isAsleep`.
    var isEmpty: Bool {
        position == turn.count && fresh.isEmpty && !hasMail.load(ordering: .sequentiallyConsistent)
    }

    /// Returns the number of jobs, including those from other threads.
    func count() -> Int {
        collectMail()
        return turn.count - position + fresh.count
    }

    /// Removes and returns the first job.
    func next() -> Job? {
        if position == turn.count {
            turn.removeAll(keepingCapacity: true)
            position = 0
            collectMail()
            if fresh.isEmpty { return nil }
            swap(&turn, &fresh)
        }
        position += 1
        taken += 1
        return turn[position - 1]
    }

    private func collectMail() {
        if !hasMail.load(ordering: .acquiring) { return }
        lock.lock()
        fresh.append(contentsOf: mail)
        mail.removeAll(keepingCapacity: true)
        hasMail.store(false, ordering: .relaxed)
        lock.unlock()
    }
}
