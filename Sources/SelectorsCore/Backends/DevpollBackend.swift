import CSelectorsPlatform

/// Waits with /dev/poll, of Solaris and illumos.
///
/// It has run over an emulation only. The sources are poll(4D) of illumos, and its driver (devpoll.c):
/// - What is written for a descriptor is added to its mask: a change removes it first, in the same
///   write. An invalid descriptor is accepted, and reported with `POLLNVAL`.
/// - A descriptor is looked up by its number. It is not removed by close(2): then it may or may not be
///   reported, and what is reported of a reused number is undefined until it is written again.
/// - The scan resumes where the last one stopped, so that reports that did not fit come first.
/// - `dp_nfds` has to be below the limit of open files: no more is asked for than is watched.
/// - poll(2) reports `POLLERR` for a /dev/poll, so it cannot be given out as a `fileno`.
/// - A fork's child inherits it, but gets `EACCES`: it opens its own.
/// - `DP_PPOLL`, which the manual omits, lets signals in before it looks: `DP_POLL` looks first.
struct DevpollBackend: ~Copyable, Facility {
    private var dp: Int32
    /// The number that the parent's /dev/poll had here, until there is one of the child's; -1: none.
    private var former: Int32 = -1
    private var identity: platform_identity
    private var count: Int32 = 0
    private var tokens = Buffer<UInt64>()
    private var reports = Buffer<pollfd>()

    static func make() throws(SystemError) -> Backend {
        let dp = try check(platform_devpoll())
        if platform_has_devpoll() == 0 { platform_unreachable() }
        do throws(SystemError) {
            return .devpoll(try .make(DevpollBackend(dp: dp)))
        } catch {
            _ = platform_close(dp)
            throw error
        }
    }

    private init(dp: Int32) {
        self.dp = dp
        identity = platform_identify(dp)
    }

    mutating func add(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        try check(platform_check_open(fd))
        if fd == dp { throw SystemError(ELOOP) }
        try tokens.reserve(Int(fd) + 1)
        try modify(fd, mask: mask, token: token)
        count += 1
    }

    mutating func modify(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        try check(platform_devpoll_write(dp, fd, Int32(PollMask.toAsk(mask))))
        tokens[Int(fd)] = token
    }

    mutating func remove(_ fd: Int32) {
        _ = platform_devpoll_write(dp, fd, -1)
        count -= 1
    }

    mutating func reset(afterFork: Bool, place: PlaceDescriptor) throws(SystemError) {
        closeAfterFork()
        dp = try place(try check(platform_devpoll()), former)
        (identity, former, count) = (platform_identify(dp), -1, 0)
    }

    mutating func wait(
        into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32 {
        let room = Swift.max(1, min(max, count))
        try reports.reserve(Int(room))
        var found: Int32 = 0
        if signals != nil { found = platform_devpoll_wait(dp, reports.at(0), room, 0, nil) }
        if found == 0 {
            let milliseconds = Timeout.milliseconds(timeout)
            found = platform_devpoll_wait(dp, reports.at(0), room, milliseconds, signals)
        }
        // Somebody has closed the /dev/poll, and the number names another file.
        if found < 0 && found != -EINTR && !isOurs { found = -EBADF }
        for i in 0..<Int(try check(found)) {
            events[i] = BackendEvent(
                mask: UInt32(UInt16(bitPattern: reports[i].revents)),
                token: tokens[Int(reports[i].fd)])
        }
        return found
    }

    func fileno() -> Int32? { nil }

    mutating func closeAfterFork() {
        close()
        if dp >= 0 { (former, dp) = (dp, -1) }
    }

    func close() {
        if isOurs { _ = platform_close(dp) }
    }

    /// Whether the number names a /dev/poll like the one that was opened here.
    private var isOurs: Bool { dp >= 0 && platform_is_same(dp, identity) != 0 }
}
