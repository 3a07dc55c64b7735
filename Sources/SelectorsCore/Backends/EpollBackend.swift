import CSelectorsPlatform
import Synchronization

/// Waits with epoll(7).
///
/// The kernel's quirks:
/// - It watches open file descriptions, not descriptors. If a file was closed under one descriptor
///   but remains open under another (dup, fork), it is still reported, with its original token. A
///   descriptor that now refers to another file is unknown (`ENOENT`).
/// - It refuses regular files and directories with `EPERM`.
/// - `EPOLL_CTL_MOD` fails with `EINVAL` if the old or the new mask is exclusive. An exclusive
///   mask may contain only reading and writing.
/// - `epoll_pwait2` requires Linux 5.11; older kernels return `ENOSYS`, sandboxes any errno.
/// - A wait for more events than fit into `INT_MAX` bytes fails with `EINVAL`.
struct EpollBackend: ~Copyable, Facility {
    private(set) var epfd: Int32
    /// The descriptor of the parent's epoll instance, until the child has its own; -1: none.
    private var former: Int32 = -1
    /// The identity by which an epoll instance is recognised.
    private let identity: platform_identity
    /// An outer epoll instance that watches only `epfd`; -1: none.
    ///
    /// It is the descriptor that `fileno` returns, so that a replaced `epfd` goes unnoticed
    /// outside.
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
        // A stale registration of the same file exists, and dup restored its descriptor.
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
        // A plug-in built before 1.1.0 does not forward the fork notification.
        if afterFork && epfd >= 0 { closeAfterFork() }
        let fresh = try check(platform_epoll_create())
        if isOurs(epfd) {
            // The old instance may live on in a fork's child, and the shell would report it.
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

    /// Makes the shell watch `epfd`; if the shell was closed, opens a new one under the same
    /// number or a higher one.
    private mutating func restoreShell() throws(SystemError) {
        if isOurs(shell) {
            let result = platform_epoll_ctl(shell, EPOLL_CTL_ADD, epfd, PollMask.read, 0)
            // On `EINVAL` the descriptor refers to another file that looks like an epoll instance.
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

    /// Whether a descriptor refers to an epoll instance opened here, as far as the system can
    /// tell.
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
        // The epoll instance was closed, and its descriptor now refers to another file.
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

    /// Waits without a timeout; returns -1 and sets `errno` on failure.
    @inline(__always)
    func waitPlainly(into events: UnsafeMutablePointer<BackendEvent>, max: Int32) -> Int32 {
        platform_epoll_wait_plainly(epfd, events, max)
    }

    /// The error of a failed plain wait; 0 if the wait asked for more events than the kernel
    /// accepts.
    func explain(_ result: Int32) -> Int32 {
        guard result == -EINVAL else { return result }
        return isOurs(epfd) ? 0 : -EBADF
    }

    mutating func fileno() throws(SystemError) -> Int32? {
        if shell < 0 { shell = try EpollBackend.makeShell(around: epfd) }
        return shell
    }

    /// Opens an epoll instance that watches another one.
    @inline(never)
    private static func makeShell(around epfd: Int32) throws(SystemError) -> Int32 {
        let shell = try check(platform_epoll_create())
        let result = platform_epoll_ctl(shell, EPOLL_CTL_ADD, epfd, PollMask.read, 0)
        if result < 0 { _ = platform_close(shell) }
        return try check(result < 0 ? result : shell)
    }

    /// Closes `epfd`, and replaces the shell at once: its descriptor is known outside, and must
    /// not report the parent's events.
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
        // The shell is recognised by its registration of `epfd`.
        if shell >= 0 && platform_epoll_ctl(shell, EPOLL_CTL_MOD, epfd, PollMask.read, 0) == 0 {
            _ = platform_close(shell)
        }
        if isOurs(epfd) { _ = platform_close(epfd) }
    }
}
