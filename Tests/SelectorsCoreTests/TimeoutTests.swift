import Foundation
import TestSupport
import Testing

@testable import SelectorsCore

/// What becomes of a timeout on its way to the kernel.
@Suite struct TimeoutTests {
    @Test(
        arguments: [
            (0, 0, 0), (1, 0, 1), (999_999_999, 0, 999_999_999), (1_000_000_000, 1, 0),
            (1_000_000_001, 1, 1), (.max, 9_223_372_036, 854_775_807),
        ] as [(Int64, Int, Int)])
    func aTimespecIsExact(nanoseconds: Int64, seconds: Int, rest: Int) {
        let time = Timeout.timespec(nanoseconds)
        #expect(time.tv_sec == seconds)
        #expect(time.tv_nsec == rest)
    }

    @Test(
        arguments: [
            (0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (999_999_000, 999_999),
            (999_999_001, 1_000_000), (.max, 9_223_372_036_854_776),
        ] as [(Int64, Int64)])
    func microsecondsAreRoundedUp(nanoseconds: Int64, microseconds: Int64) {
        #expect(Timeout.microseconds(nanoseconds) == microseconds)
    }

    @Test(
        arguments: [
            (0, 0), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2), (1_500_000_000, 1500),
        ] as [(Int64, Int32)])
    func millisecondsAreRoundedUp(nanoseconds: Int64, milliseconds: Int32) {
        #expect(Timeout.milliseconds(nanoseconds) == milliseconds)
    }

    @Test func millisecondsAreCutToWhatAnIntHolds() {
        let limit = Int64(Int32.max) * 1_000_000
        #expect(Timeout.milliseconds(limit - 1_000_000) == Int32.max - 1)
        #expect(Timeout.milliseconds(limit - 999_999) == .max)
        #expect(Timeout.milliseconds(limit) == .max)
        #expect(Timeout.milliseconds(limit + 1) == .max)
        #expect(Timeout.milliseconds(.max) == .max)
    }

    @Test(arguments: [-1, -999_999, -1_000_000, -5_000_000_000, .min] as [Int64])
    func negativeIsNoLimit(nanoseconds: Int64) {
        #expect(Timeout.milliseconds(nanoseconds) == -1)
    }

    @Test func anyErrorButASignalMayMeanThatACallIsMissing() {
        for result in [-ENOSYS, -EPERM, -EACCES, -EINVAL] as [Int32] {
            #expect(Timeout.mayBeMissing(result))
        }
        for result in [0, 1, ENOSYS, EPERM, -EINTR] as [Int32] {
            #expect(!Timeout.mayBeMissing(result))
        }
    }
}

/// The end of a wait on the monotonic clock.
@Suite struct DeadlineTests {
    @Test func whatRemainsIsTheTimeoutLessTheTimeThatWentBy() {
        let timeout: Int64 = 3_600_000_000_000
        let start = now()
        let deadline = Deadline(after: timeout)
        let remaining = deadline.remaining
        #expect(remaining <= timeout)
        #expect(remaining >= timeout - (now() - start))
        while now() == start {}
        #expect(deadline.remaining < timeout)
    }

    @Test func nothingRemainsOnceTheDeadlineHasPassed() {
        let deadline = Deadline(after: 1)
        let start = now()
        while now() < start + 1000 {}
        #expect(deadline.remaining == 0)
        #expect(Deadline(after: 0).remaining == 0)
    }

    @Test func aDeadlineBeyondTheEndOfTheClockNeverComes() {
        let start = now()
        for timeout in [.max, .max - 1, .max - start / 2] as [Int64] {
            let remaining = Deadline(after: timeout).remaining
            #expect(remaining <= .max - start)
            #expect(remaining >= .max - now())
        }
    }

    @Test func theLastDeadlineOfTheClockIsKept() {
        let before = now()
        let timeout = Int64.max - before - 60_000_000_000
        let remaining = Deadline(after: timeout).remaining
        #expect(remaining <= timeout)
        #expect(remaining >= timeout - (now() - before))
    }
}
