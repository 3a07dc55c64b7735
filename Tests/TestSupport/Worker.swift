import Foundation

/// A thread that runs a body and keeps what it returns.
public final class Worker<Result: Sendable>: @unchecked Sendable {
    private let started = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)
    private var thread: pid_t = 0
    /// What pthread_kill(3) calls it; valid until it has ended.
    public private(set) var pthread = pthread_self()
    private var result: Swift.Result<Result, any Error>?

    public init(_ body: @escaping @Sendable () throws -> Result) {
        let thread = Thread { [self] in
            self.thread = currentThread()
            pthread = pthread_self()
            started.signal()
            result = Swift.Result { try body() }
            ended.signal()
        }
        thread.start()
        started.wait()
    }

    /// Whether the body has returned.
    public var hasEnded: Bool {
        guard ended.wait(timeout: .now()) == .success else { return false }
        ended.signal()
        return true
    }

    /// Waits until the thread sleeps, in the kernel or for a lock.
    public func waitUntilAsleep() {
        while state != "S" { sched_yield() }
    }

    /// Waits for the end and gives what the body has returned or thrown.
    public func join() throws -> Result {
        ended.wait()
        ended.signal()
        return try result!.get()
    }

    private var state: Character? {
        // The name before the state is in parentheses and may hold anything.
        guard
            let stat = try? String(
                contentsOfFile: "/proc/self/task/\(thread)/stat", encoding: .utf8),
            let end = stat.lastIndex(of: ")")
        else { return nil }
        return stat[stat.index(end, offsetBy: 2)...].first
    }
}

/// The kernel's number of the calling thread.
private func currentThread() -> pid_t {
    let link = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/thread-self")
    return link.flatMap { $0.split(separator: "/").last }.flatMap { pid_t($0) } ?? -1
}
