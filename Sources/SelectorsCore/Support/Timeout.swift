import CSelectorsPlatform

/// Conversions of a timeout in nanoseconds to what system calls take, always rounded up: a wait
/// never ends early.
enum Timeout {
    /// To a `timespec`; not negative.
    ///
    /// It is exact, but where `time_t` has 32 bits and cuts it to 68 years: the engine waits on.
    static func timespec(_ nanoseconds: Int64) -> timespec {
        CSelectorsPlatform.timespec(
            tv_sec: .init(clamping: nanoseconds / 1_000_000_000),
            tv_nsec: .init(truncatingIfNeeded: nanoseconds % 1_000_000_000))
    }

    /// To microseconds, rounded up; not negative.
    static func microseconds(_ nanoseconds: Int64) -> Int64 {
        nanoseconds / 1000 + (nanoseconds % 1000 == 0 ? 0 : 1)
    }

    /// To milliseconds, rounded up and cut to what an `int` holds (24 days): the engine waits on.
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

    /// Tells whether a system call may have been refused because the kernel or a sandbox does not have
    /// it, with whatever errno, so that an older one is to be tried in its place.
    static func mayBeMissing(_ result: Int32) -> Bool {
        result < 0 && result != -EINTR
    }
}

/// The point in time at which a wait ends.
struct Deadline {
    /// On the clock of `platform_now`, in nanoseconds.
    let end: Int64

    /// Sets the deadline `timeout` nanoseconds from now; beyond the clock's end it never comes.
    init(after timeout: Int64) {
        let (sum, overflow) = platform_now().addingReportingOverflow(timeout)
        end = overflow ? .max : sum
    }

    /// The nanoseconds that are left, at least 0.
    var remaining: Int64 {
        max(0, end &- platform_now())
    }
}
