import CSelectorsPlatform
import Synchronization

/// Ends another thread's wait in the kernel: a descriptor that a backend watches beside the others.
struct WakeUp: ~Copyable {
    /// The token that the descriptor is watched with; no registration has it.
    static let token = UInt64.max

    /// What becomes readable.
    let fd: Int32
    /// 0, ``requested``, ``detached`` or both.
    private let state = Atomic<UInt8>(0)
    /// A select is to return.
    private static let requested: UInt8 = 1
    /// After a fork: the descriptor is the parent's.
    ///
    /// Nobody can be waiting here yet, so that to take note of a request is enough.
    private static let detached: UInt8 = 2

    /// Opens the descriptor.
    static func open() throws(SystemError) -> WakeUp {
        WakeUp(fd: try check(platform_wakeup_open()))
    }

    private init(fd: Int32) {
        self.fd = fd
    }

    deinit {
        _ = platform_close(fd)
    }

    /// Asks that a select returns.
    ///
    /// Async-signal-safe; one request more while one is pending costs no system call.
    @inline(__always)
    func request() throws(SystemError) {
        // Read and written in one step even if it is set: what the caller has done before must be
        // seen by who clears it.
        if state.bitwiseOr(WakeUp.requested, ordering: .acquiringAndReleasing).oldValue == 0 {
            try kick()
        }
    }

    /// Makes a wait in the kernel end, with no select to return.
    func kick() throws(SystemError) {
        try check(platform_wakeup_write(fd))
    }

    /// Makes the descriptor unreadable again, and tells whether a select is asked to return.
    ///
    /// In this order: a request between the two finds the flag set and is served by this one.
    func take() -> Bool {
        platform_wakeup_drain(fd)
        return clear()
    }

    /// In the child of a fork: leaves the descriptor to the parent.
    func detach() {
        state.store(WakeUp.detached, ordering: .relaxed)
    }

    /// In the child of a fork: puts a descriptor of its own under the number, and makes it readable
    /// if a select is asked to return.
    func attach() throws(SystemError) {
        let fresh = try check(platform_wakeup_open())
        defer { _ = platform_close(fresh) }
        try check(platform_replace(fresh, fd))
        if clear() { try request() }
    }

    private func clear() -> Bool {
        state.exchange(0, ordering: .acquiringAndReleasing) & WakeUp.requested != 0
    }
}
