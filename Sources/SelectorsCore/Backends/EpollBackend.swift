import CSelectorsPlatform
import Synchronization

/// Waits with epoll(7).
///
/// The kernel's quirks:
/// - It watches open files, not numbers. A file that was closed under one number and lives on
///   under another (dup, fork) is still reported, with the token it was added with; a number
///   that names another file now is unknown (`ENOENT`).
/// - It refuses regular files and directories with `EPERM`.
/// - It modifies nothing that is or becomes exclusive (`EINVAL`), and takes no more than reading
///   and writing with it.
/// - `epoll_pwait2` came with Linux 5.11; older kernels say `ENOSYS`, sandboxes what they like.
/// - It takes no more events at a time than `INT_MAX` bytes hold (`EINVAL`).
struct EpollBackend: ~Copyable, Facility {
    private(set) var epfd: Int32
    /// The number that the parent's epoll had here, until there is one of the child's; -1: none.
    private var former: Int32 = -1
    /// What an epoll looks like.
    private let identity: platform_identity
    /// An epoll that watches `epfd` alone: the descriptor that is given out; -1 before.
    ///
    /// Whoever waits for it does not notice when another file takes the place of `epfd`.
    private var shell: Int32 = -1
    private let hasNanoseconds = Atomic<Bool>(true)

    static func make() throws(SystemError) -> Backend {
        let epfd = try check(platform_epoll_create())
        do throws(SystemError) {
            return .epoll(try .make(EpollBackend(epfd: epfd)))
        } catch {
            _ = platform_close(epfd)
            throw error
        }
    }

    private init(epfd: Int32) {
        self.epfd = epfd
        identity = platform_identify(epfd)
    }

    @inline(__always)
    func add(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        let result = platform_epoll_ctl(epfd, EPOLL_CTL_ADD, fd, mask, token)
        if result < 0 { try addAgain(fd, mask: mask, token: token, after: result) }
    }

    @inline(never)
    private func addAgain(
        _ fd: Int32, mask: UInt32, token: UInt64, after result: Int32
    ) throws(SystemError) {
        if result == -EINVAL && fd == epfd { throw SystemError(ELOOP) }
        // The very file was left behind under this number, and came back to it by dup.
        if result == -EEXIST { return try modify(fd, mask: mask, token: token) }
        try check(result)
    }

    func modify(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        let result = platform_epoll_ctl(epfd, EPOLL_CTL_MOD, fd, mask, token)
        if result == -EINVAL {
            try remove(fd)
            return try add(fd, mask: mask, token: token)
        }
        try check(result)
    }

    @inline(__always)
    func remove(_ fd: Int32) throws(SystemError) {
        try check(platform_epoll_ctl(epfd, EPOLL_CTL_DEL, fd, 0, 0))
    }

    mutating func reset(afterFork: Bool, place: PlaceDescriptor) throws(SystemError) {
        // A plug-in that was made before 1.1.0 does not pass on what is to be done at once.
        if afterFork && epfd >= 0 { closeAfterFork() }
        let fresh = try check(platform_epoll_create())
        if isOurs(epfd) {
            // The old one may live on in a fork's child, and be reported by the shell.
            if isOurs(shell) { _ = platform_epoll_ctl(shell, EPOLL_CTL_DEL, epfd, 0, 0) }
            let result = platform_replace(fresh, epfd)
            _ = platform_close(fresh)
            try check(result)
        } else {
            epfd = try place(fresh, former)
            former = -1
        }
        if shell >= 0 { try restoreShell() }
    }

    /// Has the shell watch the epoll, and opens another one under the same number, or one above, if
    /// somebody has closed it.
    private mutating func restoreShell() throws(SystemError) {
        if isOurs(shell) {
            let result = platform_epoll_ctl(shell, EPOLL_CTL_ADD, epfd, PollMask.read, 0)
            // Else another file has the number, one that looks like an epoll.
            if result != -EINVAL { return _ = try check(result) }
        }
        let number = shell
        var fresh = try EpollBackend.makeShell(around: epfd)
        if fresh < number {
            let moved = platform_duplicate(fresh, number)
            _ = platform_close(fresh)
            fresh = try check(moved)
        }
        shell = fresh
    }

