import CSelectorsPlatform

/// Moves a new descriptor of a selector to the number of its predecessor (-1: none), or to a higher free
/// one; or closes it and throws.
struct PlaceDescriptor {
    /// The registered numbers, which it skips because their files may have been closed; `nil`: none.
    let table: UnsafePointer<RegistrationTable>?

    @inline(never)
    func callAsFunction(_ fd: Int32, _ former: Int32) throws(SystemError) -> Int32 {
        guard let table else { return fd }
        var (fd, number) = (fd, former)
        while fd < number || table.pointee.find(fd) != nil {
            number = max(number, fd)
            while table.pointee.find(number) != nil { number += 1 }
            let moved = platform_duplicate(fd, number)
            // Near the descriptor limit a lower number is accepted.
            if moved < 0 && table.pointee.find(fd) == nil { break }
            _ = platform_close(fd)
            fd = try check(moved)
        }
        return fd
    }
}

/// The interface of a backend to the engine; ``SelectorBackend`` describes the contract.
protocol Facility: ~Copyable {
    mutating func add(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError)
    mutating func modify(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError)
    mutating func remove(_ fd: Int32) throws(SystemError)
    mutating func reset(afterFork: Bool, place: PlaceDescriptor) throws(SystemError)
    mutating func wait(
        into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32
    mutating func fileno() throws(SystemError) -> Int32?
    /// Closes the descriptors that are shared with the parent; called in a fork's child at once.
    mutating func closeAfterFork()
    mutating func close()
}

/// A backend of any kind.
///
/// The kinds are a closed set, so that a call costs a comparison and no retain; calls to epoll are
/// inlined. `make` allocates the backend and ``close()`` frees it.
enum Backend {
    case epoll(UnsafeMutablePointer<EpollBackend>)
    case kqueue(UnsafeMutablePointer<KqueueBackend>)
    case devpoll(UnsafeMutablePointer<DevpollBackend>)
    case poll(UnsafeMutablePointer<PollBackend>)
    case select(UnsafeMutablePointer<SelectBackend>)
    case plugin(UnsafeMutablePointer<PluginBackend>)
    case custom(UnsafeMutablePointer<CustomBackend>)

    @inline(__always)
    func add(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        if case .epoll(let backend) = self {
            return try backend.pointee.add(fd, mask: mask, token: token)
        }
        try addByOther(fd, mask: mask, token: token)
    }

    @inline(never)
    private func addByOther(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        switch self {
        case .epoll(let backend): try backend.pointee.add(fd, mask: mask, token: token)
        case .kqueue(let backend): try backend.present.pointee.add(fd, mask: mask, token: token)
        case .devpoll(let backend): try backend.present.pointee.add(fd, mask: mask, token: token)
        case .poll(let backend): try backend.pointee.add(fd, mask: mask, token: token)
        case .select(let backend): try backend.pointee.add(fd, mask: mask, token: token)
        case .plugin(let backend): try backend.pointee.add(fd, mask: mask, token: token)
        case .custom(let backend): try backend.pointee.add(fd, mask: mask, token: token)
        }
    }

    @inline(never)
    func modify(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        switch self {
        case .epoll(let backend): try backend.pointee.modify(fd, mask: mask, token: token)
        case .kqueue(let backend): try backend.present.pointee.modify(fd, mask: mask, token: token)
        case .devpoll(let backend): try backend.present.pointee.modify(fd, mask: mask, token: token)
        case .poll(let backend): backend.pointee.modify(fd, mask: mask, token: token)
        case .select(let backend): backend.pointee.modify(fd, mask: mask, token: token)
        case .plugin(let backend): try backend.pointee.modify(fd, mask: mask, token: token)
        case .custom(let backend): try backend.pointee.modify(fd, mask: mask, token: token)
        }
    }

    @inline(__always)
    func remove(_ fd: Int32) throws(SystemError) {
        if case .epoll(let backend) = self { return try backend.pointee.remove(fd) }
        try removeByOther(fd)
    }

    @inline(never)
    private func removeByOther(_ fd: Int32) throws(SystemError) {
        switch self {
        case .epoll(let backend): try backend.pointee.remove(fd)
        case .kqueue(let backend): backend.present.pointee.remove(fd)
        case .devpoll(let backend): backend.present.pointee.remove(fd)
        case .poll(let backend): backend.pointee.remove(fd)
        case .select(let backend): backend.pointee.remove(fd)
        case .plugin(let backend): try backend.pointee.remove(fd)
        case .custom(let backend): try backend.pointee.remove(fd)
        }
    }

    @inline(never)
    func reset(afterFork: Bool, place: PlaceDescriptor) throws(SystemError) {
        switch self {
        case .epoll(let backend): try backend.pointee.reset(afterFork: afterFork, place: place)
        case .kqueue(let backend):
            try backend.present.pointee.reset(afterFork: afterFork, place: place)
        case .devpoll(let backend):
            try backend.present.pointee.reset(afterFork: afterFork, place: place)
        case .poll(let backend): backend.pointee.reset(afterFork: afterFork, place: place)
        case .select(let backend): backend.pointee.reset(afterFork: afterFork, place: place)
        case .plugin(let backend): try backend.pointee.reset(afterFork: afterFork, place: place)
        case .custom(let backend): try backend.pointee.reset(afterFork: afterFork, place: place)
        }
    }

