import Foundation
import Selectors
import TestSupport
import Testing

@testable import SelectorsAsync

/// The executor's loop: who runs where and when, how it ends, and what it costs.
@Suite struct LoopTests {
    @Test(arguments: backends, [Place.inside, .actor, .both])
    func aTaskGoesOnInTheThreadOfTheExecutor(_ backend: String, _ place: Place) async throws {
        let host = try Host(backend)
        let (a, b) = Descriptor.socketPair()
        let file = AsyncFile(a.fd, on: host.executor)
        let task = host.start(place) { _ in
            #expect(pthread_equal(pthread_self(), host.thread.pthread) != 0)
            for _ in 0..<20 {
                b.write()
                _ = try await file.readiness(for: .read)
                #expect(pthread_equal(pthread_self(), host.thread.pthread) != 0)
                a.read()
                _ = try await file.readiness(for: .read, timeout: .zero)
                #expect(pthread_equal(pthread_self(), host.thread.pthread) != 0)
            }
        }
        try await task.value
        try host.end()
    }

    @Test(arguments: backends)
    func anActorKnowsItsThread(_ backend: String) async throws {
        let host = try Host(backend)
        let task = host.start(.actor) { isolation in
            let actor = try #require(isolation as? Pinned)
            assume(actor)
        }
        try await task.value
        try host.end()
    }

    @Test(arguments: [Place.inside, .actor, .both])
    func anotherWaitInTimeMakesNoChangeInTheKernel(_ place: Place) async throws {
        let counting = try CountingBackend.add()
        let host = try Host(counting)
        let (a, b) = Descriptor.socketPair()
        let file = AsyncFile(a.fd, on: host.executor)
        let rounds = 50
        let task = host.start(place) { _ in
            b.write()
            _ = try await file.readiness(for: .read)
            a.read()
            let before = CountingBackend.changes(of: counting)
            let first = host.executor.currentRound
            let jobs = host.executor.jobs.taken
            for _ in 0..<rounds {
                b.write()
                _ = try await file.readiness(for: .read, timeout: .seconds(600))
                a.read()
            }
            #expect(host.executor.currentRound == first + UInt64(rounds))
            // One resumes a task of the executor. The handler of a cancellation has a task of an actor
            // leave that and come back; so has a preference that is set for each wait.
            let each = [Place.inside: 1, .both: 3, .actor: 4]
            #expect(host.executor.jobs.taken - jobs == rounds * (each[place] ?? 0))
            return CountingBackend.changes(of: counting) - before
        }
        #expect(try await task.value == 0)
        await host.awaitRounds()
        #expect(try host.executor.registered == [])
        try host.end()
    }

    @Test(arguments: [Place.inside, .both])
    func aWaitOfABodyNeedsNoFurtherJobs(_ place: Place) async throws {
        let host = try Host("epoll")
        let (a, b) = Descriptor.socketPair()
        let rounds = 50
        let task = host.start(place) { isolation in
            try await withAsyncFile(a.fd, on: host.executor) { (file) async throws in
                _ = isolation
                let first = host.executor.jobs.taken
                for _ in 0..<rounds {
                    b.write()
                    _ = try await file.readiness(for: .read)
                    a.read()
                }
                return host.executor.jobs.taken - first
            }
        }
        let jobs = try await task.value
        // A task in an actor is resumed by its preference first.
        #expect(jobs == rounds * (place == .both ? 2 : 1))
        try host.end()
    }

    @Test(arguments: backends)
    func filesAreHeardOfWhileJobsNeverEnd(_ backend: String) async throws {
        let host = try Host(backend)
        let (a, b) = Descriptor.socketPair()
        let file = AsyncFile(a.fd, on: host.executor)
        let isHeard = Flag()
        let busy = (0..<3).map { _ in
            host.start(.inside) { _ in while !isHeard.isSet { await Task.yield() } }
        }
        let waiter = host.start(.inside) { _ in
            b.write()
            _ = try await file.readiness(for: .read)
            _ = try await file.readiness(for: .priority, timeout: .milliseconds(1))
            isHeard.set()
        }
        try await waiter.value
        for task in busy { try await task.value }
        try host.end()
    }

    // MARK: run and stop

    @Test(arguments: backends)
    func jobsBeforeRunAndAfterItAreKept(_ backend: String) async throws {
        let executor = try SelectorExecutor(backend: backend)
        let first = Task(executorPreference: executor) {
            executor.stop()
            executor.stop()
            await Task.yield()
            return 1
        }
        try await onThread { try executor.run() }
        #expect(await first.value == 1)
        let second = Task(executorPreference: executor) { 2 }
        try await onThread { try executor.run() }
        #expect(await second.value == 2)
    }

    @Test(arguments: backends)
    func stopBeforeRunEndsIt(_ backend: String) async throws {
        let executor = try SelectorExecutor(backend: backend)
        executor.stop()
        try await onThread { try executor.run() }
        let (a, _b) = Descriptor.socketPair()
        let file = AsyncFile(a.fd, on: executor)
        await #expect(throws: SelectorError.closed) { try await file.readiness(for: .read) }
        withExtendedLifetime(_b) {}
    }

