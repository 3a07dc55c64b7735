import CSelectorsPlatform

/// Events that poll(2) or select(2) returned, that did not fit into the caller's array, and that
/// the kernel will not report again.
///
/// This concerns files whose readiness is cleared by polling them: some of `/proc`, and the rings
/// of perf_event_open(2). For all other files the next wait finds out whether they are still
/// ready, and an event that no longer holds must not be reported.
struct OwedReports: ~Copyable {
    private enum Kind: UInt8 {
        case unknown, lasting, cleared
    }

    /// The owed mask of each descriptor, and the kind of its file.
    private var masks = Buffer<UInt16>()
    private var kinds = Buffer<UInt8>()
    /// The number of descriptors with an owed mask.
    private(set) var count = 0
    /// One more than the highest such descriptor.
    private(set) var limit = 0

    /// Makes room for a descriptor.
    mutating func reserve(_ fd: Int32) throws(SystemError) {
        try masks.reserve(Int(fd) + 1)
        try kinds.reserve(Int(fd) + 1)
    }

    /// Forgets a descriptor; called when it is added and when it is removed.
    mutating func forget(_ fd: Int32) {
        if masks[Int(fd)] != 0 { count -= 1 }
        masks[Int(fd)] = 0
        kinds[Int(fd)] = Kind.unknown.rawValue
    }

    mutating func removeAll() {
        for fd in 0..<limit { masks[fd] = 0 }
        (count, limit) = (0, 0)
    }

    /// Whether polling the file clears its readiness, so that a second poll may report nothing.
    mutating func isCleared(_ fd: Int32) -> Bool {
        if kinds[Int(fd)] == Kind.unknown.rawValue {
            let kind = platform_is_cleared_by_poll(fd) != 0 ? Kind.cleared : Kind.lasting
            kinds[Int(fd)] = kind.rawValue
        }
        return kinds[Int(fd)] == Kind.cleared.rawValue
    }

    /// Records an event that does not fit, if the kernel will not report it again.
    mutating func keep(_ fd: Int32, _ mask: UInt16) {
        guard mask & UInt16(PollMask.invalid) == 0, isCleared(fd) else { return }
        if masks[Int(fd)] == 0 { count += 1 }
        // Not |=: Swift 6.3 miscompiles it here with the thread sanitizer.
        masks[Int(fd)] = masks[Int(fd)] | mask
        limit = max(limit, Int(fd) + 1)
    }

    /// Returns the owed mask of a descriptor and clears it; 0: none.
    ///
    /// Returns 0 if the descriptor now refers to a file of another kind.
    mutating func take(_ fd: Int32) -> UInt16 {
        let mask = masks[Int(fd)]
        if mask == 0 { return 0 }
        masks[Int(fd)] = 0
        count -= 1
        if count == 0 { limit = 0 }
        return platform_is_cleared_by_poll(fd) != 0 ? mask : 0
    }
}
