import CSelectorsPlatform
import Selectors
import Synchronization

/// Runs tasks and actors in one thread, which waits for files if there is no job to run.
///
///     let executor = try SelectorExecutor()
///     Task(executorPreference: executor) {
///         let file = AsyncFile(socket, on: executor)
///         _ = try await file.readiness(for: .read)
///         …
///         executor.stop()
///     }
///     try executor.run()
///
/// A task that ``AsyncFile/readiness(for:timeout:)`` wakes resumes in the thread that saw the
/// readiness, without a thread switch. A child task inherits the preference; an unstructured
/// `Task { … }` does not. An actor is pinned to the executor like this:
///
///     actor Session {
///         let executor: SelectorExecutor
///         nonisolated var unownedExecutor: UnownedSerialExecutor {
///             executor.asUnownedSerialExecutor()
///         }
///     }
///
/// ``run()`` blocks its thread. In a program that is asynchronous already, start a thread for it; in
/// `main.swift` the closure that the thread gets must be `@Sendable`.
///
/// Jobs run in the order of their arrival, whatever their priority. A job must not block, because
/// all others would wait. To use several processors, use one executor per thread.
///
/// Any thread may call any method, unless it says otherwise.
public final class SelectorExecutor: SerialExecutor, TaskExecutor {
    /// A registered file state is alive: a handle is dropped from here before it is deallocated.
    let selector: BaseSelector<Unmanaged<FileState>>
    let jobs = JobQueue()
    /// The thread that runs the jobs, as returned by `platform_thread`; 0: none.
    private let runner = Atomic<UInt>(0)
    /// The current job; used only by the running thread.
    @exclusivity(unchecked) private nonisolated(unsafe) var current: Job?
    /// Whether the running thread is waiting for files, or is about to.
    private let isAsleep = Atomic<Bool>(false)

    let lock = Lock()
    /// The waits; guarded by ``lock``, as are the properties below up to `isStopped`.
    @exclusivity(unchecked) nonisolated(unsafe) var waits = WaitTable()
    /// The registrations that may have to change before the next select.
    @exclusivity(unchecked) nonisolated(unsafe) var dirty: [FileState] = []
    /// Whether a select is in progress, or its result is not processed yet.
    @exclusivity(unchecked) nonisolated(unsafe) var isSelecting = false
    /// The files whose handles were deallocated meanwhile.
    @exclusivity(unchecked) nonisolated(unsafe) var dropped: [FileState] = []
    /// The number of selects so far.
    @exclusivity(unchecked) nonisolated(unsafe) var round: UInt64 = 0
    @exclusivity(unchecked) nonisolated(unsafe) var isStopped = false

    /// The waits to resume; used only by the running thread.
    @exclusivity(unchecked) nonisolated(unsafe) var woken: [(Continuation, EventMask)] = []

    /// Opens an executor on the backend that a list selects.
    ///
    /// - Parameter backend: A list as for `BaseSelector.init(backend:)`; `nil`: that of
    ///   `SELECTORS_BACKEND`, or the best backend.
    /// - Throws: The errors of `BaseSelector.init(backend:)`.
    public init(backend: String? = nil) throws(SelectorError) {
        selector = try BaseSelector(backend: backend)
    }

    // MARK: The loop

    /// Runs jobs and waits for files, in the calling thread, until ``stop()``.
    ///
    /// Jobs that arrived before are run first. It returns after `stop` when no job is left. Jobs
    /// that arrive later, such as those of a sleeping task, are kept; call `run` again to run
    /// them.
    ///
    /// - Throws: `.system(EBUSY)` while another thread runs the executor, `.system(EDEADLK)` from
    ///   one of its own jobs; the errors of `select`, such as `ENOMEM`: waits and jobs are kept
    ///   then, and `run` may be called again.
    public func run() throws(SelectorError) {
        let thread = UInt(platform_thread())
        let (isMine, other) = runner.compareExchange(
            expected: 0, desired: thread, ordering: .acquiringAndReleasing)
        if !isMine { throw .system(other == thread ? EDEADLK : EBUSY) }
        defer { runner.store(0, ordering: .releasing) }
        var ready: [ReadyEvent<Unmanaged<FileState>>] = []
        while true {
            runJobs()
            guard let limit = prepareSelect() else {
                if jobs.isEmpty { return }
                continue
            }
            try select(into: &ready, until: limit)
            finishSelect(ready)
        }
    }