    /// Whether a number names an epoll that was opened here, as far as that can be told.
    @inline(never)
    private func isOurs(_ fd: Int32) -> Bool {
        fd >= 0 && platform_is_same(fd, identity) != 0
    }

    func wait(
        into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32 {
        let most = min(max, Int32.max / Int32(MemoryLayout<BackendEvent>.stride))
        let result = wait(events, most, timeout, signals)
        // Somebody has closed the epoll, and the number names another file.
        return try check(result == -EINVAL && !isOurs(epfd) ? -EBADF : result)
    }

    private func wait(
        _ events: UnsafeMutablePointer<BackendEvent>, _ max: Int32, _ timeout: Int64,
        _ signals: UnsafePointer<sigset_t>?
    ) -> Int32 {
        if timeout > 0 && hasNanoseconds.load(ordering: .relaxed) {
            var time = Timeout.timespec(timeout)
            let result = platform_epoll_pwait2(epfd, events, max, &time, signals)
            if !Timeout.mayBeMissing(result) { return result }
            let other = waitForMilliseconds(events, max, timeout, signals)
            if other != result { hasNanoseconds.store(false, ordering: .relaxed) }
            return other
        }
        return waitForMilliseconds(events, max, timeout, signals)
    }

    private func waitForMilliseconds(
        _ events: UnsafeMutablePointer<BackendEvent>, _ max: Int32, _ timeout: Int64,
        _ signals: UnsafePointer<sigset_t>?
    ) -> Int32 {
        let milliseconds = Timeout.milliseconds(timeout)
        if let signals { return platform_epoll_pwait(epfd, events, max, milliseconds, signals) }
        return platform_epoll_wait(epfd, events, max, milliseconds)
    }

    /// Waits without a limit; after -1 errno is to be looked at.
    @inline(__always)
    func waitPlainly(into events: UnsafeMutablePointer<BackendEvent>, max: Int32) -> Int32 {
        platform_epoll_wait_plainly(epfd, events, max)
    }

    /// What a plain wait has failed with; 0 where it asked for more events than the kernel takes.
    func explain(_ result: Int32) -> Int32 {
        guard result == -EINVAL else { return result }
        return isOurs(epfd) ? 0 : -EBADF
    }

    mutating func fileno() throws(SystemError) -> Int32? {
        if shell < 0 { shell = try EpollBackend.makeShell(around: epfd) }
        return shell
    }

    /// Opens an epoll that watches another one.
    @inline(never)
    private static func makeShell(around epfd: Int32) throws(SystemError) -> Int32 {
        let shell = try check(platform_epoll_create())
        let result = platform_epoll_ctl(shell, EPOLL_CTL_ADD, epfd, PollMask.read, 0)
        if result < 0 { _ = platform_close(shell) }
        return try check(result < 0 ? result : shell)
    }

    /// The shell's number is known outside, and so is replaced at once: the parent's epoll must not be
    /// watched in its place.
    mutating func closeAfterFork() {
        if isOurs(epfd) { _ = platform_close(epfd) }
        if epfd >= 0 { (former, epfd) = (epfd, -1) }
        guard isOurs(shell) else { return }
        let fresh = platform_epoll_create()
        if fresh < 0 || platform_replace(fresh, shell) < 0 {
            _ = platform_close(shell)
        }
        if fresh >= 0 { _ = platform_close(fresh) }
    }

    func close() {
        // The one is known by the other.
        if shell >= 0 && platform_epoll_ctl(shell, EPOLL_CTL_MOD, epfd, PollMask.read, 0) == 0 {
            _ = platform_close(shell)
        }
        if isOurs(epfd) { _ = platform_close(epfd) }
    }
}
