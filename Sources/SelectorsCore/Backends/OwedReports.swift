import CSelectorsPlatform

/// What poll(2) or select(2) has told of files whose poll clears what it tells, and what did not fit
/// into the caller's array: nobody would hear of it again.
///
/// Such files are some of `/proc`, and the rings of perf_event_open(2). Of all others the next look tells
/// whether they are still ready, and what is over must not be reported.
struct OwedReports: ~Copyable {
    private enum Kind: UInt8 {
        case unknown, lasting, cleared
    }

    /// The mask that is owed, and what is known of the file, for each number.
    private var masks = Buffer<UInt16>()
    private var kinds = Buffer<UInt8>()
    /// How many numbers are owed something.
    private(set) var count = 0
    /// One more than the highest of them.
    private(set) var limit = 0

    /// Makes room for a number.
    mutating func reserve(_ fd: Int32) throws(SystemError) {
        try masks.reserve(Int(fd) + 1)
        try kinds.reserve(Int(fd) + 1)
    }

    /// Forgets a number, at both ends of its being watched.
    mutating func forget(_ fd: Int32) {
        if masks[Int(fd)] != 0 { count -= 1 }
        masks[Int(fd)] = 0
        kinds[Int(fd)] = Kind.unknown.rawValue
    }

    mutating func removeAll() {
        for fd in 0..<limit { masks[fd] = 0 }
        (count, limit) = (0, 0)
    }

    /// Whether a second look at the file may show nothing of what the first one has told.
    mutating func isCleared(_ fd: Int32) -> Bool {
        if kinds[Int(fd)] == Kind.unknown.rawValue {
            let kind = platform_is_cleared_by_poll(fd) != 0 ? Kind.cleared : Kind.lasting
            kinds[Int(fd)] = kind.rawValue
        }
        return kinds[Int(fd)] == Kind.cleared.rawValue
    }

    /// Takes note of a report that does not fit.
    mutating func keep(_ fd: Int32, _ mask: UInt16) {
        guard mask & UInt16(PollMask.invalid) == 0, isCleared(fd) else { return }
        if masks[Int(fd)] == 0 { count += 1 }
        // Not |=: with the thread sanitizer Swift 6.3 makes broken code of that here.
        masks[Int(fd)] = masks[Int(fd)] | mask
        limit = max(limit, Int(fd) + 1)
    }

    /// Gives what a number is owed, and forgets that; 0: nothing.
    ///
    /// A number that names a file of another kind by now is owed nothing.
    mutating func take(_ fd: Int32) -> UInt16 {
        let mask = masks[Int(fd)]
        if mask == 0 { return 0 }
        masks[Int(fd)] = 0
        count -= 1
        if count == 0 { limit = 0 }
        return platform_is_cleared_by_poll(fd) != 0 ? mask : 0
    }
}
