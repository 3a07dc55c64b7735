import CSelectorsPlatform
import Selectors
import Synchronization

/// Runs tasks and actors in one thread, which waits for files when there is nothing to run.
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
/// What ``AsyncFile/readiness(for:timeout:)`` wakes goes on in the thread that saw the
/// readiness, with no hop to another one. A child task inherits the preference, an unstructured
/// `Task { … }` does not. An actor is pinned to it so:
///
///     actor Session {
///         let executor: SelectorExecutor
///         nonisolated var unownedExecutor: UnownedSerialExecutor {
///             executor.asUnownedSerialExecutor()
///         }
///     }
///
/// Jobs are run in the order of their arrival, whatever their priority. None of them may block: all
/// others would wait. Use one executor for each thread to use several processors.
///
/// Any thread may call any method, unless it says otherwise.
public final class SelectorExecutor: SerialExecutor, TaskExecutor {
    /// What is registered is alive: a handle that goes is dropped first.
    let selector: BaseSelector<Unmanaged<FileState>>
    let jobs = JobQueue()
    /// The thread that runs the jobs, as `platform_thread` calls it; 0: none.
    private let runner = Atomic<UInt>(0)
    /// The job that runs; the running thread's own.
    @exclusivity(unchecked) private nonisolated(unsafe) var current: Job?
    /// Whether it has begun, or is about, to wait for files.
    private let isAsleep = Atomic<Bool>(false)

    let lock = Lock()
    /// The waits; guarded by ``lock``, like all that follows.
    @exclusivity(unchecked) nonisolated(unsafe) var waits = WaitTable()
    /// The registrations that may have to change before the next select.
    @exclusivity(unchecked) nonisolated(unsafe) var dirty: [FileState] = []
    /// Whether a select runs, or what it has returned is yet to be looked at.
    @exclusivity(unchecked) nonisolated(unsafe) var isSelecting = false
    /// The files whose handles have gone meanwhile.
    @exclusivity(unchecked) nonisolated(unsafe) var dropped: [FileState] = []
    /// Counts the selects.
    @exclusivity(unchecked) nonisolated(unsafe) var round: UInt64 = 0
    @exclusivity(unchecked) nonisolated(unsafe) var isStopped = false

    /// The waits to be resumed; the running thread's own.
    @exclusivity(unchecked) nonisolated(unsafe) var woken: [(Continuation, EventMask)] = []

    /// Opens an executor on the backend that a list names.
    ///
    /// - Parameter backend: A list as `BaseSelector.init(backend:)` takes it; `nil`: that of
    ///   `SELECTORS_BACKEND`, or the best one.
    /// - Throws: What `BaseSelector.init(backend:)` throws.
    public init(backend: String? = nil) throws(SelectorError) {
        selector = try BaseSelector(backend: backend)
    }

    // MARK: The loop

    /// Runs jobs and waits for files, in the calling thread, until ``stop()``.
    ///
    /// Jobs that came before are run first. It returns after `stop` when no job is left. Jobs that
    /// come later, as of a task that slept, are kept; call `run` again to run them.
    ///
    /// - Throws: `.system(EBUSY)` while another thread runs it, `.system(EDEADLK)` from one of its own
    ///   jobs; what `select` throws, as `ENOMEM`: waits and jobs are kept then, and `run` may be
    ///   called again.
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

    /// Runs the jobs that are there, and those that they add, up to a limit.
    private func runJobs() {
        // A task takes a few steps until it waits again, most of all in an actor.
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

    /// Waits for files until a moment on the monotonic clock, or only looks if there are jobs.
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
    /// It is final: waits end with `.closed`, as do all that are begun later. Descriptors stay open. To call it
    /// again does nothing; before `run` it makes that one return when it has run the jobs that are
    /// there. Not for a signal handler: it takes a lock.
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

    /// Adds a job of an actor; for the language's own use.
    ///
    /// Any thread may call it, also before and after ``run()``.
    /// - Parameter job: What to run.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        add(Job(job: job, role: serialRole(of: job)))
    }

    /// Adds a job of a task that prefers this executor; for the language's own use.
    ///
    /// Any thread may call it, also before and after ``run()``.
    /// - Parameter job: What to run.
    @_implements(TaskExecutor,enqueue(_:))
    public func enqueueTask(_ job: consuming ExecutorJob) {
        add(Job(job: UnownedJob(job), role: .task))
    }

    /// Guesses whether a job of an actor is of a task that also prefers this executor.
    ///
    /// If the job that runs comes back, its task has another preference than its role says.
    private func serialRole(of job: UnownedJob) -> Job.Role {
        guard isCurrent, let current, current.isStep(ofTaskOf: job) else { return .serial }
        return current.role == .both ? .serial : .both
    }

    /// Whether the task that calls runs here for its actor alone, and does not prefer this executor.
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

    /// Ends the process unless the calling thread runs this executor's jobs; `assumeIsolated` of an
    /// actor of this executor asks.
    public func checkIsolated() { precondition(isCurrent, "not in the thread of this executor") }
}