    @inline(never)
    func wait(
        into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32 {
        switch self {
        case .epoll(let backend):
            try backend.pointee.wait(into: events, max: max, timeout: timeout, signals: signals)
        case .kqueue(let backend):
            try backend.present.pointee.wait(
                into: events, max: max, timeout: timeout, signals: signals)
        case .devpoll(let backend):
            try backend.present.pointee.wait(
                into: events, max: max, timeout: timeout, signals: signals)
        case .poll(let backend):
            try backend.pointee.wait(into: events, max: max, timeout: timeout, signals: signals)
        case .select(let backend):
            try backend.pointee.wait(into: events, max: max, timeout: timeout, signals: signals)
        case .plugin(let backend):
            try backend.pointee.wait(into: events, max: max, timeout: timeout, signals: signals)
        case .custom(let backend):
            try backend.pointee.wait(into: events, max: max, timeout: timeout, signals: signals)
        }
    }

    /// Waits without a timeout, in as few instructions as possible.
    ///
    /// - Returns: The number of events, or a negative number, which ``explain(_:errno:)`` converts
    ///   to an errno value.
    @inline(__always)
    func waitPlainly(into events: UnsafeMutablePointer<BackendEvent>, max: Int32) -> Int32 {
        if case .epoll(let backend) = self {
            return backend.pointee.waitPlainly(into: events, max: max)
        }
        return waitPlainlyByOther(into: events, max: max)
    }

    @inline(never)
    private func waitPlainlyByOther(
        into events: UnsafeMutablePointer<BackendEvent>, max: Int32
    ) -> Int32 {
        do throws(SystemError) {
            return try wait(into: events, max: max, timeout: -1, signals: nil)
        } catch {
            return 0 &- error.code
        }
    }

    /// Returns the negative errno value of a failed plain wait, and restores `errno` to `saved`.
    @inline(never)
    func explain(_ result: Int32, errno saved: Int32) -> Int32 {
        guard case .epoll(let backend) = self else { return result }
        return backend.pointee.explain(platform_failure(saved))
    }

    @inline(never)
    func fileno() throws(SystemError) -> Int32? {
        switch self {
        case .epoll(let backend): try backend.pointee.fileno()
        case .kqueue(let backend): try backend.present.pointee.fileno()
        case .devpoll, .poll, .select: nil
        case .plugin(let backend): try backend.pointee.fileno()
        case .custom(let backend): try backend.pointee.fileno()
        }
    }

    /// A descriptor that is readable when a wait would report an event, or `nil`.
    @inline(never)
    func pollable() -> Int32? {
        switch self {
        case .epoll(let backend): backend.pointee.epfd
        case .kqueue(let backend): backend.present.pointee.kq
        case .devpoll, .poll, .select: nil
        case .plugin, .custom: (try? fileno()) ?? nil
        }
    }

    @inline(never)
    func closeAfterFork() {
        switch self {
        case .epoll(let backend): backend.pointee.closeAfterFork()
        case .kqueue(let backend): backend.present.pointee.closeAfterFork()
        case .devpoll(let backend): backend.present.pointee.closeAfterFork()
        case .plugin(let backend): backend.pointee.closeAfterFork()
        case .poll, .select, .custom: break
        }
    }

    /// Whether its calls may run functions of the program or of a plug-in.
    var isForeign: Bool {
        switch self {
        case .epoll, .kqueue, .devpoll, .poll, .select: false
        case .plugin, .custom: true
        }
    }

    /// Frees the backend and its resources.
    @inline(never)
    func close() {
        switch self {
        case .epoll(let backend):
            backend.pointee.close()
            backend.destroy()
        case .kqueue(let backend):
            backend.present.pointee.close()
            backend.destroy()
        case .devpoll(let backend):
            backend.present.pointee.close()
            backend.destroy()
        case .poll(let backend):
            backend.destroy()
        case .select(let backend):
            backend.destroy()
        case .plugin(let backend):
            backend.pointee.close()
            backend.destroy()
        case .custom(let backend):
            backend.pointee.close()
            backend.destroy()
        }
    }
}

// Where the system lacks a facility, no such backend is ever made, and its code is dropped.

extension UnsafeMutablePointer<KqueueBackend> {
    var present: UnsafeMutablePointer<KqueueBackend> {
        @inline(__always) get {
            if platform_has_kqueue() == 0 { platform_unreachable() }
            return self
        }
    }
}

extension UnsafeMutablePointer<DevpollBackend> {
    var present: UnsafeMutablePointer<DevpollBackend> {
        @inline(__always) get {
            if platform_has_devpoll() == 0 { platform_unreachable() }
            return self
        }
    }
}
