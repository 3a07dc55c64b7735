import CSelectorsPlatform

/// Converts a timeout in nanoseconds to the units of system calls; always rounds up, so that a
/// wait never ends early.
enum Timeout {
    /// To a `timespec`; not negative.
    ///
    /// Exact, unless `time_t` has 32 bits: then it is cut to 68 years, and the engine waits again.
    static func timespec(_ nanoseconds: Int64) -> timespec {
        CSelectorsPlatform.timespec(
            tv_sec: .init(clamping: nanoseconds / 1_000_000_000),
            tv_nsec: .init(truncatingIfNeeded: nanoseconds % 1_000_000_000))
    }

    /// To microseconds, rounded up; not negative.
    static func microseconds(_ nanoseconds: Int64) -> Int64 {
        nanoseconds / 1000 + (nanoseconds % 1000 == 0 ? 0 : 1)
    }

    /// To milliseconds, rounded up and cut to the range of `int` (24 days): the engine waits
    /// again.
    ///
    /// Negative: no limit.
    @inline(__always)
    static func milliseconds(_ nanoseconds: Int64) -> Int32 {
        nanoseconds <= 0 ? (nanoseconds == 0 ? 0 : -1) : positiveMilliseconds(nanoseconds)
    }

    @inline(never)
    private static func positiveMilliseconds(_ nanoseconds: Int64) -> Int32 {
        let milliseconds = nanoseconds / 1_000_000 + (nanoseconds % 1_000_000 == 0 ? 0 : 1)
        return Int32(min(milliseconds, Int64(Int32.max)))
    }

    /// Returns whether a system call may have failed because the kernel or a sandbox lacks it,
    /// with any errno; an older call is tried then.
    static func mayBeMissing(_ result: Int32) -> Bool {
        result < 0 && result != -EINTR
    }
}

/// The point in time at which a wait ends.
struct Deadline {
    /// On the clock of `platform_now`, in nanoseconds.
    let end: Int64

    /// Sets the deadline `timeout` nanoseconds from now; if the clock would overflow, it never
    /// comes.
    init(after timeout: Int64) {
        let (sum, overflow) = platform_now().addingReportingOverflow(timeout)
        end = overflow ? .max : sum
    }

    /// The remaining nanoseconds, at least 0.
    var remaining: Int64 {
        max(0, end &- platform_now())
    }
}
