// Waits in an executor, a number of times: what they allocate, and, under strace(1), which system calls
// they make.
//
//     swift-executor [WAITS]
//     swift-executor crowd BACKEND
//
// Ten tasks pass a byte around by socket pairs, with a time limit for each wait. Prints how many
// allocations were made, once warm, and by how many bytes the heap has grown.
//
// A crowd is 9900 tasks, each with a socket of its own: every byte has to come, and all are cancelled at
// once. It needs 20000 descriptors.
//
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Selectors
import SelectorsAsync
import Workloads

let waits = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 100_000
let taskCount = 10
if CommandLine.arguments.dropFirst().first == "crowd" {
    try serveCrowd(of: 9900, on: SelectorExecutor(backend: CommandLine.arguments[2]))
    exit(0)
}
let executor = try SelectorExecutor(backend: "epoll")

/// Sockets around which bytes go: what is written to `write[n]` comes out of `read[n]`.
var (read, write): ([Int32], [Int32]) = ([], [])
for _ in 0..<taskCount {
    var ends: [Int32] = [-1, -1]
    if socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) < 0 { die("socketpair") }
    read.append(ends[0])
    write.append(ends[1])
}

/// Hands the byte on, so often.
func pass(_ count: Int, from source: Int32, to target: Int32) async throws {
    try await withAsyncFile(source, on: executor) { file in
        for _ in 0..<count {
            if try await file.readiness(for: .read, timeout: .seconds(600)) != .read { die("lost") }
            var byte: UInt8 = 0
            if recv(source, &byte, 1, 0) != 1 || send(target, &byte, 1, 0) != 1 { die("no byte") }
        }
    }
}

/// Makes so many waits for each task, and returns the allocations and the growth of the heap meanwhile.
func measure(_ count: Int, _ read: [Int32], _ write: [Int32]) async -> (Int, Double) {
    var byte: UInt8 = 7
    send(write[0], &byte, 1, 0)
    let (before, heap) = (allocations(), heap_bytes())
    await withTaskGroup(of: Void.self) { group in
        for index in 0..<taskCount {
            let (source, target) = (read[index], write[(index + 1) % taskCount])
            group.addTask {
                do { try await pass(count, from: source, to: target) } catch { die("\(error)") }
            }
        }
    }
    recv(read[0], &byte, 1, 0)
    return (allocations() - before, heap_bytes() - heap)
}

let (sources, targets) = (read, write)
Task(executorPreference: executor) {
    // What the tasks themselves take is the same for few waits and for many.
    _ = await measure(10, sources, targets)
    let few = await measure(10, sources, targets)
    let many = await measure(10 + waits / taskCount, sources, targets)
    print(many.0 - few.0, Int(many.1 - few.1))
    executor.stop()
}
try executor.run()
