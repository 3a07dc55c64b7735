import CSelectorsPlatform

/// A mutex of the system with a stable address, for sections that do not block.
///
/// `Synchronization.Mutex` would suffice, but ThreadSanitizer does not know it.
struct Lock: ~Copyable, @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<platform_mutex>

    init() {
        // SAFETY: `platform_mutex_init` initialises all of it; `deinit` frees it.
        mutex = .allocate(capacity: 1)
        platform_mutex_init(mutex)
    }

    deinit {
        platform_mutex_destroy(mutex)
        mutex.deallocate()
    }

    @inline(__always)
    func lock() { platform_mutex_lock(mutex) }

    @inline(__always)
    func unlock() { platform_mutex_unlock(mutex) }
}
