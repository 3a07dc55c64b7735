import CSelectorsPlatform
import CSelectors

/// The engine under both faces: keeps registrations, deadlines and fairness over one backend.
///
/// Errors are errno values; the C header says which. Any thread may call anything at any time: the
/// gate lets one at a time at what is kept here, and leaves the lock to others while one waits in
/// the kernel.
package final class SelectorCore: @unchecked Sendable {
    let gate = Gate()
    /// Guards what a face keeps beside this; it is taken before ``gate``, and never during a wait.
    package let faceGate = Gate()
    let backend: any SelectorBackend
    /// The backend's ``SelectorBackend/epoll``, or -1.
    let epoll: Int32
    /// What the backend can do.
    ///
    /// Where the kernel does not see a change during a wait, the waiting thread is woken first.
    let capabilities: BackendCapabilities
    let wakeUp: WakeUp
    /// The backend's name, as a C string that lives forever.
    package let backendName: UnsafePointer<CChar>
    /// The gate guards it, so that nothing else has to.
    @exclusivity(unchecked) var table = RegistrationTable()

    /// The first number whose interest the backend has not been told yet.
    ///
    /// Changes wait for the next select, where a change and its reversal cancel out.
    var firstChange = RegistrationTable.none
    /// Set once `fileno` is known outside: somebody may wait on it, so changes cannot wait.
    var isNested = false

    /// What poll(2) watches because the backend cannot: files always ready, closed numbers.
    let refused = PollBackend()
    /// Whether the refused ones come first in the next select, so that neither kind starves.
    var refusedFirst = false

    /// An unregistered file may be left in the kernel set, because it was closed under its number
    /// before: an unknown token then means that the set has to be built anew.
    var mayHaveLeftovers = false

    /// Whether a signal ends a select.
    var isInterruptible = false

    /// What select has to see to before it may just wait.
    var duties: Duties = []

    struct Duties: OptionSet {
        let rawValue: UInt8
        /// Changes are to be handed to the backend.
        static let applyChanges = Duties(rawValue: 1)
        /// The kernel set is to be built anew before it is used again.
        static let rebuild = Duties(rawValue: 2)
        /// Some numbers are poll's to watch.
        static let pollRefused = Duties(rawValue: 4)
        /// A select is asked to return.
        static let wakeUp = Duties(rawValue: 8)
        /// The selector is being closed.
        static let close = Duties(rawValue: 16)
        /// The process is a fork's child, and the kernel set the parent's.
        static let leaveToParent = Duties(rawValue: 32)
    }

    /// How many threads sleep in the gate for a turn of theirs.
    var sleepers = 0
    /// How many of them want to change the set, and go first.
    var changers = 0

    /// Opens a core over a backend, which it closes, also when it throws.
    static func open(
        backend: any SelectorBackend, name: UnsafePointer<CChar>, capabilities: BackendCapabilities
    ) throws(SystemError) -> SelectorCore {
        do throws(SystemError) {
            try OpenCores.shared.listen()
            let wakeUp = try WakeUp.open()
            try backend.add(wakeUp.fd, mask: PollMask.read, token: WakeUp.token)
            return SelectorCore(
                backend: backend, name: name, capabilities: capabilities, wakeUp: wakeUp)
        } catch {
            backend.close()
            throw error
        }
    }

    private init(
        backend: any SelectorBackend, name: UnsafePointer<CChar>,
        capabilities: BackendCapabilities, wakeUp: consuming WakeUp
    ) {
        self.backend = backend
        epoll = backend.epoll ?? -1
        self.capabilities = capabilities
        self.wakeUp = wakeUp
        backendName = name
        OpenCores.shared.add(self)
    }

    deinit {
        OpenCores.shared.remove(self)
        close()
    }

    // MARK: Fork

    /// The neighbours in ``OpenCores``.
    var previousOpen: Unmanaged<SelectorCore>?
    var nextOpen: Unmanaged<SelectorCore>?

    /// Before a fork: makes sure that no thread is in the middle of a change.
    func prepareFork() {
        faceGate.lock()
        gate.lock()
    }

    /// After a fork, in the parent: goes on.
    func resumeAfterFork() {
        unlock()
        faceGate.unlock(attention: false)
    }

    /// After a fork, in the child: leaves the kernel set to the parent.
    ///
    /// The next call that needs one builds another.
    func leaveToParent() {
        if !duties.contains(.close) { duties.formUnion([.leaveToParent, .rebuild]) }
        wakeUp.detach()
        sleepers = 0
        changers = 0
        gate.unlockAfterFork(attention: !duties.isEmpty)
        faceGate.unlockAfterFork(attention: false)
    }

    // MARK: Threads

    /// Asks that the select which is waiting now, or else the next one, returns.
    ///
    /// Async-signal-safe.
    @inline(__always)
    package func wakeup() throws(SystemError) {
        try wakeUp.request()
    }

    /// Throws `ECANCELED` once the selector is closed.
    package func checkOpen() throws(SystemError) {
        try lock()
        unlock()
    }

    /// Makes signals end a select with `EINTR`, or not, also the one that goes on.
    package func setInterruptible(_ isInterruptible: Bool) throws(SystemError) {
        try lock()
        defer { unlock() }
        self.isInterruptible = isInterruptible
    }

    /// Ends all use: a blocked select returns `ECANCELED`, as does every later call.
    ///
    /// When this returns, no thread is inside any more, and the kernel set is gone.
    package func close() {
        gate.lock()
        defer { unlock() }
        if duties.contains(.close) { return }
        duties.insert(.close)
        while gate.isWaiting || sleepers > 0 {
            try? interruptWait()
            gate.sleep()
        }
        // The wake-up stays to the end, for threads that ask for one regardless.
        backend.close()
    }

    func unlock() {
        gate.unlock(attention: !duties.isEmpty)
    }

    /// Takes the lock of an open selector.
    func lock() throws(SystemError) {
        gate.lock()
        if duties.contains(.close) {
            unlock()
            throw SystemError(ECANCELED)
        }
    }

    /// Takes the lock at a moment at which the set may be changed.
    @inline(__always)
    func lockForChange() throws(SystemError) {
        guard gate.lockAndLook() else { return }
        if duties.contains(.close) || (gate.isWaiting && !capabilities.contains(.concurrent)) {
            try awaitTurnToChange()
        }
    }

    @inline(never)
    func awaitTurnToChange() throws(SystemError) {
        sleepers += 1
        changers += 1
        while gate.isWaiting && !duties.contains(.close) {
            try? interruptWait()
            gate.sleep()
        }
        changers -= 1
        sleepers -= 1
        if duties.contains(.close) {
            unlock()
            throw SystemError(ECANCELED)
        }
    }

    /// Makes the thread that waits in the kernel, if there is one, see to the duties.
    func interruptWait() throws(SystemError) {
        if gate.isWaiting { try wakeUp.kick() }
    }
}
