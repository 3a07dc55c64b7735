import CSelectorsPlatform
import Synchronization

/// Waits with kqueue(2), of FreeBSD, NetBSD, OpenBSD and macOS.
///
/// It has run over an emulation only. The decisions, with their sources; kevent(2) is FreeBSD's manual:
/// - Reading and writing are two filters with a report each, which are merged: the engine gets one
///   report for a descriptor (kevent(2): an event is identified by `ident` and `filter`).
/// - A full array may cut off the second filter: poll(2) then completes each report. Merged reports
///   leave room, for which the kqueue is asked again. Several threads may wait: each merges its own.
/// - `EV_EOF`, or a read of no bytes, has a cause that poll(2) tells (kevent(2): the error may be in `fflags`).
/// - Regular files are ready only before their end (kevent(2)), directories and devices differ between
///   systems, macOS refuses ttys: `EPERM` leaves them to the engine's poll (libev: for sockets only).
/// - Urgent data have a filter on macOS and OpenBSD only (<sys/event.h>): the engine polls for them.
/// - `EV_ADD` may fail for a pipe without a reader, with `EPIPE` (FreeBSD's sys_pipe.c, `pipe_kqfilter`) or
///   `EBADF` (NetBSD's): the engine polls it. It is not relied on to change `EV_CLEAR` of an existing
///   filter: a change deletes and adds. `EINTR` comes after all changes were made (kevent(2), ERRORS).
/// - Filters vanish when the descriptor is closed (kevent(2)), so a failure to delete does not matter.
/// - A kqueue is not inherited by fork(2) (kqueue(2)): its number is closed in the child (OpenBSD's test
///   kqueue-fork) or useless. If it was given out, a new one gets it at once. The engine's pipe wakes all
///   backends alike, without `EVFILT_USER`.
struct KqueueBackend: ~Copyable, Facility {
    private(set) var kq: Int32
    /// The number that the parent's kqueue had here, until there is one of the child's; -1: none.
    private var former: Int32 = -1
    private let identity: platform_identity
    private var isGivenOut = false
    /// Memory for the reports of one wait, while none uses it: its first bytes tell for how many.
    private let spare = Atomic<UnsafeMutableRawPointer?>(nil)

    /// The most that one wait takes from the kernel.
    private static let most: Int32 = 4096

    static func make() throws(SystemError) -> Backend {
        let kq = try check(platform_kqueue())
        do throws(SystemError) {
            return .kqueue(try .make(KqueueBackend(kq: kq)))
        } catch {
            _ = platform_close(kq)
            throw error
        }
    }

    private init(kq: Int32) {
        self.kq = kq
        identity = platform_identify(kq)
    }

    func add(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        try check(platform_check_open(fd))
        try check(platform_kqueue_refuses(fd))
        if fd == kq { throw SystemError(ELOOP) }
        if mask & PollMask.priority != 0 { throw SystemError(EPERM) }
        do throws(SystemError) {
            let isRead = mask & (PollMask.read | PollMask.readHangup) != 0
            if isRead { try insert(PLATFORM_FILTER_READ, fd, mask, token) }
            if mask & PollMask.write != 0 {
                let isAlso = isRead ? UInt64(PLATFORM_ALSO_READ) : 0
                try insert(PLATFORM_FILTER_WRITE, fd, mask, token | isAlso)
            }
        } catch {
            remove(fd)
            switch error.code {
            case EPIPE, EBADF, EINVAL, ENODEV, EOPNOTSUPP: throw SystemError(EPERM)
            default: throw error
            }
        }
    }

    private func insert(
        _ filter: Int, _ fd: Int32, _ mask: UInt32, _ token: UInt64
    ) throws(SystemError) {
        let how = mask & PollMask.edge != 0 ? PLATFORM_KEVENT_ADD_EDGE : PLATFORM_KEVENT_ADD
        try check(platform_kevent_change(kq, fd, Int32(filter), Int32(how), token))
    }

    func modify(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        remove(fd)
        try add(fd, mask: mask, token: token)
    }

    func remove(_ fd: Int32) {
        let how = Int32(PLATFORM_KEVENT_DELETE)
        _ = platform_kevent_change(kq, fd, Int32(PLATFORM_FILTER_READ), how, 0)
        _ = platform_kevent_change(kq, fd, Int32(PLATFORM_FILTER_WRITE), how, 0)
    }

    mutating func reset(afterFork: Bool, place: PlaceDescriptor) throws(SystemError) {
        // A plug-in of before 1.1.0 does not pass on what is to be done at once.
        if afterFork && former < 0 && !isGivenOut { closeAfterFork() }
        let fresh = try check(platform_kqueue())
        if isOurs(kq) {
            let result = platform_replace(fresh, kq)
            _ = platform_close(fresh)
            try check(result)
        } else {
            kq = try place(fresh, former)
            former = -1
        }
    }

    /// Whether a number names a kqueue of this process: to ask it for nothing changes nothing.
    private func isOurs(_ fd: Int32) -> Bool {
        fd >= 0 && platform_is_kqueue(fd) != 0
    }

