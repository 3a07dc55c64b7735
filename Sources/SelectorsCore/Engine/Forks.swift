import CSelectorsPlatform

/// All cores of the process, so that a fork finds them.
///
/// `fork` is called by the one thread that survives in the child, but others may be in the middle of
/// a change then. So it waits for them (pthread_atfork(3)); in the child each core is told to leave
/// its kernel set to the parent. A child made by `vfork`, `_Fork` or bare `clone` is not noticed.
final class OpenCores: @unchecked Sendable {
    static let shared = OpenCores()

    private let lock = Lock()
    private var first: Unmanaged<SelectorCore>?

    /// Whether forks are noticed.
    private var isListening = false

    /// Makes sure that forks are noticed, which takes memory the first time.
    func listen() throws(SystemError) {
        lock.lock()
        defer { lock.unlock() }
        if isListening { return }
        let saved = platform_errno()
        let result = pthread_atfork(
            {
                BackendRegistry.shared.lock.lock()
                OpenCores.shared.lock.lock()
                OpenCores.shared.forEach { $0.prepareFork() }
            },
            {
                OpenCores.shared.forEach { $0.resumeAfterFork() }
                OpenCores.shared.lock.unlock()
                BackendRegistry.shared.lock.unlock()
            },
            {
                OpenCores.shared.forEach { $0.leaveToParent() }
                OpenCores.shared.lock.unlockAfterFork()
                BackendRegistry.shared.lock.unlockAfterFork()
            })
        platform_set_errno(saved)
        try check(0 &- result)
        isListening = true
    }

    func add(_ core: SelectorCore) {
        lock.withLock {
            let node = Unmanaged.passUnretained(core)
            core.nextOpen = first
            first?._withUnsafeGuaranteedRef { $0.previousOpen = node }
            first = node
        }
    }

    func remove(_ core: SelectorCore) {
        lock.withLock {
            core.nextOpen?._withUnsafeGuaranteedRef { $0.previousOpen = core.previousOpen }
            if let previous = core.previousOpen {
                previous._withUnsafeGuaranteedRef { $0.nextOpen = core.nextOpen }
            } else {
                first = core.nextOpen
            }
        }
    }

    private func forEach(_ body: (SelectorCore) -> Void) {
        var next = first
        while let node = next {
            node._withUnsafeGuaranteedRef { core in
                body(core)
                next = core.nextOpen
            }
        }
    }
}
