#if os(Linux)
    import CSelectorsPlatform

    /// Waits with epoll(7).
    ///
    /// The kernel's quirks:
    /// - It watches open files, not numbers. A file that was closed under one number and lives on
    ///   under another (dup, fork) is still reported, with the token it was added with; a number
    ///   that names another file now is unknown (`ENOENT`).
    /// - It refuses regular files and directories with `EPERM`.
    /// - It modifies nothing that is or becomes exclusive (`EINVAL`), and takes no more than reading
    ///   and writing with it.
    /// - `epoll_pwait2` came with Linux 5.11; older kernels say `ENOSYS`, some sandboxes `EPERM`.
    final class EpollBackend: SelectorBackend {
        private let epfd: Int32
        /// An epoll that watches `epfd` alone: the descriptor that is given out.
        ///
        /// Whoever waits for it does not notice when the file behind `epfd` is replaced.
        private var shell: Int32?
        private var hasNanoseconds = true

        /// Opens an epoll.
        ///
        /// The kernel is asked before the object is made: an initializer that throws would leave
        /// its memory behind in Embedded Swift.
        static func open() throws(SystemError) -> EpollBackend {
            EpollBackend(epfd: try check(platform_epoll_create()))
        }

        private init(epfd: Int32) {
            self.epfd = epfd
        }

        func add(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
            let result = platform_epoll_ctl(epfd, EPOLL_CTL_ADD, fd, mask, token)
            if result == -EINVAL && fd == epfd { throw SystemError(ELOOP) }
            if result == -EEXIST {
                // The very file was left behind under this number, and came back to it by dup.
                return try modify(fd, mask: mask, token: token)
            }
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

        func remove(_ fd: Int32) throws(SystemError) {
            try check(platform_epoll_ctl(epfd, EPOLL_CTL_DEL, fd, 0, 0))
        }

        func reset(afterFork: Bool) throws(SystemError) {
            let fresh = try check(platform_epoll_create())
            // The numbers stay: another could be one that is registered and was closed.
            defer { _ = platform_close(fresh) }
            if let shell {
                if afterFork {
                    let freshShell = try EpollBackend.makeShell(around: fresh)
                    defer { _ = platform_close(freshShell) }
                    try check(platform_replace(freshShell, shell))
                } else {
                    try check(
                        platform_epoll_ctl(shell, EPOLL_CTL_ADD, fresh, PollMask.read, 0))
                }
            }
            try check(platform_replace(fresh, epfd))
        }

        var epoll: Int32? { epfd }

        func wait(
            into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64,
            signals: UnsafePointer<sigset_t>?
        ) throws(SystemError) -> Int32 {
            if timeout > 0 && hasNanoseconds {
                let result = waitPrecisely(
                    into: events, max: max, timeout: timeout, signals: signals)
                if !Timeout.isMissing(result) { return try check(result) }
                hasNanoseconds = false
            }
            let milliseconds = Timeout.milliseconds(timeout)
            if let signals {
                return try check(platform_epoll_pwait(epfd, events, max, milliseconds, signals))
            }
            return try check(platform_epoll_wait(epfd, events, max, milliseconds))
        }

        private func waitPrecisely(
            into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64,
            signals: UnsafePointer<sigset_t>?
        ) -> Int32 {
            var time = Timeout.timespec(timeout)
            return platform_epoll_pwait2(epfd, events, max, &time, signals)
        }

        func fileno() throws(SystemError) -> Int32? {
            if shell == nil { shell = try EpollBackend.makeShell(around: epfd) }
            return shell
        }

        /// Opens an epoll that watches another one.
        private static func makeShell(around epfd: Int32) throws(SystemError) -> Int32 {
            let shell = try check(platform_epoll_create())
            let result = platform_epoll_ctl(shell, EPOLL_CTL_ADD, epfd, PollMask.read, 0)
            if result < 0 { _ = platform_close(shell) }
            try check(result)
            return shell
        }

        func close() {
            if let shell { _ = platform_close(shell) }
            _ = platform_close(epfd)
        }
    }
#endif
