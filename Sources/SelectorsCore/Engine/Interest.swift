import CSelectorsPlatform
import CSelectors

/// What a descriptor is watched for, in the `SEL_` bits of the C header, and the translation to the
/// bits of poll(2) and back.
package enum Interest {
    static let read = UInt32(SEL_READ)
    static let write = UInt32(SEL_WRITE)
    static let priority = UInt32(SEL_PRIORITY)
    static let edge = UInt32(SEL_EDGE)
    static let oneShot = UInt32(SEL_ONESHOT)
    static let exclusive = UInt32(SEL_EXCLUSIVE)

    static let readHangup = UInt32(SEL_READ_HANGUP)

    /// The readiness bits.
    private static let readiness = read | write | priority | readHangup
    private static let all = readiness | edge | oneShot | exclusive

    /// Returns whether a mask may be registered.
    ///
    /// It must contain a readiness bit and no unknown bits. Exclusive interest is for reading and
    /// writing only, because no kernel supports more.
    @inline(__always)
    package static func isValid(_ events: UInt32) -> Bool {
        events & readiness != 0 && events & ~all == 0
            && (events & exclusive == 0 || events & (priority | readHangup) == 0)
    }

    /// Returns whether a mask asks for reading, writing or both, and for nothing else.
    @inline(__always)
    static func isUsual(_ events: UInt32) -> Bool {
        events &- 1 < read | write
    }

    /// The mask that the backend is asked to watch, if it supports all of it.
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
        // epoll rejects EPOLLRDHUP together with EPOLLEXCLUSIVE.
        if events & (read | exclusive) == read { mask |= PollMask.readHangup }
        if events & readHangup != 0 { mask |= PollMask.readHangup }
        if events & write != 0 { mask |= PollMask.write }
        if events & priority != 0 { mask |= PollMask.priority }
        if events & edge != 0 { mask |= PollMask.edge }
        // epoll rejects EPOLLONESHOT together with EPOLLEXCLUSIVE.
        if events & (oneShot | exclusive) == oneShot { mask |= PollMask.oneShot }
        if events & exclusive != 0 { mask |= PollMask.exclusive }
        return mask
    }

    /// The bits that make a report more than plain read or write readiness that was asked for.
    ///
    /// These are all bits if the interest has a delivery mode, priority or read hang-up.
    @inline(__always)
    static func unusualMask(_ interest: UInt32) -> UInt32 {
        if interest & (edge | oneShot | priority | readHangup) != 0 { return .max }
        // The divisors are powers of two: this compiles to shifts.
        return
            ~((interest & read) / read &* PollMask.read
            | (interest & write) / write &* PollMask.write)
    }

    /// The readiness in a mask without unusual bits; 0 for an empty mask or an empty interest.
    @inline(__always)
    static func plainReadiness(_ mask: UInt32, interest: UInt32) -> UInt32 {
        // Each shift moves one bit into place. Other bits end up where such an interest has none.
        (mask / (PollMask.read / read) | mask / (PollMask.write / write)) & interest
    }

    /// The readiness in any mask for an interest: an error or a hang-up makes all of it ready.
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

    /// The causes for `sel_event.detail`.
    static func detail(_ mask: UInt32) -> UInt32 {
        (mask & PollMask.hangup != 0 ? UInt32(SEL_HANGUP) : 0)
            | (mask & PollMask.readHangup != 0 ? UInt32(SEL_READ_HANGUP) : 0)
            | (mask & PollMask.error != 0 ? UInt32(SEL_ERROR) : 0)
            | (mask & PollMask.invalid != 0 ? UInt32(SEL_INVALID) : 0)
    }
}
