import Synchronization

/// A job and the role of the executor that it came to.
///
/// A task that is run in another role is enqueued again at each of its steps.
struct Job {
    enum Role {
        /// Of an actor.
        case serial
        /// Of a task that prefers the executor.
        case task
        /// Of a task in an actor that also prefers the executor.
        case both
    }

    let job: UnownedJob
    let role: Role

    /// Whether another job is a step of the same task.
    func isStep(ofTaskOf other: UnownedJob) -> Bool {
        // SAFETY: an unowned job is a pointer, and nothing else.
        unsafeBitCast(job, to: UInt.self) == unsafeBitCast(other, to: UInt.self)
    }
}

/// The jobs of an executor, in the order of their arrival.
///
/// Those of the running thread need no lock.
final class JobQueue: Sendable {
    /// The jobs that came since the last ``turn()``; the running thread's own.
    @exclusivity(unchecked) private nonisolated(unsafe) var fresh: [Job] = []
    /// The jobs that the running thread works on.
    @exclusivity(unchecked) private nonisolated(unsafe) var turn: [Job] = []
    @exclusivity(unchecked) private nonisolated(unsafe) var position = 0
    /// How many jobs were taken; the running thread's own, for tests.
    @exclusivity(unchecked) private(set) nonisolated(unsafe) var taken = 0

    private let lock = Lock()
    /// Jobs that other threads sent, guarded by ``lock``.
    @exclusivity(unchecked) private nonisolated(unsafe) var mail: [Job] = []
    private let hasMail = Atomic<Bool>(false)

    /// Adds a job, in the running thread.
    @inline(__always)
    func add(_ job: Job) { fresh.append(job) }

    /// Adds a job from any other thread.
    func send(_ job: Job) {
        lock.lock()
        mail.append(job)
        // Before the sender looks whether the running thread sleeps, which looks here after it has
        // said so: one of them sees the other.
        hasMail.store(true, ordering: .sequentiallyConsistent)
        lock.unlock()
    }

    /// Whether the running thread has nothing to do: also after it has said that it is going to sleep.
    var isEmpty: Bool {
        position == turn.count && fresh.isEmpty && !hasMail.load(ordering: .sequentiallyConsistent)
    }

    /// How many jobs are there now, those from other threads included.
    func count() -> Int {
        collectMail()
        return turn.count - position + fresh.count
    }

    /// Takes the first job.
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
