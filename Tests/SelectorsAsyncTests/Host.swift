import Foundation
import Selectors
import TestSupport
import Testing

@testable import SelectorsAsync

/// An executor that a thread of its own runs.
final class Host: Sendable {
    let executor: SelectorExecutor
    let thread: Worker<Void>

    init(_ backend: String) throws {
        let executor = try SelectorExecutor(backend: backend)
        self.executor = executor
        thread = Worker { try executor.run() }
    }

    /// Stops it, and throws what `run` has thrown.
    func end() throws {
        executor.stop()
        try thread.join()
    }

    /// Runs a body in a task, at a place, which it is isolated to if that is an actor.
    func start<Result: Sendable>(
        _ place: Place, _ body: @escaping Body<Result>
    ) -> Task<Result, any Error> {
        switch place {
        case .inside: Task(executorPreference: executor) { try await body(nil) }
        case .outside: Task.detached { try await body(nil) }
        case .actor:
            Task.detached { [executor] in try await Pinned(executor).perform(body) }
        case .both:
            Task(executorPreference: executor) { [executor] in
                try await Pinned(executor).perform(body)
            }
        }
    }

    /// Waits until so many tasks wait for files.
    func awaitWaits(_ count: Int) async {
        while executor.waitCount != count { await Task.yield() }
    }

    /// Waits until the executor has begun another select since now, twice: what lingered is gone.
    func awaitRounds() async {
        let start = executor.currentRound
        while executor.currentRound < start + 2 {
            executor.selector.waker.wake()
            await Task.yield()
        }
    }
}

typealias Body<Result: Sendable> =
    @Sendable (_ isolation: isolated (any Actor)?) async throws -> Result

/// Where a task runs that waits.
enum Place: CaseIterable {
    case inside, outside, actor, both
}

/// An actor of an executor.
actor Pinned {
    let executor: SelectorExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(_ executor: SelectorExecutor) {
        self.executor = executor
    }

    func perform<Result: Sendable>(_ body: Body<Result>) async throws -> Result {
        try await body(self)
    }
}

extension SelectorExecutor {
    var waitCount: Int {
        lock.lock()
        defer { lock.unlock() }
        return waits.files.count
    }

    var currentRound: UInt64 {
        lock.lock()
        defer { lock.unlock() }
        return round
    }

    /// The numbers that are registered.
    var registered: [Int32] {
        get throws { try selector.get_map().map(\.fd) }
    }
}

let backends = SelectorRegistry.backends.filter { $0.isAvailable && $0.origin == nil }
    .map(\.name).filter { ["epoll", "kqueue", "devpoll", "poll", "select"].contains($0) }
