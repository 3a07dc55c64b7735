import CSelectorsPlatform

/// Waits with select(2), at pselect(2)'s resolution.
///
/// The kernel's quirks:
/// - `FD_SETSIZE` limits the type `fd_set`, not the system call: the bit sets here are as large as
///   the highest descriptor requires.
/// - One closed descriptor makes the whole call fail with `EBADF`, unless it is beyond the end of
///   the kernel's descriptor table.
/// - It does not report the cause: hang-up and error look like data. So the ready descriptors, or
///   all of them after `EBADF`, are passed to poll(2). The bits decide which descriptors are
///   ready; poll(2) adds the cause.
struct SelectBackend: ~Copyable, Facility {
    /// The descriptors that are watched for one kind of readiness.
    private struct NumberSet: ~Copyable {
        typealias Word = UInt

        /// One bit per descriptor.
        private(set) var members = Buffer<Word>()
        /// The copy that the kernel overwrites with its result.
        private var ready = Buffer<Word>()
        private var count = 0

        @inline(never)
        mutating func reserve(_ words: Int) throws(SystemError) {
            try members.reserve(words)
            try ready.reserve(words)
        }

        @inline(never)
        mutating func set(_ fd: Int32, to isMember: Bool) {
            let word = members.at(Int(fd) / Word.bitWidth)
            let bit: Word = 1 << Word(Int(fd) % Word.bitWidth)
            if (word.pointee & bit != 0) == isMember { return }
            word.pointee ^= bit
            count += isMember ? 1 : -1
        }

        func contains(_ fd: Int32) -> Bool {
            members[Int(fd) / Word.bitWidth] >> (Int(fd) % Word.bitWidth) & 1 != 0
        }

        /// The argument for the kernel: `nil` if the set is empty, which saves the kernel a scan.
        var question: UnsafeMutablePointer<Word>? { count > 0 ? ready.base : nil }

        /// Returns whether the kernel's result contains a descriptor.
        func answers(_ fd: Int32) -> Bool {
            answer(Int(fd) / Word.bitWidth) >> (Int(fd) % Word.bitWidth) & 1 != 0
        }

        /// Adds a member to the kernel's result.
        @inline(never)
        func addAnswer(_ fd: Int32) {
            guard contains(fd) else { return }
            ready.at(Int(fd) / Word.bitWidth).pointee |= 1 << Word(Int(fd) % Word.bitWidth)
        }

        /// A word of the kernel's result.
        func answer(_ word: Int) -> Word { count > 0 ? ready[word] : 0 }

        /// Copies the members into the argument for the kernel.
        @inline(never)
        func prepare(_ words: Int) {
            guard count > 0 else { return }
            for word in 0..<words { ready[word] = members[word] }
        }

        @inline(never)
        mutating func removeAll(_ words: Int) {
            for word in 0..<words { members[word] = 0 }
            count = 0
        }
    }

    private var reading = NumberSet()
    private var writing = NumberSet()
    private var urgent = NumberSet()
    /// The token of each watched descriptor.
    private var tokens = Buffer<UInt64>()
    /// Room for all watched descriptors, for poll(2).
    private var ready = Buffer<pollfd>()
    private var count = 0
    /// One more than the highest watched descriptor.
    private var limit = 0
    /// The descriptor at which the next scan begins, so that events that did not fit come first.
    private var cursor: Int32 = 0
    private var owed = OwedReports()
    private var hasNanoseconds = true

    static func make() throws(SystemError) -> Backend {
        .select(try .make(SelectBackend()))
    }

    mutating func add(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        try check(platform_check_open(fd))
        let words = Int(fd) / NumberSet.Word.bitWidth + 1
        try reading.reserve(words)
        try writing.reserve(words)
        try urgent.reserve(words)
        try tokens.reserve(Int(fd) + 1)
        try owed.reserve(fd)
        try ready.reserve(count + 1)
        owed.forget(fd)
        count += 1
        limit = max(limit, Int(fd) + 1)
        modify(fd, mask: mask, token: token)
    }

    mutating func modify(_ fd: Int32, mask: UInt32, token: UInt64) {
        reading.set(fd, to: mask & PollMask.read != 0)
        writing.set(fd, to: mask & PollMask.write != 0)
        urgent.set(fd, to: mask & PollMask.priority != 0)
        tokens[Int(fd)] = token
    }

    mutating func remove(_ fd: Int32) {
        modify(fd, mask: 0, token: 0)
        owed.forget(fd)
        count -= 1
        guard Int(fd) + 1 == limit else { return }
        var word = words - 1
        while word >= 0 && members(word) == 0 { word -= 1 }
        limit = (word + 1) * NumberSet.Word.bitWidth
        if word >= 0 { limit -= members(word).leadingZeroBitCount }
    }

    mutating func reset(afterFork: Bool, place: PlaceDescriptor) {
        reading.removeAll(words)
        writing.removeAll(words)
        urgent.removeAll(words)
        owed.removeAll()
        count = 0
        limit = 0
    }

