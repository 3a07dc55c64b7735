import CSelectorsPlatform

/// Waits with a backend that a Swift program provides.
struct CustomBackend: ~Copyable, Facility {
    private let backend: any SelectorBackend

    static func make(_ backend: any SelectorBackend) throws(SystemError) -> Backend {
        do throws(SystemError) {
            return .custom(try .make(CustomBackend(backend)))
        } catch {
            backend.close()
            throw error
        }
    }

    private init(_ backend: any SelectorBackend) {
        self.backend = backend
    }

    func add(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        try check(platform_check_open(fd))
        try backend.add(fd, mask: mask, token: token)
    }

    func modify(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        try backend.modify(fd, mask: mask, token: token)
    }

    func remove(_ fd: Int32) throws(SystemError) {
        try backend.remove(fd)
    }

    func reset(afterFork: Bool, place: PlaceDescriptor) throws(SystemError) {
        try backend.reset(afterFork: afterFork)
    }

    func wait(
        into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32 {
        let cancellation = platform_forbid_cancellation()
        defer { platform_allow_cancellation(cancellation) }
        return try backend.wait(into: events, max: max, timeout: timeout, signals: signals)
    }

    func fileno() throws(SystemError) -> Int32? {
        try backend.fileno()
    }

    /// Does nothing: the backend learns of the fork in its `reset`.
    func closeAfterFork() {}

    func close() {
        backend.close()
    }
}
