import CSelectorsPlatform

/// Waits with poll(2), or with ppoll(2) for its resolution if the system has it.
///
/// The kernel looks descriptors up in each wait: it reports a closed one with `POLLNVAL`, and
/// polls whatever file a descriptor refers to at that time.
struct PollBackend: ~Copyable, Facility {
    /// One slot per watched descriptor, without gaps.
    private var slots = Buffer<pollfd>()
    /// The token of each slot.
    private var tokens = Buffer<UInt64>()
    /// The slot of each watched descriptor.
    private var slotOf = Buffer<Int32>()
    private(set) var count = 0
    /// The slot at which the next scan begins, so that events that did not fit come first.
    private var cursor = 0
    private var owed = OwedReports()
    private var hasNanoseconds = true

    init() {}

    static func make() throws(SystemError) -> Backend {
        .poll(try .make(PollBackend()))
    }

    mutating func add(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        try check(platform_check_open(fd))
        try insert(fd, mask: mask, token: token)
    }

    /// Starts to watch a descriptor, whether or not it is open.
    mutating func insert(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        try slotOf.reserve(Int(fd) + 1)
        try owed.reserve(fd)
        try slots.reserve(count + 2)
        try tokens.reserve(count + 1)
        slots[count] = pollfd(fd: fd, events: PollMask.toAsk(mask), revents: 0)
        tokens[count] = token
        slotOf[Int(fd)] = Int32(count)
        owed.forget(fd)
        count += 1
    }

    /// The descriptor that a slot watches.
    func number(at slot: Int) -> Int32 { slots[slot].fd }

    mutating func modify(_ fd: Int32, mask: UInt32, token: UInt64) {
        let slot = Int(slotOf[Int(fd)])
        slots.at(slot).pointee.events = PollMask.toAsk(mask)
        tokens[slot] = token
    }

    mutating func remove(_ fd: Int32) {
        let slot = Int(slotOf[Int(fd)])
        owed.forget(fd)
        count -= 1
        slots[slot] = slots[count]
        tokens[slot] = tokens[count]
        slotOf[Int(slots[slot].fd)] = Int32(slot)
    }

    mutating func reset(afterFork: Bool, place: PlaceDescriptor) {
        removeAll()
    }

    mutating func removeAll() {
        owed.removeAll()
        count = 0
    }

    mutating func wait(
        into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32 {
        try report(try check(poll(owed.count > 0 ? 0 : timeout, signals)), to: events, max: max)
    }

    /// Does what ``wait(into:max:timeout:signals:)`` does, but also returns when `other` is
    /// readable, which it does not report.
    mutating func wait(
        beside other: Int32, into events: UnsafeMutablePointer<BackendEvent>, max: Int32,
        timeout: Int64, signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32 {
        slots[count] = pollfd(fd: other, events: Int16(PollMask.read), revents: 0)
        count += 1
        let ready = poll(owed.count > 0 ? 0 : timeout, signals)
        count -= 1
        let isOtherReady = slots[count].revents != 0
        return try report(
            try check(ready) - (isOtherReady ? 1 : 0), to: events, max: max)
    }

    /// Stores the events of the `found` slots that poll(2) found ready, and the owed ones.
    private mutating func report(
        _ found: Int32, to events: UnsafeMutablePointer<BackendEvent>, max: Int32
    ) throws(SystemError) -> Int32 {
        var ready = found
        if owed.count > 0 { ready += addOwed() }
        if ready == 0 { return 0 }
        let wanted = min(ready, max)
        let (slots, tokens, count) = (slots.at(0), tokens.at(0), count)
        let end = events + Int(wanted)
        var event = events
        var slot = cursor < count ? cursor : 0
        repeat {
            let mask = slots[slot].revents
            if mask != 0 {
                event.pointee = BackendEvent(
                    mask: UInt32(UInt16(bitPattern: mask)), token: tokens[slot])
                event += 1
            }
            slot &+= 1
            if slot == count { slot = 0 }
        } while event != end
        cursor = 0
        if ready > wanted {
            cursor = slot
            keepRest(ready - wanted, from: slot)
        }
        return wanted
    }

    /// Records `count` events that do not fit.
    private mutating func keepRest(_ count: Int32, from first: Int) {
        var (left, slot) = (count, first)
        while left > 0 {
            let entry = slots[slot]
            if entry.revents != 0 {
                owed.keep(entry.fd, UInt16(bitPattern: entry.revents))
                left -= 1
            }
            slot = slot + 1 == self.count ? 0 : slot + 1
        }
    }

    /// Adds the owed events to the kernel's; returns how many more slots are ready.
    private mutating func addOwed() -> Int32 {
        var more: Int32 = 0
        for fd in 0..<owed.limit {
            let mask = owed.take(Int32(fd))
            if mask == 0 { continue }
            let slot = slots.at(Int(slotOf[fd]))
            if slot.pointee.revents == 0 { more += 1 }
            slot.pointee.revents |= Int16(bitPattern: mask)
        }
        return more
    }

    private mutating func poll(_ timeout: Int64, _ signals: UnsafePointer<sigset_t>?) -> Int32 {
        // A sanitizer sees poll(2) use the slots, but not that threads take turns.
        if ThreadOrder.isTold { ThreadOrder.acquire(OpaquePointer(slots.base)) }
        defer { if ThreadOrder.isTold { ThreadOrder.release(OpaquePointer(slots.base)) } }
        if timeout > 0 && hasNanoseconds || signals != nil {
            var time = Timeout.timespec(max(timeout, 0))
            let result = withUnsafePointer(to: &time) {
                platform_ppoll(slots.base, nfds_t(count), timeout < 0 ? nil : $0, signals)
            }
            // poll(2) cannot replace the signal mask atomically.
            if signals != nil || !Timeout.mayBeMissing(result) { return result }
            let other = platform_poll(slots.base, nfds_t(count), Timeout.milliseconds(timeout))
            if other != result { hasNanoseconds = false }
            return other
        }
        return platform_poll(slots.base, nfds_t(count), Timeout.milliseconds(timeout))
    }

    func fileno() -> Int32? { nil }

    func closeAfterFork() {}

    func close() {}
}
