import CSelectorsPlatform
import Synchronization

/// Ends another thread's wait in the kernel, with a descriptor that the backend watches beside the
/// others.
struct WakeUp: ~Copyable {
    /// The token of the descriptor; no registration has it.
    static let token = UInt64.max

    /// The descriptor that becomes readable.
    private let descriptor: Atomic<Int32>
    /// The descriptor that is written to: the same one, or the other end of a pipe.
    private let writer: Atomic<Int32>
    private var identity: platform_identity
    /// The number of the descriptor that was closed, for the child of a fork; -1: none.
    private(set) var former: Int32 = -1
    /// Whether the backend supports edge-triggered delivery.
    private let canEdge: Bool
    private let state = Atomic<UInt32>(0)

    /// The bits and the counter of ``state``.
    private enum State {
        /// A select must return.
        static let requested: UInt32 = 1
        /// There is no descriptor: not yet after a fork, or no longer after a close.
        ///
        /// No thread can be waiting, so it is enough to record a request.
        static let detached: UInt32 = 2
        /// Counts one call that is writing.
        static let writing: UInt32 = 4
    }

    /// Opens the descriptor; with `isEdge` the backend supports edge-triggered delivery.
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

    /// Waits until no request is under way, and closes the descriptor, unless its number names
    /// another file.
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

    /// The mask with which the backend watches the descriptor.
    var mask: UInt32 { isEdge ? PollMask.read | PollMask.edge : PollMask.read }

    /// Returns whether a descriptor is one of these.
    func owns(_ number: Int32) -> Bool {
        number == fd || number == writer.load(ordering: .relaxed)
    }

    /// Whether each write is reported once, to one thread, and needs no read.
    private var isEdge: Bool { canEdge && fd == writer.load(ordering: .relaxed) }

    /// Whether the descriptors still name the files that were opened here, as far as can be told.
    private var isIntact: Bool {
        @inline(never) get {
            let (fd, writer) = (fd, writer.load(ordering: .relaxed))
            return isOurs(fd) && (writer == fd || isOurs(writer))
        }
    }

    private func isOurs(_ fd: Int32) -> Bool {
        fd >= 0 && platform_is_same(fd, identity) != 0
    }

    /// Asks a select to return.
    ///
    /// Async-signal-safe. Another request while one is pending costs no system call.
    ///
    /// - Throws: `EBADF` if the program has closed the descriptor; the request is then not pending.
    @inline(__always)
    func request() throws(SystemError) {
        // The flag is written even if it is set, so that the thread that clears it sees the
        // caller's earlier writes.
        let isPending = state.compareExchange(
            expected: State.requested, desired: State.requested, ordering: .acquiringAndReleasing
        ).exchanged
        if !isPending { try requestAnew() }
    }

    @inline(never)
    private func requestAnew() throws(SystemError) {
        // The same step sets the flag and counts the call, so that a close waits for the write.
        var isCounted = false
        _ = change { old in
            isCounted = old & (State.requested | State.detached) == 0
            return (old | State.requested) + (isCounted ? State.writing : 0)
        }
        guard isCounted else { return }
        // A fork may have reset the count.
        defer { _ = change { $0 >= State.writing ? $0 - State.writing : nil } }
        do throws(SystemError) {
            try kick()
        } catch {
            state.bitwiseAnd(~State.requested, ordering: .relaxed)
            throw error
        }
    }

    /// Changes the state in one step, unless `new` returns `nil`; returns whether it did.
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

    /// Ends a wait in the kernel, without a request that a select returns.
    ///
    /// - Throws: `EBADF` if the program has closed the descriptor. A file that has its number now
    ///   is not written to.
    @inline(never)
    func kick() throws(SystemError) {
        if isDetached { return }
        do throws(SystemError) {
            guard isIntact else { throw SystemError(EBADF) }
            try check(platform_wakeup_write(writer.load(ordering: .relaxed)))
        } catch {
            if !isDetached { throw error }
        }
    }

    /// Whether a fork has interrupted a call, and this is the child.
    ///
    /// No thread waits, and a request is repeated when there is a new descriptor.
    private var isDetached: Bool { state.load(ordering: .relaxed) & State.detached != 0 }

    /// Drains the descriptor after a report, and returns whether a select must return.
    ///
    /// The order matters: a request between the two steps finds the flag set, and this call serves
    /// it.
    ///
    /// - Throws: `EBADF` if the program has closed the descriptor.
    func take() throws(SystemError) -> Bool {
        if !isEdge {
            guard isIntact else { throw SystemError(EBADF) }
            platform_wakeup_drain(fd)
        }
        return clear()
    }

    /// Drains the descriptor before a new kernel set watches it, so that only later writes are
    /// reported.
    ///
    /// No thread is in the kernel. ``repeatRequest()`` must follow.
    func forget() {
        if isIntact { platform_wakeup_drain(fd) }
    }

    /// Makes the descriptor readable if a request is pending.
    func repeatRequest() throws(SystemError) {
        if state.load(ordering: .acquiring) & State.requested != 0 { try kick() }
    }

    /// Clears a request, and returns whether there was one.
    private func clear() -> Bool {
        state.bitwiseAnd(~State.requested, ordering: .acquiringAndReleasing).oldValue
            & State.requested != 0
    }

    // MARK: Forks

    /// In the child of a fork, at once: closes the descriptor inherited from the parent.
    ///
    /// A pending request stays pending.
    @inline(never)
    mutating func detach() {
        _ = change { $0 & State.requested | State.detached }
        closeDescriptor()
    }

    /// In the child of a fork, with the gate held: takes a new descriptor.
    ///
    /// ``repeatRequest()`` must follow.
    mutating func attach(_ fd: Int32, writer other: Int32) {
        identity = platform_identify(fd)
        descriptor.store(fd, ordering: .relaxed)
        writer.store(other, ordering: .relaxed)
        state.bitwiseAnd(~State.detached, ordering: .acquiringAndReleasing)
    }
}
