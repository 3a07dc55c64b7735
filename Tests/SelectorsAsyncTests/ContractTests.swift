import Foundation
import Selectors
import TestSupport
import Testing

@testable import SelectorsAsync

/// What the module promises of a wait, over every backend, and for tasks inside, outside and in
/// actors.
@Suite struct AsyncContractTests {
    @Test(arguments: backends, Place.allCases)
    func aWaitReturnsWhatTheFileIsReadyFor(_ backend: String, _ place: Place) async throws {
        let host = try Host(backend)
        let (a, b) = Descriptor.socketPair()
        let file = AsyncFile(a.fd, on: host.executor)
        for _ in 0..<3 {
            let task = host.start(place) { _ in try await file.readiness(for: [.read, .priority]) }
            await host.awaitWaits(1)
            b.write()
            #expect(try await task.value == .read)
            a.read()
        }
        let both = host.start(place) { _ in try await file.readiness(for: [.read, .write]) }
        #expect(try await both.value == .write)
        try host.end()
    }

    @Test(arguments: backends, Place.allCases)
    func aWaitLastsAtLeastItsTime(_ backend: String, _ place: Place) async throws {
        let host = try Host(backend)
        let (a, b) = Descriptor.socketPair()
        let file = AsyncFile(a.fd, on: host.executor)
        // Whatever else ends a select meanwhile.
        let isOver = Flag()
        let waking = Worker {
            while !isOver.isSet {
                host.executor.selector.waker.wake()
                usleep(300)
            }
        }
        let task = host.start(place) { _ in
            let start = now()
            let events = try await file.readiness(for: .read, timeout: .milliseconds(20))
            return (events, now() - start)
        }
        let (events, taken) = try await task.value
        #expect(events == [])
        #expect(taken >= 20_000_000)
        #expect(try host.executor.registered == [])
        // One look, and no more.
        for timeout in [Duration.zero, .seconds(-1)] {
            let look = { @Sendable (_: isolated (any Actor)?) async throws in
                try await file.readiness(for: .read, timeout: timeout)
            }
            #expect(try await host.start(place, look).value == [])
            b.write()
            for _ in 0..<50 { #expect(try await host.start(place, look).value == .read) }
            a.read()
        }
        isOver.set()
        try waking.join()
        // As long as there is.
        b.write()
        let long = host.start(place) { _ in
            try await file.readiness(for: .read, timeout: .seconds(Int64.max))
        }
        #expect(try await long.value == .read)
        try host.end()
    }

    @Test(arguments: backends, Place.allCases)
    func aCancelledWaitLeavesNothingBehind(_ backend: String, _ place: Place) async throws {
        let host = try Host(backend)
        let (a, b) = Descriptor.socketPair()
        let file = AsyncFile(a.fd, on: host.executor)
        let during = host.start(place) { _ in
            do {
                return try await file.readiness(for: .read).rawValue
            } catch is CancellationError {
                #expect(try host.executor.registered == [])
                return 77
            }
        }
        await host.awaitWaits(1)
        during.cancel()
        #expect(try await during.value == 77)
        b.write()
        let before = host.start(place) { _ in
            withUnsafeCurrentTask { $0?.cancel() }
            return try await file.readiness(for: .read)
        }
        await #expect(throws: CancellationError.self) { try await before.value }
        let after = host.start(place) { _ in try await file.readiness(for: .read) }
        #expect(try await after.value == .read)
        try host.end()
    }

    @Test(arguments: backends, Place.allCases)
    func allWhoseEventsMatchAreWoken(_ backend: String, _ place: Place) async throws {
        let host = try Host(backend)
        let (a, b) = Descriptor.socketPair()
        let file = AsyncFile(a.fd, on: host.executor)
        // Woken together: the first one takes what there is.
        let readers = (0..<3).map { _ in
            host.start(place) { _ in
                let events = try await file.readiness(for: .read)
                var byte: UInt8 = 0
                _ = recv(a.fd, &byte, 1, Int32(MSG_DONTWAIT))
                return events
            }
        }
        let other = host.start(place) { _ in try await file.readiness(for: .priority) }
        await host.awaitWaits(4)
        b.write()
        for reader in readers { #expect(try await reader.value == .read) }
        await host.awaitWaits(1)
        // The one that is left is still heard: a hang-up is for everybody.
        b.close()
        if backend == "select" { other.cancel() }
        let result = await other.result
        #expect(backend == "select" || (try? result.get()) == .priority)
        try host.end()
    }

    @Test(arguments: backends, Place.allCases)
    func aSecondHandleIsRefusedWhileTheFirstIsUsed(
        _ backend: String, _ place: Place
    ) async throws {
        let host = try Host(backend)
        let (a, b) = Descriptor.socketPair()
        let (first, second) = (
            AsyncFile(a.fd, on: host.executor), AsyncFile(a.fd, on: host.executor)
        )
        let waiter = host.start(place) { _ in try await first.readiness(for: .read) }
        await host.awaitWaits(1)
        let refused = host.start(place) { _ in try await second.readiness(for: .read) }
        await #expect(throws: SelectorError.alreadyRegistered(a.fd)) { try await refused.value }
        b.write()
        #expect(try await waiter.value == .read)
        // The first one is idle, or lingers.
        let taken = host.start(place) { _ in try await second.readiness(for: .read) }
        #expect(try await taken.value == .read)
        try host.end()
    }

    @Test(arguments: backends, Place.allCases)
    func unregisterEndsAllWaitsForGood(_ backend: String, _ place: Place) async throws {
        let host = try Host(backend)
        let (a, _b) = Descriptor.socketPair()
        let file = AsyncFile(a.fd, on: host.executor)
        let waiters = (0..<3).map { _ in
            host.start(place) { _ in try await file.readiness(for: .read, timeout: .seconds(600)) }
        }
        await host.awaitWaits(3)
        file.unregister()
        #expect(try host.executor.registered == [])
        file.unregister()
        let late = host.start(place) { _ in try await file.readiness(for: .write) }
        for waiter in waiters + [late] {
            await #expect(throws: SelectorError.notRegistered(a.fd)) { try await waiter.value }
        }
        try host.end()
        withExtendedLifetime(_b) {}
    }

    @Test(arguments: backends, Place.allCases)
    func aReusedNumberIsHeardOf(_ backend: String, _ place: Place) async throws {
        let host = try Host(backend)
        for isSettled in [false, true] {
            let (a, b) = Descriptor.socketPair()
            let (c, d) = Descriptor.socketPair()
            let old = AsyncFile(a.fd, on: host.executor)
            b.write()
            // Within one job of the executor the first registration still lingers, or is spent.
            let used = host.start(place) { _ in
                let first = try await old.readiness(for: .read)
                a.replace(with: c)
                return first
            }
            #expect(try await used.value == .read)
            if isSettled { await host.awaitRounds() }
            let new = AsyncFile(a.fd, on: host.executor)
            let waiter = host.start(place) { _ in try await new.readiness(for: .read) }
            await host.awaitWaits(1)
            d.write()
            #expect(try await waiter.value == .read)
            withExtendedLifetime((old, c)) {}
        }
        try host.end()
    }

    @Test(arguments: backends, Place.allCases)
    func stopEndsAllWaits(_ backend: String, _ place: Place) async throws {
        let host = try Host(backend)
        let pairs = (0..<3).map { _ in Descriptor.socketPair() }
        let files = pairs.map { AsyncFile($0.0.fd, on: host.executor) }
        // Those who come back through another executor find nobody to run them.
        let waiters = files.map { file in
            host.start(place) { _ in
                await #expect(throws: SelectorError.closed) { try await file.readiness(for: .read) }
                await #expect(throws: SelectorError.closed) { try await file.readiness(for: .read) }
            }
        }
        await host.awaitWaits(3)
        host.executor.stop()
        try host.thread.join()
        #expect(try host.executor.registered == [])
        try await finish(waiters, of: host.executor)
    }

    @Test(arguments: backends, Place.allCases)
    func wrongArgumentsAreRefused(_ backend: String, _ place: Place) async throws {
        let host = try Host(backend)
        let (a, _b) = Descriptor.socketPair()
        let file = AsyncFile(a.fd, on: host.executor)
        for events in [[], .oneShot, [.read, .edge], EventMask(rawValue: 0x8000)] as [EventMask] {
            let task = host.start(place) { _ in try await file.readiness(for: events) }
            await #expect(throws: SelectorError.invalidEvents) { try await task.value }
        }
        let negative = AsyncFile(Int32(-1), on: host.executor)
        let task = host.start(place) { _ in try await negative.readiness(for: .read) }
        await #expect(throws: SelectorError.invalidFileDescriptor) { try await task.value }
        a.close()
        let closed = host.start(place) { _ in try await file.readiness(for: .read) }
        await #expect(throws: SelectorError.system(EBADF)) { try await closed.value }
        try host.end()
        withExtendedLifetime(_b) {}
    }

    @Test(arguments: backends, Place.allCases)
    func aHandleThatGoesLeavesNothingBehind(_ backend: String, _ place: Place) async throws {
        let host = try Host(backend)
        let (a, b) = Descriptor.socketPair()
        b.write()
        // Lingering or spent in the task's next step; idle if it was cancelled.
        let task = host.start(place) { _ in
            do {
                let file = AsyncFile(a.fd, on: host.executor)
                _ = try await file.readiness(for: .read)
                #expect(try host.executor.registered == [a.fd])
                withExtendedLifetime(file) {}
            }
            #expect(try host.executor.registered == [])
            let idle = AsyncFile(a.fd, on: host.executor)
            _ = try await idle.readiness(for: .priority, timeout: .zero)
            #expect(try host.executor.registered == [])
        }
        try await task.value
        try host.end()
    }

    // MARK: withAsyncFile

    @Test(arguments: backends, Place.allCases)
    func aHandleOfABodyIsUnregisteredAtItsEnd(_ backend: String, _ place: Place) async throws {
        let host = try Host(backend)
        let (a, b) = Descriptor.socketPair()
        let task = host.start(place) { isolation in
            try await withAsyncFile(a.fd, on: host.executor) { (file) async throws in
                _ = isolation
                for _ in 0..<3 {
                    b.write()
                    #expect(try await file.readiness(for: .read) == .read)
                    a.read()
                    #expect(try await file.readiness(for: .read, timeout: .zero) == [])
                }
                return file
            }
        }
        let file = try await task.value
        #expect(try host.executor.registered == [])
        await #expect(throws: SelectorError.notRegistered(a.fd)) {
            try await file.readiness(for: .write)
        }
        try host.end()
    }

    @Test(arguments: backends, Place.allCases)
    func cancellationEndsTheWaitsOfABody(_ backend: String, _ place: Place) async throws {
        let host = try Host(backend)
        let (a, b) = Descriptor.socketPair()
        let task = host.start(place) { isolation in
            try await withAsyncFile(a.fd, on: host.executor) { (file) async throws in
                _ = isolation
                #expect(try await file.readiness(for: .write) == .write)
                await #expect(throws: CancellationError.self) {
                    try await file.readiness(for: .read)
                }
                #expect(try host.executor.registered == [])
                // From now on each ends at once.
                await #expect(throws: CancellationError.self) {
                    try await file.readiness(for: .write)
                }
            }
            return 1
        }
        while host.executor.waitCount == 0 { await Task.yield() }
        while try host.executor.registered != [a.fd] { await Task.yield() }
        await host.awaitRounds()
        task.cancel()
        #expect(try await task.value == 1)
        let late = host.start(place) { isolation in
            withUnsafeCurrentTask { $0?.cancel() }
            return try await withAsyncFile(a.fd, on: host.executor) { (file) async throws in
                _ = isolation
                return try await file.readiness(for: .write)
            }
        }
        await #expect(throws: CancellationError.self) { try await late.value }
        try host.end()
        withExtendedLifetime(b) {}
    }

    /// The handler of the body's task is not for others.
    @Test(arguments: backends, Place.allCases)
    func anotherTaskMayUseTheHandleOfABody(_ backend: String, _ place: Place) async throws {
        let host = try Host(backend)
        let (a, b) = Descriptor.socketPair()
        let task = host.start(place) { isolation in
            try await withAsyncFile(a.fd, on: host.executor) { (file) async throws in
                _ = isolation
                let others = (0..<2).map { _ in
                    Task { try await file.readiness(for: .read) }
                }
                let immediate = Task.immediate { try await file.readiness(for: .read) }
                await host.awaitWaits(3)
                others[0].cancel()
                immediate.cancel()
                for cancelled in [others[0], immediate] {
                    await #expect(throws: CancellationError.self) { try await cancelled.value }
                }
                b.write()
                #expect(try await file.readiness(for: .read) == .read)
                #expect(try await others[1].value == .read)
            }
        }
        try await task.value
        try host.end()
    }

    @Test(arguments: backends)
    func numbersAreReusedAcrossThreads(_ backend: String) async throws {
        let host = try Host(backend)
        let tasks = (0..<6).map { index in
            host.start(index % 2 == 0 ? .inside : .outside) { _ in
                for _ in 0..<100 {
                    let (a, b) = Descriptor.socketPair(keepingNumbers: true)
                    try await withAsyncFile(a.fd, on: host.executor) { (file) async throws in
                        #expect(try await file.readiness(for: .read, timeout: .zero) == [])
                        b.write()
                        #expect(try await file.readiness(for: .read) == .read)
                    }
                    withExtendedLifetime((a, b)) {}
                }
            }
        }
        for task in tasks { try await task.value }
        #expect(try host.executor.registered == [])
        try host.end()
    }

    // MARK: retry

    @Test(arguments: backends, Place.allCases)
    func retryWaitsWhereTheSystemSaysSo(_ backend: String, _ place: Place) async throws {
        let host = try Host(backend)
        let (a, b) = Descriptor.socketPair()
        let file = AsyncFile(a.fd, on: host.executor)
        let receive = { @Sendable (fd: Int32) in
            var byte: UInt8 = 0
            return recv(fd, &byte, 1, Int32(MSG_DONTWAIT))
        }
        let reader = host.start(place) { _ in try await file.retry(for: .read, receive) }
        await host.awaitWaits(1)
        b.write()
        #expect(try await reader.value == 1)
        let late = host.start(place) { _ in
            try await file.retry(for: .read, timeout: .milliseconds(1), receive)
        }
        await #expect(throws: SelectorError.system(ETIMEDOUT)) { try await late.value }
        let failed = host.start(place) { _ in
            try await file.retry(for: .read) { read($0, nil, 1) }
        }
        b.write()
        await #expect(throws: SelectorError.system(EFAULT)) { try await failed.value }
        try host.end()
    }
}

/// Runs an executor that was stopped until some tasks have ended.
func finish(
    _ tasks: [Task<Void, any Error>], of executor: SelectorExecutor
) async throws {
    let all = Task.detached { for task in tasks { try await task.value } }
    let isDone = Flag()
    let watcher = Task.detached {
        _ = await all.result
        isDone.set()
    }
    while !isDone.isSet {
        try executor.run()
        await Task.yield()
    }
    await watcher.value
    try await all.value
}
