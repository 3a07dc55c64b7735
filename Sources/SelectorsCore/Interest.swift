import CPlatform
import CSelectors

/// What a descriptor is watched for, in the `SEL_` bits of the C header, and its translation to the
/// bits of poll(2) and back.
enum Interest {
    static let read = UInt32(SEL_READ)
    static let write = UInt32(SEL_WRITE)
    private static let all = read | write

    /// Tells whether a mask may be registered: some of the known bits and no other.
    @inline(__always)
    static func isValid(_ events: UInt32) -> Bool {
        events != 0 && events & ~all == 0
    }

    /// The mask that a backend is asked to watch.
    static func pollMask(_ events: UInt32) -> UInt32 {
        (events & read != 0 ? PollMask.read | PollMask.readHangup : 0)
            | (events & write != 0 ? PollMask.write : 0)
    }

    /// Tells whether a reported mask speaks of data alone, and not of an error or a hang-up.
    @inline(__always)
    static func isPlain(_ mask: UInt32) -> Bool {
        mask & ~(PollMask.read | PollMask.write) == 0
    }

    /// What a plain mask means for who asked for `interest`: 0 where it is none of his business.
    @inline(__always)
    static func readiness(_ mask: UInt32, interest: UInt32) -> UInt32 {
        // The divisors are powers of two: this compiles to shifts.
        ((mask & PollMask.read) / PollMask.read &* read
            | (mask & PollMask.write) / PollMask.write &* write) & interest
    }

    /// What any mask means for who asked for `interest`: an error or a hang-up wakes all that was
    /// asked.
    static func fullReadiness(_ mask: UInt32, interest: UInt32) -> UInt32 {
        if mask & (PollMask.error | PollMask.hangup | PollMask.invalid) != 0 { return interest }
        let isReadable = mask & (PollMask.read | PollMask.readHangup) != 0
        let isWritable = mask & PollMask.write != 0
        return ((isReadable ? read : 0) | (isWritable ? write : 0)) & interest
    }

    /// The causes that stand in `sel_event.detail`.
    static func detail(_ mask: UInt32) -> UInt32 {
        (mask & PollMask.hangup != 0 ? UInt32(SEL_HANGUP) : 0)
            | (mask & PollMask.readHangup != 0 ? UInt32(SEL_READ_HANGUP) : 0)
            | (mask & PollMask.error != 0 ? UInt32(SEL_ERROR) : 0)
            | (mask & PollMask.invalid != 0 ? UInt32(SEL_INVALID) : 0)
    }
}
