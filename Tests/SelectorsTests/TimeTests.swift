import Selectors
import TestSupport
import Testing

/// Durations on their way to a backend, and how long a selector waits.
@Suite struct TimeTests {
    @Test(
        arguments: [
            (nil, -1),
            (.zero, 0),
            (.seconds(-1), 0),
            (attoseconds(-1), 0),
            (.seconds(Int64.min), 0),
            (attoseconds(1), 1),
            (attoseconds(999_999_999), 1),
            (.nanoseconds(1), 1),
            (.nanoseconds(1) + attoseconds(1), 2),
            (.microseconds(1500), 1_500_000),
            (.seconds(1) - attoseconds(1), 1_000_000_000),
            (.seconds(1) + attoseconds(1), 1_000_000_001),
            (.nanoseconds(Int64.max), .max),
            (.nanoseconds(Int64.max) - attoseconds(1), .max),
            (.nanoseconds(Int64.max) - .nanoseconds(1), .max - 1),
            (.nanoseconds(Int64.max) + attoseconds(1), .max),
            (.seconds(9_223_372_037), .max),
            (.seconds(Int64.max), .max),
        ] as [(Duration?, Int64)])
    func theBackendWaitsInNanosecondsRoundedUp(timeout: Duration?, nanoseconds: Int64) throws {
        let own = try OwnBackend()
        let selector = try BaseSelector<Void>(backend: own.name)
        let handle = Handle()
        try selector.register(handle, events: .write)
        let before = own.timeouts.count
        #expect(try selector.select(timeout: timeout).count == 1)
        #expect(own.timeouts.dropFirst(before) == [nanoseconds])
        var ready: [ReadyEvent<Void>] = []
        try selector.select(into: &ready, timeout: timeout)
        #expect(own.timeouts.dropFirst(before) == [nanoseconds, nanoseconds])
    }

    @Test(.timeLimit(.minutes(1)), arguments: ["epoll", "poll", "select"])
    func zeroAndLessOnlyLook(backend: String) throws {
        let selector = try BaseSelector<Void>(backend: backend)
        let handle = Handle()
        try selector.register(handle, events: .read)
        for timeout in [.zero, attoseconds(-1), .seconds(-3600), .seconds(Int64.min)] as [Duration]
        {
            let (taken, ready) = try timed { try selector.select(timeout: timeout) }
            #expect(ready.isEmpty)
            #expect(taken < 30_000_000_000)
        }
    }

    @Test(arguments: ["epoll", "poll", "select"])
    func aFractionOfAMillisecondIsWaitedOut(backend: String) throws {
        let selector = try BaseSelector<Void>(backend: backend)
        for timeout in [1_000, 700_000, 2_300_001] as [Int64] {
            let duration = Duration.nanoseconds(timeout) - attoseconds(1)
            let (taken, ready) = try timed { try selector.select(timeout: duration) }
            #expect(ready.isEmpty)
            #expect(taken >= timeout)
        }
    }

    @Test(.timeLimit(.minutes(1)), arguments: ["epoll", "poll", "select"])
    func theLongestTimeEndsWithWhatIsReady(backend: String) throws {
        let selector = try BaseSelector<Void>(backend: backend)
        let handle = Handle()
        try selector.register(handle, events: .write)
        #expect(try selector.select(timeout: .seconds(Int64.max)).count == 1)
    }

    /// In a process of its own, which a trap would end.
    @Test func aDurationOfMoreSecondsThanAnInt64HoldsIsAccepted() async {
        await #expect(processExitsWith: .success) {
            let selector = try PollSelector<Void>()
            let handle = Handle()
            try selector.register(handle, events: .write)
            try #expect(selector.select(timeout: .seconds(Int64.max) * 2).count == 1)
            try #expect(selector.select(timeout: .seconds(Int64.min) * 2).count == 1)
        }
    }
}

/// A duration below the nanosecond.
private func attoseconds(_ count: Int64) -> Duration {
    Duration(secondsComponent: 0, attosecondsComponent: count)
}