    func wait(
        into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32 {
        var time = Timeout.timespec(Swift.max(timeout, 0))
        if let signals {
            let ready = withUnsafePointer(to: &time) {
                platform_kqueue_pselect(kq, timeout < 0 ? nil : $0, signals)
            }
            if try check(ready) == 0 { return 0 }
            time = Timeout.timespec(0)
        }
        var isForever = timeout < 0 && signals == nil
        let room = min(max, KqueueBackend.most)
        let memory = try takeMemory(Int(room))
        defer { putBack(memory) }
        let reports = (memory + KqueueBackend.header)
            .assumingMemoryBound(to: platform_filter_report.self)
        var (found, isFull, hasNews) = (Int32(0), false, false)
        repeat {
            var count = withUnsafePointer(to: &time) {
                platform_kevent_wait(kq, reports + Int(found), room - found, isForever ? nil : $0)
            }
            if count < 0 && found > 0 { count = 0 }
            // Somebody has closed the kqueue, and the number names another file.
            try check(count == -EINVAL && !isOurs(kq) ? -EBADF : count)
            isFull = count == room - found
            hasNews = merge(reports, &found, found + count, room)
            (time, isForever) = (Timeout.timespec(0), false)
        } while isFull && found < room && hasNews
        complete(reports, found, isFull: isFull, into: events)
        return found
    }

    private static let header = 16

    /// Gives memory for so many reports: that of the wait before, if it is large enough.
    private func takeMemory(_ room: Int) throws(SystemError) -> UnsafeMutableRawPointer {
        if let memory = spare.exchange(nil, ordering: .acquiringAndReleasing) {
            if memory.load(as: Int.self) >= room { return memory }
            platform_free_unsignalled(memory)
        }
        let size = platform_kevent_size() + 4 * MemoryLayout<UInt16>.stride  // with merge's table
        guard let memory = platform_calloc_unsignalled(KqueueBackend.header + room * size) else {
            throw SystemError(ENOMEM)
        }
        memory.storeBytes(of: room, as: Int.self)
        return memory
    }

    private func putBack(_ memory: UnsafeMutableRawPointer) {
        // Another wait may have put back its own.
        let other = spare.exchange(memory, ordering: .acquiringAndReleasing)
        if let other { platform_free_unsignalled(other) }
    }

    /// Merges the reports of each descriptor, which a hash table behind the events finds.
    ///
    /// The first `merged` are merged already. Returns whether the others add anything to them.
    private func merge(
        _ reports: UnsafeMutablePointer<platform_filter_report>, _ merged: inout Int32,
        _ count: Int32, _ room: Int32
    ) -> Bool {
        var size = 2
        while size < 2 * Int(count) { size *= 2 }
        let table = (UnsafeMutableRawPointer(reports) + Int(room) * platform_kevent_size())
            .assumingMemoryBound(to: UInt16.self)
        table.update(repeating: 0, count: size)
        var (found, hasNews) = (0, false)
        for i in 0..<Int(count) {
            let report = reports[i]
            var place = Int(report.fd) & (size - 1)
            // A report of before a change has another token.
            while table[place] != 0 {
                let first = reports[Int(table[place]) - 1]
                if first.fd == report.fd && first.token == report.token { break }
                place = (place + 1) & (size - 1)
            }
            if table[place] != 0 {
                let first = reports + Int(table[place]) - 1
                hasNews = hasNews || report.mask & ~first.pointee.mask != 0
                first.pointee.mask |= report.mask
                first.pointee.closer |= report.closer
                first.pointee.also_read |= report.also_read
            } else {
                hasNews = hasNews || found >= merged
                reports[found] = report
                found += 1
                table[place] = UInt16(found)
            }
        }
        merged = Int32(found)
        return hasNews
    }

    /// Stores the reports, with what their filters did not tell.
    private func complete(
        _ reports: UnsafeMutablePointer<platform_filter_report>, _ count: Int32, isFull: Bool,
        into events: UnsafeMutablePointer<BackendEvent>
    ) {
        for i in 0..<Int(count) {
            let report = reports[i]
            var mask = report.mask
            if report.closer != 0 || isFull {
                let isCutOff = isFull && mask & PollMask.read == 0 && report.also_read != 0
                mask |= lookCloser(report.fd, isReadCutOff: isCutOff)
            }
            events[i] = BackendEvent(mask: mask, token: report.token)
        }
    }

    /// Asks poll(2) about a descriptor, and about the peer's end if the read filter was cut off.
    private func lookCloser(_ fd: Int32, isReadCutOff: Bool) -> UInt32 {
        let wanted = PollMask.read | PollMask.write | (isReadCutOff ? PollMask.readHangup : 0)
        var look = pollfd(fd: fd, events: PollMask.toAsk(wanted), revents: 0)
        guard platform_poll(&look, 1, 0) == 1 else { return 0 }
        let mask = UInt32(UInt16(bitPattern: look.revents))
        // Closed since: its filters are gone.
        return mask & PollMask.invalid != 0 ? 0 : mask
    }

    mutating func fileno() throws(SystemError) -> Int32? {
        isGivenOut = true
        return kq
    }

    mutating func closeAfterFork() {
        let number = kq
        // It may be open, and no kqueue of this process.
        let isOpen = number >= 0 && platform_is_same(number, identity) != 0
        if isOpen { _ = platform_close(number) }
        if number >= 0 { (former, kq) = (number, -1) }
        guard isGivenOut, isOpen || platform_check_open(number) == -EBADF else { return }
        let fresh = platform_kqueue()
        if fresh == number || fresh >= 0 && platform_replace(fresh, number) >= 0 { kq = number }
        if fresh >= 0 && fresh != number { _ = platform_close(fresh) }
        if kq >= 0 { former = -1 }
    }

    func close() {
        if isOurs(kq) { _ = platform_close(kq) }
        if let memory = spare.exchange(nil, ordering: .acquiringAndReleasing) { free(memory) }
    }
}
