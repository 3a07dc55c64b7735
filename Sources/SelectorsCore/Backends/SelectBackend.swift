import CPlatform

/// Waits with select(2), at pselect(2)'s resolution.
///
/// The kernel's quirks:
/// - `FD_SETSIZE` limits the type `fd_set`, not the system call: the bit sets here have the size
///   that the highest number asks for.
/// - One closed number makes the whole call fail with `EBADF`.
/// - It tells that something is up, not what: hang-up and error look like data. So the ready
///   descriptors, or all of them after `EBADF`, are given to poll(2) for a look. The bits decide
///   who is ready, poll says why.
final class SelectBackend: SelectorBackend {
    private typealias Word = UInt

    /// What is watched for reading and writing, a bit for each number, and the copies that the
    /// kernel writes its answer into.
    private var readSet = Buffer<Word>()
    private var writeSet = Buffer<Word>()
    private var readyToRead = Buffer<Word>()
    private var readyToWrite = Buffer<Word>()
    /// The token of each watched number.
    private var tokens = Buffer<UInt64>()
    /// Room for all that can be ready at once.
    private var ready = Buffer<pollfd>()
    private var count = 0
    /// One more than the highest watched number.
    private var limit = 0
    /// The number at which the next wait begins to look, so that what did not fit comes first.
    private var cursor: Int32 = 0
    private var hasNanoseconds = true

    func add(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        try check(platform_check_open(fd))
        let words = Int(fd) / Word.bitWidth + 1
        try readSet.reserve(words)
        try writeSet.reserve(words)
        try readyToRead.reserve(words)
        try readyToWrite.reserve(words)
        try tokens.reserve(Int(fd) + 1)
        try ready.reserve(count + 1)
        count += 1
        limit = max(limit, Int(fd) + 1)
        modify(fd, mask: mask, token: token)
    }

    func modify(_ fd: Int32, mask: UInt32, token: UInt64) {
        set(fd, in: readSet, to: mask & PollMask.read != 0)
        set(fd, in: writeSet, to: mask & PollMask.write != 0)
        tokens[Int(fd)] = token
    }

    func remove(_ fd: Int32) {
        set(fd, in: readSet, to: false)
        set(fd, in: writeSet, to: false)
        count -= 1
        guard Int(fd) + 1 == limit else { return }
        var word = Int(fd) / Word.bitWidth
        while word >= 0 && readSet[word] | writeSet[word] == 0 { word -= 1 }
        limit =
            word < 0
            ? 0
            : (word + 1) * Word.bitWidth - (readSet[word] | writeSet[word]).leadingZeroBitCount
    }

    func reset(afterFork: Bool) {
        for word in 0..<words {
            readSet[word] = 0
            writeSet[word] = 0
        }
        count = 0
        limit = 0
    }

    func wait(
        into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64
    ) throws(SystemError) -> Int32 {
        for word in 0..<words {
            readyToRead[word] = readSet[word]
            readyToWrite[word] = writeSet[word]
        }
        let result = select(timeout)
        if result == 0 { return 0 }
        if result == -EBADF {
            // What the kernel left in the copies is undefined.
            for word in 0..<words {
                readyToRead[word] = readSet[word]
                readyToWrite[word] = writeSet[word]
            }
        } else {
            try check(result)
        }
        return try explain(into: events, max: max)
    }

    /// The number of words of each set that are in use.
    private var words: Int {
        (limit + Word.bitWidth - 1) / Word.bitWidth
    }

    private func set(_ fd: Int32, in bits: borrowing Buffer<Word>, to isMember: Bool) {
        let word = bits.at(Int(fd) / Word.bitWidth)
        let bit: Word = 1 << Word(Int(fd) % Word.bitWidth)
        if isMember { word.pointee |= bit } else { word.pointee &= ~bit }
    }

    private func select(_ timeout: Int64) -> Int32 {
        let (count, read, write) = (Int32(limit), readyToRead.base, readyToWrite.base)
        if hasNanoseconds {
            var time = Timeout.timespec(max(timeout, 0))
            let result = withUnsafePointer(to: &time) {
                platform_pselect(count, read, write, nil, timeout < 0 ? nil : $0)
            }
            if !Timeout.isMissing(result) { return result }
            hasNanoseconds = false
        }
        var time = Timeout.timeval(max(timeout, 0))
        return withUnsafeMutablePointer(to: &time) {
            platform_select(count, read, write, nil, timeout < 0 ? nil : $0)
        }
    }

    /// Asks poll(2) about each descriptor whose bit is set in the copies, and reports up to `max`.
    private func explain(
        into events: UnsafeMutablePointer<BackendEvent>, max: Int32
    ) throws(SystemError) -> Int32 {
        var asked = 0
        var start = 0
        for word in 0..<words {
            var bits = readyToRead[word] | readyToWrite[word]
            while bits != 0 {
                let bit = bits.trailingZeroBitCount
                bits &= bits &- 1
                let fd = Int32(word * Word.bitWidth + bit)
                if fd < cursor { start = asked + 1 }
                ready[asked] = pollfd(fd: fd, events: interest(word, bit), revents: 0)
                asked += 1
            }
        }
        try check(platform_poll(ready.base, nfds_t(asked), 0))
        cursor = 0
        var found: Int32 = 0
        for step in 0..<asked {
            let slot = start + step < asked ? start + step : start + step - asked
            let entry = ready[slot]
            if entry.revents == 0 { continue }
            if found == max {
                cursor = entry.fd
                break
            }
            events[Int(found)] = BackendEvent(
                mask: UInt32(UInt16(bitPattern: entry.revents)), token: tokens[Int(entry.fd)])
            found += 1
        }
        return found
    }

    /// What a number is watched for, as poll(2) asks for it.
    private func interest(_ word: Int, _ bit: Int) -> Int16 {
        var mask: UInt32 = 0
        if readSet[word] >> bit & 1 != 0 { mask |= PollMask.read | PollMask.readHangup }
        if writeSet[word] >> bit & 1 != 0 { mask |= PollMask.write }
        return Int16(truncatingIfNeeded: mask)
    }

    func fileno() -> Int32? { nil }

    func close() {}
}
