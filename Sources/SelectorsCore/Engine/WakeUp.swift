import CSelectorsPlatform
import Synchronization

/// Ends another thread's wait in the kernel: a descriptor that the backend watches beside the others.
struct WakeUp: ~Copyable {
    /// The token that the descriptor is watched with; no registration has it.
    static let token = UInt64.max

    /// What becomes readable.
    private let descriptor: Atomic<Int32>
    /// What is written to: the same descriptor, or the other end of a pipe.
    private let writer: Atomic<Int32>
    private var identity: platform_identity
    /// The number that the parent's descriptor had, in a fork's child; -1: none.
    private(set) var former: Int32 = -1
    /// Whether the backend can report each write once.
    private let canEdge: Bool
    private let state = Atomic<UInt32>(0)

    /// The bits and the counter of ``state``.
    private enum State {
        /// A select is to return.
        static let requested: UInt32 = 1
        /// There is no descriptor yet after a fork, or no more after a close.
        ///
        /// Nobody can be waiting, so that to take note of a request is enough.
        static let detached: UInt32 = 2
        /// One call that writes.
        static let writing: UInt32 = 4
    }

    /// Opens the descriptor, for a backend that reports each write once (`isEdge`), or as long as
    /// nobody reads.
    static func open(isEdge: Bool) throws(SystemError) -> WakeUp {
        var writer: Int32 = -1
        let fd = try check(platform_wakeup_open(&writer))
        return WakeUp(fd: fd, writer: writer, canEdge: isEdge)
    }

    private init(fd: Int32, writer: Int32, canEdge: Bool) {
        descriptor = Atomic(fd)
        self.writer = Atomic(writer)
        identity = platform_identify(fd)
        self.canEdge = canEdge
    }

    /// Closes the descriptor, if its number was not given to another file, once no request is under
    /// way any more.
    @inline(never)
    mutating func close() {
        state.bitwiseOr(State.detached, ordering: .acquiringAndReleasing)
        while state.load(ordering: .acquiring) >= State.writing { platform_nap() }
        closeDescriptor()
    }

    @inline(never)
    private mutating func closeDescriptor() {
        guard fd >= 0 else { return }
        let other = writer.load(ordering: .relaxed)
        if other != fd && isOurs(other) { _ = platform_close(other) }
        if isOurs(fd) { _ = platform_close(fd) }
        former = fd
        descriptor.store(-1, ordering: .relaxed)
        writer.store(-1, ordering: .relaxed)
    }

    /// The descriptor, or -1.
    var fd: Int32 { descriptor.load(ordering: .relaxed) }

    /// What the backend is to watch the descriptor for.
    var mask: UInt32 { isEdge ? PollMask.read | PollMask.edge : PollMask.read }

    /// Whether a descriptor is one of these.
    func owns(_ number: Int32) -> Bool {
        number == fd || number == writer.load(ordering: .relaxed)
    }

    /// Each write is reported once, to one thread, and nothing has to be read.
    private var isEdge: Bool { canEdge && fd == writer.load(ordering: .relaxed) }

    /// Whether the numbers still name what was opened here, as far as that can be told.
    private var isIntact: Bool {
        @inline(never) get {
            let (fd, writer) = (fd, writer.load(ordering: .relaxed))
            return isOurs(fd) && (writer == fd || isOurs(writer))
        }
    }

    private func isOurs(_ fd: Int32) -> Bool {
        fd >= 0 && platform_is_same(fd, identity) != 0
    }

    /// Asks that a select returns.
    ///
    /// Async-signal-safe; one request more while one is pending costs no system call.
    ///
    /// - Throws: `EBADF` where somebody has closed the descriptor; the request then does not count as
    ///   pending.
    @inline(__always)
    func request() throws(SystemError) {
        // Written even if it is set: what the caller has done before must be seen by who clears it.
        let isPending = state.compareExchange(
            expected: State.requested, desired: State.requested, ordering: .acquiringAndReleasing
        ).exchanged
        if !isPending { try requestAnew() }
    }

    @inline(never)
    private func requestAnew() throws(SystemError) {
        // In the step that sets it the call is counted, so that a close waits while it writes.
        var isCounted = false
        _ = change { old in
            isCounted = old & (State.requested | State.detached) == 0
            return (old | State.requested) + (isCounted ? State.writing : 0)
        }
        guard isCounted else { return }
        // A fork may have set the count anew.
        defer { _ = change { $0 >= State.writing ? $0 - State.writing : nil } }
        do throws(SystemError) {
            try kick()
        } catch {
            state.bitwiseAnd(~State.requested, ordering: .relaxed)
            throw error
        }
    }

    /// Changes the state in one step, unless there is no new one.
    @inline(__always)
    private func change(_ new: (UInt32) -> UInt32?) -> Bool {
        var old = state.load(ordering: .relaxed)
        while let next = new(old) {
            let (isExchanged, now) = state.weakCompareExchange(
                expected: old, desired: next, ordering: .acquiringAndReleasing)
            if isExchanged { return true }
            old = now
        }
        return false
    }

    /// Makes a wait in the kernel end, with no select to return.
    ///
    /// - Throws: `EBADF` where somebody has closed the descriptor: another file that has its number is
    ///   not written to.
    @inline(never)
    func kick() throws(SystemError) {
        // After a fork that has just interrupted this call nobody waits.
        if state.load(ordering: .relaxed) & State.detached != 0 { return }
        guard isIntact else { throw SystemError(EBADF) }
        try check(platform_wakeup_write(writer.load(ordering: .relaxed)))
    }

    /// Takes note that the descriptor was reported, and tells whether a select is asked to return.
    ///
    /// In this order: a request between the two finds the flag set and is served by this one.
    ///
    /// - Throws: `EBADF` where somebody has closed the descriptor.
    func take() throws(SystemError) -> Bool {
        if !isEdge {
            guard isIntact else { throw SystemError(EBADF) }
            platform_wakeup_drain(fd)
        }
        return clear()
    }

    /// With nobody in the kernel, before a new kernel set watches the descriptor: makes it unreadable, so
    /// that only what is asked for from now on is reported; ``repeatRequest()`` is to follow.
    func forget() {
        if isIntact { platform_wakeup_drain(fd) }
    }

    /// Makes the descriptor readable if a select is asked to return.
    func repeatRequest() throws(SystemError) {
        if state.load(ordering: .acquiring) & State.requested != 0 { try kick() }
    }

    /// Drops a request, and tells whether there was one.
    private func clear() -> Bool {
        state.bitwiseAnd(~State.requested, ordering: .acquiringAndReleasing).oldValue
            & State.requested != 0
    }

    // MARK: Forks

    /// In the child of a fork, at once: lets go of the parent's descriptor.
    ///
    /// A request that is pending stays so.
    @inline(never)
    mutating func detach() {
        _ = change { $0 & State.requested | State.detached }
        closeDescriptor()
    }

    /// In the child of a fork, with the gate held: takes a new descriptor; ``repeatRequest()`` is to
    /// follow.
    mutating func attach(_ fd: Int32, writer other: Int32) {
        identity = platform_identify(fd)
        descriptor.store(fd, ordering: .relaxed)
        writer.store(other, ordering: .relaxed)
        state.bitwiseAnd(~State.detached, ordering: .acquiringAndReleasing)
    }
}
