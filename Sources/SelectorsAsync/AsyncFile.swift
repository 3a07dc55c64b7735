import CSelectorsPlatform
import Selectors

/// A file object for which tasks can wait.
///
///     let file = AsyncFile(socket, on: executor)
///     _ = try await file.readiness(for: .read)
///     let count = read(socket, &buffer, buffer.count)
///
/// The descriptor should be non-blocking (`O_NONBLOCK`), because another task may consume the
/// readiness that a wait reported. It is registered with the executor's selector only while a task
/// waits, so that an idle handle costs nothing there.
/// The handle does not own the file: it never reads, writes or closes. Before you close the file,
/// call ``unregister()``, or make sure that no task waits for it.
///
/// Any thread may use it, and any task, whether or not the executor runs it.
public final class AsyncFile<File: FileObject>: Sendable {
    /// The file that was passed to ``init(_:on:)``.
    public let file: File
    /// The executor whose selector watches the file.
    public let executor: SelectorExecutor
    fileprivate let state: FileState

    /// Creates a handle; registers nothing yet, and cannot fail.
    ///
    /// The descriptor is read once, here.
    /// - Parameters:
    ///   - file: The file to wait for.
    ///   - executor: The executor that waits. It must be running, in any thread.
    public init(_ file: File, on executor: SelectorExecutor) {
        self.file = file
        self.executor = executor
        state = FileState(file.fileDescriptor)
    }

    deinit { executor.dropHandle(state) }

    /// Waits until the file is ready for one of the events, or the timeout expires.
    ///
    /// A task or an actor of the executor resumes in the executor's thread, in the same turn of
    /// its loop; all others resume where they run. Several tasks may wait for one file through one
    /// handle; all whose events match are woken. An error or a hang-up makes the file ready for
    /// all requested events; the next call on the file reports the cause.
    ///
    /// - Parameters:
    ///   - events: One or more of `.read`, `.write`, `.priority` and `.readHangup`.
    ///   - timeout: `nil`: no limit; zero or less: one poll; otherwise it waits at least that
    ///     long, up to 2⁶³ − 1 ns.
    /// - Returns: The events for which the file is ready, a subset of `events`; `[]` if the
    ///   timeout expires. Another task may be faster: wait again if the system call fails with
    ///   `EAGAIN`.
    /// - Throws: `CancellationError` if the task is cancelled, before or during the wait; the file
    ///   is no longer registered for it then. `SelectorError`: `.invalidEvents`, also for delivery
    ///   modes; `.invalidFileDescriptor`; `.alreadyRegistered` if another handle has waits for
    ///   this descriptor; `.notRegistered` after ``unregister()``; `.closed` after
    ///   ``SelectorExecutor/stop()``; `.system` with `EBADF` (not open), `ENOTSUP` (no
    ///   `.readHangup` on this backend), `ENOMEM`, `ENOSPC`, `EMFILE`.
    /// - Complexity: O(log n) with a timeout, where n tasks wait with a timeout; otherwise O(1).
    ///   In the steady state, a task of the executor that waits again before the next select makes
    ///   no system call and allocates nothing.
    nonisolated(nonsending) public func readiness(
        for events: EventMask, timeout: Duration? = nil
    ) async throws -> EventMask {
        // A continuation resumes on the task's preferred executor, and then on the actor's.
        // Without a preference the first is another thread.
        if executor.runsWithoutPreference {
            return try await withTaskExecutorPreference(executor) {
                try await readiness(for: events, timeout: timeout)
            }
        }
        let task = currentTask()
        if state.owner == task { return try await wait(task, events, timeout) }
        return try await withTaskCancellationHandler {
            try await wait(task, events, timeout)
        } onCancel: {
            executor.cancel(state, task)
        }
    }

    @inline(__always)
    nonisolated(nonsending) private func wait(
        _ task: UInt, _ events: EventMask, _ timeout: Duration?
    ) async throws -> EventMask {
        #if DEBUG
            try await withCheckedThrowingContinuation {
                executor.startWait(state, task, events, timeout, $0)
            }
        #else
            try await withUnsafeThrowingContinuation {
                executor.startWait(state, task, events, timeout, $0)
            }
        #endif
    }

    /// Repeats a system call until it does not fail with `EAGAIN`; waits before each further
    /// attempt.
    ///
    ///     let count = try await file.retry(for: .read) { read($0, &buffer, buffer.count) }
    ///
    /// The first attempt is made without waiting, so that a successful call does not suspend. A
    /// task with a very busy peer must yield to others itself (``readiness(for:timeout:)``,
    /// `Task.yield()`).
    ///
    /// - Parameters:
    ///   - events: The events to wait for after `EAGAIN` (`EWOULDBLOCK`). After `EINTR` the call
    ///     is repeated at once.
    ///   - timeout: The limit of each wait; see ``readiness(for:timeout:)``.
    ///   - call: Receives the descriptor; returns a negative number and sets `errno` if it fails.
    /// - Returns: The result of the call, zero or more.
    /// - Throws: `.system(ETIMEDOUT)` if the timeout expires, `.system` with the `errno` of the call,
    ///   and the errors of ``readiness(for:timeout:)``.
    nonisolated(nonsending) public func retry(
        for events: EventMask, timeout: Duration? = nil, _ call: (Int32) -> Int
    ) async throws -> Int {
        while true {
            let result = call(state.fd)
            if result >= 0 { return result }
            let code = platform_errno()
            if code == EINTR { continue }
            guard code == EAGAIN || code == EWOULDBLOCK else { throw SelectorError.system(code) }
            if try await readiness(for: events, timeout: timeout).isEmpty {
                throw SelectorError.system(ETIMEDOUT)
            }
        }
    }

    /// Ends all waits for the file, and all later ones, with `.notRegistered`.
    ///
    /// Call it before you close the file. When it returns, the file is no longer registered, and
    /// its descriptor is free for another handle. A second call does nothing.
    ///
    /// - Complexity: O(waits for this file).
    public func unregister() { executor.unregister(state) }
}

/// Creates a handle for the duration of a body, and unregisters it at the end.
///
///     try await withAsyncFile(client, on: executor) { file in
///         while try await file.readiness(for: .read) != [] { … }
///     }
///
/// Cancellation of the calling task ends its waits, as with any handle. The cancellation handler
/// is installed once here, not for each wait. So the waits of this task are cheaper than those
/// through ``AsyncFile/init(_:on:)``. Other tasks may use the handle meanwhile.
///
/// The file is not closed.
///
/// - Parameters:
///   - file: The file to wait for.
///   - executor: The executor that waits. It must be running, in any thread.
///   - body: Receives the handle. Its waits end with `.notRegistered` when the body returns.
/// - Returns: The result of the body.
/// - Throws: The error of the body.
nonisolated(nonsending) public func withAsyncFile<File: FileObject, Result>(
    _ file: File, on executor: SelectorExecutor,
    _ body: nonisolated(nonsending) (AsyncFile<File>) async throws -> Result
) async rethrows -> Result {
    let file = AsyncFile(file, on: executor)
    let task = currentTask()
    file.state.owner = task
    defer { file.unregister() }
    return try await withTaskCancellationHandler {
        try await body(file)
    } onCancel: {
        executor.cancel(file.state, task)
    }
}

/// An identifier that is unique among the living tasks; 0 outside tasks.
private func currentTask() -> UInt {
    // SAFETY: a task is a single pointer, and never null.
    withUnsafeCurrentTask { unsafeBitCast($0, to: UInt.self) }
}