    @Test(arguments: backends)
    func stopEndsWaitsOfAnExecutorThatDoesNotRun(_ backend: String) async throws {
        let executor = try SelectorExecutor(backend: backend)
        let (a, _b) = Descriptor.socketPair()
        let file = AsyncFile(a.fd, on: executor)
        let waiter = Task.detached { try await file.readiness(for: .read) }
        while executor.waitCount == 0 { await Task.yield() }
        executor.stop()
        await #expect(throws: SelectorError.closed) { try await waiter.value }
        withExtendedLifetime(_b) {}
    }

    @Test(arguments: backends)
    func oneThreadRunsItAtATime(_ backend: String) async throws {
        let host = try Host(backend)
        // It runs by now.
        let nested = host.start(.inside) { _ in
            _ = #expect(throws: SelectorError.system(EDEADLK)) { try host.executor.run() }
        }
        try await nested.value
        #expect(throws: SelectorError.system(EBUSY)) { try host.executor.run() }
        try host.end()
    }

    // MARK: Many

    @Test(arguments: backends, Place.allCases)
    func manyWaitsAreCancelledAtOnce(_ backend: String, _ place: Place) async throws {
        let host = try Host(backend)
        let pairs = (0..<20).map { _ in Descriptor.socketPair(keepingNumbers: true) }
        let files = pairs.map { AsyncFile($0.0.fd, on: host.executor) }
        let ended = Flag()
        let tasks = (0..<2000).map { index in
            host.start(place) { _ in
                do {
                    _ = try await files[index % 20].readiness(for: .read, timeout: .seconds(600))
                } catch is CancellationError {
                    ended.set()
                }
            }
        }
        await host.awaitWaits(2000)
        for task in tasks { task.cancel() }
        for task in tasks { try await task.value }
        #expect(ended.count == 2000)
        #expect(try host.executor.registered == [])
        #expect(host.executor.waitCount == 0)
        try host.end()
    }

    @Test(arguments: backends, Place.allCases)
    func eachWaitEndsOnceWhateverComesTogether(_ backend: String, _ place: Place) async throws {
        let host = try Host(backend)
        for round in 0..<60 {
            let (a, b) = Descriptor.socketPair(keepingNumbers: true)
            let file = AsyncFile(a.fd, on: host.executor)
            let timeout: Duration? = round % 3 == 0 ? .microseconds(50) : nil
            let waiters = (0..<2).map { _ in
                host.start(place) { _ in
                    // A checked continuation ends the process where it is resumed twice.
                    _ = try? await file.readiness(for: .read, timeout: timeout)
                }
            }
            async let cancelled: Void = { for waiter in waiters { waiter.cancel() } }()
            async let ready: Void = { if round % 2 == 0 { b.write() } }()
            async let unregistered: Void = { if round % 5 == 0 { file.unregister() } }()
            _ = await (cancelled, ready, unregistered)
            for waiter in waiters { try await waiter.value }
            #expect(host.executor.waitCount == 0)
        }
        // All of them, and stop.
        let (a, b) = Descriptor.socketPair()
        let file = AsyncFile(a.fd, on: host.executor)
        let waiters = (0..<50).map { _ in
            host.start(place) { _ in
                _ = try? await file.readiness(for: .read, timeout: .microseconds(200))
            }
        }
        async let cancelled: Void = { for waiter in waiters { waiter.cancel() } }()
        async let ready: Void = b.write()
        async let stopped: Void = host.executor.stop()
        _ = await (cancelled, ready, stopped)
        try host.thread.join()
        try await finish(waiters, of: host.executor)
        #expect(host.executor.waitCount == 0)
    }

    @Test func deadlinesThatEndEarlyTakeNoMemory() async throws {
        let host = try Host("epoll")
        let pairs = (0..<4).map { _ in Descriptor.socketPair(keepingNumbers: true) }
        let tasks = pairs.map { pair in
            host.start(.inside) { _ in
                let file = AsyncFile(pair.0.fd, on: host.executor)
                for _ in 0..<20_000 {
                    _ = try await file.readiness(for: .write, timeout: .seconds(600))
                }
            }
        }
        for task in tasks { try await task.value }
        let sizes = host.executor.waits.sizes
        #expect(sizes.deadlines == 0)
        #expect(sizes.slots <= 4)
        try host.end()
    }
}

/// Runs a body in a thread of its own, and waits for its end.
private func onThread(_ body: @escaping @Sendable () throws -> Void) async throws {
    try await withCheckedThrowingContinuation { continuation in
        Thread { continuation.resume(with: Result { try body() }) }.start()
    }
}

/// Ends the process where the caller is not in the actor.
private func assume(_ actor: Pinned) {
    actor.assumeIsolated { _ in }
}