    mutating func wait(
        into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32 {
        prepare()
        // The kernel ignores descriptors beyond its table's end, which close_range(2) may have
        // lowered.
        let isCut = limit > 0 && platform_check_open(Int32(limit) - 1) < 0
        let result = isCut ? -EBADF : select(owed.count > 0 ? 0 : timeout, signals)
        if result == 0 && owed.count == 0 { return 0 }
        if result == -EBADF {
            // The copies are undefined after an error.
            prepare()
        } else {
            try check(result)
        }
        for fd in 0..<Int32(owed.limit) {
            let mask = UInt32(owed.take(fd))
            let hasCause = mask & (PollMask.error | PollMask.hangup) != 0
            if hasCause || mask & PollMask.read != 0 { reading.addAnswer(fd) }
            if hasCause || mask & PollMask.write != 0 { writing.addAnswer(fd) }
            if hasCause || mask & PollMask.priority != 0 { urgent.addAnswer(fd) }
        }
        return try explain(into: events, max: max, isTold: result >= 0)
    }

    private func prepare() {
        reading.prepare(words)
        writing.prepare(words)
        urgent.prepare(words)
    }

    /// The number of words of each set that are in use.
    private var words: Int {
        (limit + NumberSet.Word.bitWidth - 1) / NumberSet.Word.bitWidth
    }

    /// A word of the union of the three sets.
    private func members(_ word: Int) -> NumberSet.Word {
        reading.members[word] | writing.members[word] | urgent.members[word]
    }

    private mutating func select(_ timeout: Int64, _ signals: UnsafePointer<sigset_t>?) -> Int32 {
        let count = Int32(limit)
        if hasNanoseconds || signals != nil {
            var time = Timeout.timespec(max(timeout, 0))
            let result = withUnsafePointer(to: &time) {
                platform_pselect(
                    count, reading.question, writing.question, urgent.question,
                    timeout < 0 ? nil : $0, signals)
            }
            // select(2) cannot replace the signal mask atomically.
            if signals != nil || !Timeout.mayBeMissing(result) || result == -EBADF { return result }
            prepare()
            let other = selectForMicroseconds(timeout)
            if other != result { hasNanoseconds = false }
            return other
        }
        return selectForMicroseconds(timeout)
    }

    private func selectForMicroseconds(_ timeout: Int64) -> Int32 {
        platform_select(
            Int32(limit), reading.question, writing.question, urgent.question,
            timeout < 0 ? -1 : Timeout.microseconds(timeout))
    }

    /// Polls each descriptor whose bit is set in the copies, and reports up to `max` events.
    ///
    /// If `isTold`, the bits are the kernel's result. They are reported even if poll(2) finds
    /// nothing, because select(2) may have cleared the readiness of some files.
    private mutating func explain(
        into events: UnsafeMutablePointer<BackendEvent>, max: Int32, isTold: Bool
    ) throws(SystemError) -> Int32 {
        var asked = 0
        var start = 0
        for word in 0..<words {
            var bits = reading.answer(word) | writing.answer(word) | urgent.answer(word)
            while bits != 0 {
                let bit = bits.trailingZeroBitCount
                bits &= bits &- 1
                let fd = Int32(word * NumberSet.Word.bitWidth + bit)
                if fd < cursor { start = asked + 1 }
                ready[asked] = pollfd(fd: fd, events: interest(fd), revents: 0)
                asked += 1
            }
        }
        // As in PollBackend.poll.
        if ThreadOrder.isTold { ThreadOrder.acquire(OpaquePointer(ready.base)) }
        let result = platform_poll(ready.base, nfds_t(asked), 0)
        if ThreadOrder.isTold { ThreadOrder.release(OpaquePointer(ready.base)) }
        if result < 0 {
            // After a signal or `ENOMEM` the next wait reports what the kernel does not report
            // again.
            if isTold {
                for slot in 0..<asked { owed.keep(ready[slot].fd, told(ready[slot].fd)) }
            }
            throw SystemError(0 &- result)
        }
        // These make a descriptor ready for everything that it is watched for.
        let causes = UInt16(PollMask.error | PollMask.hangup | PollMask.invalid)
        cursor = 0
        var found: Int32 = 0
        for step in 0..<asked {
            let slot = start + step < asked ? start + step : start + step - asked
            let fd = ready[slot].fd
            var mask = UInt16(bitPattern: ready[slot].revents)
            if isTold && mask & causes == 0 { mask = complete(mask, of: fd) }
            if mask == 0 { continue }
            if found == max {
                if cursor == 0 { cursor = fd }
                owed.keep(fd, mask)
                continue
            }
            events[Int(found)] = BackendEvent(mask: UInt32(mask), token: tokens[Int(fd)])
            found += 1
        }
        return found
    }

    /// Adds to poll(2)'s mask what select(2) has reported and thereby cleared.
    private mutating func complete(_ mask: UInt16, of fd: Int32) -> UInt16 {
        let told = told(fd)
        if told & ~mask == 0 || mask != 0 && !owed.isCleared(fd) { return mask }
        return mask | told
    }

    /// The mask of a descriptor according to the kernel's result.
    @inline(never)
    private func told(_ fd: Int32) -> UInt16 {
        let mask =
            (reading.answers(fd) ? PollMask.read : 0) | (writing.answers(fd) ? PollMask.write : 0)
            | (urgent.answers(fd) ? PollMask.priority : 0)
        return UInt16(truncatingIfNeeded: mask)
    }

    /// The `events` field with which poll(2) is asked about a descriptor.
    @inline(never)
    private func interest(_ fd: Int32) -> Int16 {
        var mask: UInt32 = 0
        if reading.contains(fd) { mask |= PollMask.read | PollMask.readHangup }
        if writing.contains(fd) { mask |= PollMask.write }
        if urgent.contains(fd) { mask |= PollMask.priority }
        return PollMask.toAsk(mask)
    }

    func fileno() -> Int32? { nil }

    func closeAfterFork() {}

    func close() {}
}
