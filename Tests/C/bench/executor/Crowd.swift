// SPDX-License-Identifier: Apache-2.0

import Glibc
import Selectors
import SelectorsAsync
import Synchronization
import Workloads

private let waiting = Atomic(0)
private let received = Atomic(0)
private let cancelled = Atomic(0)

/// Has so many tasks wait, sends each ten bytes, and cancels all at once.
func serveCrowd(of count: Int, on executor: SelectorExecutor) throws {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    let pairs = (0..<count).map { _ in
        var ends: [Int32] = [-1, -1]
        if socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) < 0 {
            die_errno("socketpair")
        }
        return (ends[0], ends[1])
    }
    Task(executorPreference: executor) {
        let crowd = Task(executorPreference: executor) {
            await withDiscardingTaskGroup { group in
                for (socket, _) in pairs { group.addTask { await receive(socket, executor) } }
            }
        }
        while waiting.load(ordering: .relaxed) < count { await Task.yield() }
        for round in 1...10 {
            for (_, peer) in pairs {
                var byte: UInt8 = 7
                if send(peer, &byte, 1, 0) != 1 { die_errno("send") }
            }
            while received.load(ordering: .relaxed) < count * round { await Task.yield() }
        }
        crowd.cancel()
        await crowd.value
        executor.stop()
    }
    try executor.run()
    print(received.load(ordering: .relaxed), cancelled.load(ordering: .relaxed))
    if cancelled.load(ordering: .relaxed) != count { die("not all were cancelled") }
}

private func receive(_ socket: Int32, _ executor: SelectorExecutor) async {
    do {
        try await withAsyncFile(socket, on: executor) { file in
            waiting.add(1, ordering: .relaxed)
            while try await file.readiness(for: .read) != [] {
                var byte: UInt8 = 0
                if recv(socket, &byte, 1, 0) == 1 { received.add(1, ordering: .relaxed) }
            }
        }
    } catch is CancellationError {
        cancelled.add(1, ordering: .relaxed)
    } catch {
        die("\(error)")
    }
}
