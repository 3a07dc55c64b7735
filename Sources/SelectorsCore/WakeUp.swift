import CPlatform
import Synchronization

/// Ends another thread's wait in the kernel: a descriptor that a backend watches beside the others.
struct WakeUp: ~Copyable {
    /// The token that the descriptor is watched with; no registration has it.
    static let token = UInt64.max

    /// What becomes readable.
    let fd: Int32
    /// Set by ``request()``, cleared by the select that returns for it.
    private let isRequested = Atomic<Bool>(false)

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

    /// Asks that a select returns. Async-signal-safe; one request more while one is pending costs no
    /// system call.
    @inline(__always)
    func request() throws(SystemError) {
        // Read and written in one step even if it is set: what the caller has done before must be
        // seen by who clears it.
        if !isRequested.exchange(true, ordering: .acquiringAndReleasing) { try kick() }
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
        return isRequested.exchange(false, ordering: .acquiringAndReleasing)
    }
}
