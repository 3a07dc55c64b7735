import CSelectorsPlatform
import Selectors

/// A file object for which tasks can wait.
///
///     let file = AsyncFile(socket, on: executor)
///     _ = try await file.readiness(for: .read)
///     let count = read(socket, &buffer, buffer.count)
///
/// The descriptor should not block (`O_NONBLOCK`): another task may have taken what a wait was told
/// of. It is registered with the executor's selector only while somebody waits, so that an idle
/// handle costs nothing there.
///
/// The handle does not own the file: it never reads, writes or closes. Before you close it, call
/// ``unregister()``, or see that nobody waits.
///
/// Any thread may use it, and any task, whether or not the executor runs it.
public final class AsyncFile<File: FileObject>: Sendable {
    /// What was given to ``init(_:on:)``.
    public let file: File
    /// The executor whose selector watches the file.
    public let executor: SelectorExecutor
    fileprivate let state: FileState

    /// Makes a handle; nothing is registered yet, and nothing can fail.
    ///
    /// The descriptor is asked for once, here.
    /// - Parameters:
    ///   - file: What to wait for.
    ///   - executor: What waits for it. It has to run, in whichever thread.
    public init(_ file: File, on executor: SelectorExecutor) {
        self.file = file
        self.executor = executor
        state = FileState(file.fileDescriptor)
    }

    deinit { executor.dropHandle(state) }

    /// Waits until the file is ready for one of some events, or the time is over.
    ///
    /// A task or an actor of the executor goes on in the executor's thread, in the same turn of its
    /// loop; all others where they run. Several tasks may wait for one file, through one handle: all
    /// those whose events match are woken. An error or a hang-up makes it ready for all that was
    /// asked; the call that follows tells the cause.
    ///
    /// - Parameters:
    ///   - events: One or more of `.read`, `.write`, `.priority` and `.readHangup`.
    ///   - timeout: `nil`: no limit; zero or less: one look; else it waits at least that long, up to
    ///     2⁶³ − 1 ns.
    /// - Returns: What the file is ready for, a subset of `events`; `[]`: the time is over. Another
    ///   task may be quicker: go on waiting when the system says `EAGAIN`.
    /// - Throws: `CancellationError` when the task is cancelled, before or during the wait; the file is
    ///   not registered on its behalf by then. `SelectorError`: `.invalidEvents`, also for delivery
    ///   modes; `.invalidFileDescriptor`; `.alreadyRegistered` where another handle has waits for this
    ///   number; `.notRegistered` after ``unregister()``; `.closed` after
    ///   ``SelectorExecutor/stop()``; `.system` with `EBADF` (not open), `ENOTSUP` (no `.readHangup`
    ///   on this backend), `ENOMEM`, `ENOSPC`, `EMFILE`.
    /// - Complexity: O(log n) with a timeout, where n tasks wait with one; else O(1). Once warm, a
    ///   task of the executor that waits again before the next select makes no system call and
    ///   allocates nothing.
    nonisolated(nonsending) public func readiness(
        for events: EventMask, timeout: Duration? = nil
    ) async throws -> EventMask {
        // A continuation is resumed in the task's preferred executor, and only then in the actor's:
        // without a preference that is another thread.
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

    /// Calls a function of the system until it does not fail for want of readiness, and waits before
    /// each further attempt.
    ///
    ///     let count = try await file.retry(for: .read) { read($0, &buffer, buffer.count) }
    ///
    /// It tries first, so that it does not suspend where that succeeds: a task with a very busy peer
    /// has to give way to others by itself (``readiness(for:timeout:)``, `Task.yield()`).
    ///
    /// - Parameters:
    ///   - events: What to wait for after `EAGAIN` (`EWOULDBLOCK`). After `EINTR` it tries again at
    ///     once.
    ///   - timeout: How long each wait may take; see ``readiness(for:timeout:)``.
    ///   - call: Gets the descriptor; returns a negative number and leaves the cause in `errno` when
    ///     it fails.
    /// - Returns: What the call has returned, zero or more.
    /// - Throws: `.system(ETIMEDOUT)` when the time is over, `.system` with the `errno` of the call,
    ///   and what ``readiness(for:timeout:)`` throws.
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

    /// Ends all waits for the file with `.notRegistered`, and refuses later ones likewise.
    ///
    /// Call it before you close the file. When it returns, the file is not registered any more, and
    /// its number is free for another handle. To call it again does nothing.
    ///
    /// - Complexity: O(waits for this file).
    public func unregister() { executor.unregister(state) }
}

/// Makes a handle for the time of a body, and unregisters it at the end.
///
///     try await withAsyncFile(client, on: executor) { file in
///         while try await file.readiness(for: .read) != [] { … }
///     }
///
/// Cancellation of the calling task ends its waits as it does those of any handle. It is provided for
/// once here, not once a wait, which makes the waits of this task cheaper than those through
/// ``AsyncFile/init(_:on:)``. Other tasks may use the handle meanwhile.
///
/// The file is not closed.
///
/// - Parameters:
///   - file: What to wait for.
///   - executor: What waits for it. It has to run, in whichever thread.
///   - body: Gets the handle, whose waits end with `.notRegistered` after the body.
/// - Returns: What the body returns.
/// - Throws: What the body throws.
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

/// What no other task is called while this one lives; 0 outside tasks.
private func currentTask() -> UInt {
    // SAFETY: a task is a pointer, and nothing else; no task is zero.
    withUnsafeCurrentTask { unsafeBitCast($0, to: UInt.self) }
}