    /// Runs the queued jobs, and those that they add, up to a limit.
    private func runJobs() {
        // A task needs a few jobs until it waits again, especially in an actor.
        var left = 128 + 4 * jobs.count()
        while left > 0, let next = jobs.next() {
            current = next
            switch next.role {
            case .task: next.job.runSynchronously(on: asUnownedTaskExecutor())
            case .serial: next.job.runSynchronously(on: asUnownedSerialExecutor())
            case .both:
                next.job.runSynchronously(
                    isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
            }
            left -= 1
        }
        current = nil
    }

    /// Waits for files until a time on the monotonic clock, or only polls if there are jobs.
    private func select(
        into ready: inout [ReadyEvent<Unmanaged<FileState>>], until end: Int64
    ) throws(SelectorError) {
        isAsleep.store(true, ordering: .sequentiallyConsistent)
        defer { isAsleep.store(false, ordering: .relaxed) }
        let limit: Duration? = end == .max ? nil : .nanoseconds(end - platform_now())
        try selector.select(into: &ready, timeout: jobs.isEmpty ? limit : .zero)
    }

    /// Ends all waits, and makes ``run()`` return when no job is left.
    ///
    /// It is final: all waits, including later ones, end with `.closed`. Descriptors stay open. A
    /// second call does nothing. After a call before `run`, `run` returns when it has run the
    /// queued jobs. It must not be called from a signal handler, because it takes a lock.
    ///
    /// - Complexity: O(waits).
    public func stop() {
        lock.lock()
        isStopped = true
        let ended = waits.files.flatMap(takeAll)
        lock.unlock()
        for wait in ended { wait.resume(throwing: SelectorError.closed) }
        selector.waker.wake()
    }

    // MARK: Jobs

    /// Whether the calling thread runs this executor's jobs.
    @inline(__always)
    var isCurrent: Bool { runner.load(ordering: .relaxed) == UInt(platform_thread()) }

    /// Adds a job of an actor; called by the Swift runtime.
    ///
    /// Any thread may call it, even before and after ``run()``.
    /// - Parameter job: The job to run.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        add(Job(job: job, role: serialRole(of: job)))
    }

    /// Adds a job of a task that prefers this executor; called by the Swift runtime.
    ///
    /// Any thread may call it, even before and after ``run()``.
    /// - Parameter job: The job to run.
    @_implements(TaskExecutor,enqueue(_:))
    public func enqueueTask(_ job: consuming ExecutorJob) {
        add(Job(job: UnownedJob(job), role: .task))
    }

    /// Guesses whether a job of an actor belongs to a task that also prefers this executor.
    ///
    /// If the current job is enqueued again, its role was wrong: the task has the other
    /// preference.
    private func serialRole(of job: UnownedJob) -> Job.Role {
        guard isCurrent, let current, current.isStep(ofTaskOf: job) else { return .serial }
        return current.role == .both ? .serial : .both
    }

    /// Whether the calling task runs here only because of its actor, and does not prefer this
    /// executor.
    @inline(__always)
    var runsWithoutPreference: Bool {
        isCurrent && current?.role != .task
            && withUnsafeCurrentTask { $0?.unownedTaskExecutor != asUnownedTaskExecutor() }
    }

    private func add(_ job: Job) {
        if isCurrent { return jobs.add(job) }
        jobs.send(job)
        if isAsleep.load(ordering: .sequentiallyConsistent) { selector.waker.wake() }
    }

    /// Ends the process unless the calling thread runs this executor's jobs; used by
    /// `assumeIsolated` of an actor of this executor.
    public func checkIsolated() { precondition(isCurrent, "not in the thread of this executor") }
}
