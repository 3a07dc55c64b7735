// A `SelectorExecutor` in the main thread: a task for each connection, or an actor with all of them.
//
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Selectors
import SelectorsAsync

func serveByTasks() throws {
    let executor = try SelectorExecutor()
    let listener = listenOnLoopback()
    Task(executorPreference: executor) { try await serve(listener, on: executor) }
    try executor.run()
}

func serveByActor() throws {
    let executor = try SelectorExecutor()
    let server = Server(on: executor, listener: listenOnLoopback())
    Task { try await server.run() }
    try executor.run()
}

private actor Server {
    private let executor: SelectorExecutor
    private let listener: Int32
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(on executor: SelectorExecutor, listener: Int32) {
        self.executor = executor
        self.listener = listener
    }

    func run() async throws {
        try await withThrowingDiscardingTaskGroup { group in
            let file = AsyncFile(listener, on: executor)
            while true {
                let client = Int32(try await file.retry(for: .read) { Int(acceptClient($0)) })
                group.addTask { try? await self.serve(client) }
            }
        }
    }

    private func serve(_ client: Int32) async throws {
        try await echo(client, on: executor)
    }
}

private func serve(_ listener: Int32, on executor: SelectorExecutor) async throws {
    try await withThrowingDiscardingTaskGroup { group in
        let file = AsyncFile(listener, on: executor)
        while true {
            let client = Int32(try await file.retry(for: .read) { Int(acceptClient($0)) })
            group.addTask { try? await echo(client, on: executor) }
        }
    }
}

private func echo(
    _ client: Int32, on executor: SelectorExecutor, isolation: isolated (any Actor)? = #isolation
) async throws {
    defer { close(client) }
    try await withAsyncFile(client, on: executor) { (file) async throws in
        _ = isolation
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            _ = try await file.readiness(for: .read)
            let count = recv(client, &buffer, buffer.count, 0)
            if count < 0 && errno == EAGAIN { continue }
            if count <= 0 { return }
            var sent = 0
            while sent < count {
                sent += try await file.retry(for: .write) { fd in
                    buffer.withUnsafeBytes {
                        send(fd, $0.baseAddress! + sent, count - sent, Int32(MSG_NOSIGNAL))
                    }
                }
            }
        }
    }
}
