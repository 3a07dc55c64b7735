import CSelectorsPlatform
import CSelectors

/// What a descriptor is watched for, in the `SEL_` bits of the C header, and its translation to the
/// bits of poll(2) and back.
package enum Interest {
    static let read = UInt32(SEL_READ)
    static let write = UInt32(SEL_WRITE)
    static let priority = UInt32(SEL_PRIORITY)
    static let edge = UInt32(SEL_EDGE)
    static let oneShot = UInt32(SEL_ONESHOT)
    static let exclusive = UInt32(SEL_EXCLUSIVE)

    static let readHangup = UInt32(SEL_READ_HANGUP)

    /// What can be waited for.
    private static let readiness = read | write | priority | readHangup
    private static let all = readiness | edge | oneShot | exclusive

    /// Tells whether a mask may be registered: something to wait for, no unknown bits, and nothing but
    /// reading and writing that is exclusive, for no kernel has that.
    @inline(__always)
    package static func isValid(_ events: UInt32) -> Bool {
        events & readiness != 0 && events & ~all == 0
            && (events & exclusive == 0 || events & (priority | readHangup) == 0)
    }

    /// Tells whether a mask asks for reading, writing or both, and for nothing else.
    @inline(__always)
    static func isUsual(_ events: UInt32) -> Bool {
        events &- 1 < read | write
    }

    /// The mask that a backend is asked to watch, if it can do all of it.
    @inline(__always)
    static func pollMask(_ events: UInt32) -> UInt32 {
        guard isUsual(events) else { return fullPollMask(events) }
        // The divisors are powers of two: this compiles to shifts.
        return (events & read) &* (PollMask.read | PollMask.readHangup)
            | (events & write) / write &* PollMask.write
    }

    @inline(never)
    private static func fullPollMask(_ events: UInt32) -> UInt32 {
        var mask: UInt32 = 0
        if events & read != 0 { mask |= PollMask.read }
        // What is exclusive never has the cause read hang-up, for epoll does not take it then.
        if events & (read | exclusive) == read { mask |= PollMask.readHangup }
        if events & readHangup != 0 { mask |= PollMask.readHangup }
        if events & write != 0 { mask |= PollMask.write }
        if events & priority != 0 { mask |= PollMask.priority }
        if events & edge != 0 { mask |= PollMask.edge }
        // epoll has not both.
        if events & (oneShot | exclusive) == oneShot { mask |= PollMask.oneShot }
        if events & exclusive != 0 { mask |= PollMask.exclusive }
        return mask
    }

    /// The bits of a reported mask that make it more than data to read or room to write as was
    /// asked; all, where a mode may end with the report, or a priority be meant.
    @inline(__always)
    static func unusualMask(_ interest: UInt32) -> UInt32 {
        if interest & (edge | oneShot | priority | readHangup) != 0 { return .max }
        // The divisors are powers of two: this compiles to shifts.
        return
            ~((interest & read) / read &* PollMask.read
            | (interest & write) / write &* PollMask.write)
    }

    /// What a mask means that has nothing unusual: 0 for an empty one, and where nothing is
    /// registered.
    @inline(__always)
    static func plainReadiness(_ mask: UInt32, interest: UInt32) -> UInt32 {
        // The bits move to their places; what comes to others is not of such an interest.
        (mask / (PollMask.read / read) | mask / (PollMask.write / write)) & interest
    }

    /// What any mask means for who asked for `interest`: an error or a hang-up wakes all that was
    /// asked.
    static func fullReadiness(_ mask: UInt32, interest: UInt32) -> UInt32 {
        let asked = interest & readiness
        if mask & (PollMask.error | PollMask.hangup | PollMask.invalid) != 0 { return asked }
        let isReadable = mask & (PollMask.read | PollMask.readHangup) != 0
        let isWritable = mask & PollMask.write != 0
        let isUrgent = mask & PollMask.priority != 0
        let hasEnd = mask & PollMask.readHangup != 0
        return
            ((isReadable ? read : 0) | (isWritable ? write : 0) | (isUrgent ? priority : 0)
            | (hasEnd ? readHangup : 0)) & asked
    }

    /// The causes that stand in `sel_event.detail`.
    static func detail(_ mask: UInt32) -> UInt32 {
        (mask & PollMask.hangup != 0 ? UInt32(SEL_HANGUP) : 0)
            | (mask & PollMask.readHangup != 0 ? UInt32(SEL_READ_HANGUP) : 0)
            | (mask & PollMask.error != 0 ? UInt32(SEL_ERROR) : 0)
            | (mask & PollMask.invalid != 0 ? UInt32(SEL_INVALID) : 0)
    }
}
