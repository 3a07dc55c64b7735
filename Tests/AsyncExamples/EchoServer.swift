import Glibc
import Selectors
import SelectorsAsync

/// An echo server with an executor in each of several threads.
///
/// Each has a listening socket of its own on the same port (`SO_REUSEPORT`), among which the kernel
/// spreads the connections. A connection stays with the executor that has accepted it.
public final class EchoServer: Sendable {
    public let port: UInt16
    private let executors: [SelectorExecutor]
    private let listeners: [Socket]

    public init(threads: Int) throws(SelectorError) {
        var (executors, listeners): ([SelectorExecutor], [Socket]) = ([], [])
        for _ in 0..<threads {
            listeners.append(try Socket.listener(port: listeners.first?.port ?? 0))
            executors.append(try SelectorExecutor())
        }
        port = listeners[0].port
        self.executors = executors
        self.listeners = listeners
    }

    /// Runs one of the executors, in the calling thread, until ``stop()``.
    public func run(_ index: Int, idle: Duration) throws {
        let (executor, listener) = (executors[index], listeners[index])
        Task(executorPreference: executor) {
            try await EchoServer.accept(from: listener, on: executor, idle: idle)
        }
        try executor.run()
    }

    public func stop() {
        for executor in executors { executor.stop() }
    }

    /// Gives each connection a task, which inherits the executor; returns when the executor stops.
    private static func accept(
        from listener: Socket, on executor: SelectorExecutor, idle: Duration
    ) async throws {
        let file = AsyncFile(listener, on: executor)
        try await withThrowingDiscardingTaskGroup { group in
            while true {
                let fd = try await file.retry(for: .read) { Int(Glibc.accept($0, nil, nil)) }
                let client = try Socket(Int32(fd))
                group.addTask {
                    try? await withAsyncFile(client, on: executor) {
                        try await echo($0, idle: idle)
                    }
                }
            }
        }
    }

    private static func echo(_ client: AsyncFile<Socket>, idle: Duration) async throws {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while try await client.readiness(for: .read, timeout: idle) != [] {
            let count = recv(client.file.fileDescriptor, &buffer, buffer.count, 0)
            if count < 0 && errno == EAGAIN { continue }
            if count <= 0 { return }
            var sent = 0
            while sent < count {
                sent += try await client.retry(for: .write, timeout: idle) { fd in
                    buffer[sent..<count].withUnsafeBytes {
                        send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                    }
                }
            }
        }
    }
}
