import CPlatform
import CSelectors

/// The engine under both faces: keeps registrations, deadlines and fairness over one backend.
///
/// Errors are errno values; the C header says which. Any thread may call anything at any time: the
/// gate lets one at a time at what is kept here, and leaves the lock to others while one waits in
/// the kernel.
package final class SelectorCore: @unchecked Sendable {
    private let gate = Gate()
    private let backend: any SelectorBackend
    /// Whether the kernel sees a change of the set while it is waiting.
    ///
    /// If not, the waiting thread is woken first.
    private let isConcurrent: Bool
    private let wakeUp: WakeUp
    /// The backend's name, as a C string that lives forever.
    package let backendName: UnsafePointer<CChar>
    private var table = RegistrationTable()

    /// The first number whose interest the backend has not been told yet.
    ///
    /// Changes wait for the next select, where a change and its reversal cancel out.
    private var firstChange = RegistrationTable.none
    /// Set once `fileno` is known outside: somebody may wait on it, so changes cannot wait.
    private var isNested = false

    /// What poll(2) watches because the backend cannot: files always ready, closed numbers.
    private let refused = PollBackend()
    /// Whether the refused ones come first in the next select, so that neither kind starves.
    private var refusedFirst = false

    /// An unregistered file may be left in the kernel set, because it was closed under its number
    /// before: an unknown token then means that the set has to be built anew.
    private var mayHaveLeftovers = false

    /// What select has to see to before it may just wait.
    private var duties: Duties = []

    private struct Duties: OptionSet {
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
    private var sleepers = 0
    /// How many of them want to change the set, and go first.
    private var changers = 0

    /// Opens a core over a backend, which it closes, also when it throws.
    static func open(
        backend: any SelectorBackend, name: UnsafePointer<CChar>, capabilities: BackendCapabilities
    ) throws(SystemError) -> SelectorCore {
        do throws(SystemError) {
            let wakeUp = try WakeUp.open()
            try backend.add(wakeUp.fd, mask: PollMask.read, token: WakeUp.token)
            return SelectorCore(
                backend: backend, name: name,
                isConcurrent: capabilities.contains(.concurrent), wakeUp: wakeUp)
        } catch {
            backend.close()
            throw error
        }
    }

    private init(
        backend: any SelectorBackend, name: UnsafePointer<CChar>, isConcurrent: Bool,
        wakeUp: consuming WakeUp
    ) {
        self.backend = backend
        self.isConcurrent = isConcurrent
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
        gate.lock()
    }

    /// After a fork, in the parent: goes on.
    func resumeAfterFork() {
        unlock()
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
    }

    // MARK: Registrations

    /// Starts to watch `fd`; `sel_register` has the manual.
    package func register(
        _ fd: Int32, events: UInt32, data: UnsafeMutableRawPointer?
    ) throws(SystemError) {
        guard fd >= 0, Interest.isValid(events) else { throw SystemError(EINVAL) }
        try lockForChange()
        defer { unlock() }
        if !table.hasRoom(for: fd) {
            // Memory for a number is claimed only if it can be one.
            try check(platform_check_open(fd))
            try table.reserve(fd)
        }
        let registration = table.at(fd)
        guard registration.pointee.interest == 0 else { throw SystemError(EEXIST) }
        try rebuildIfNeeded()
        try watch(fd, events)
        registration.pointee.data = data
        registration.pointee.interest = events
        registration.pointee.installed = UInt16(truncatingIfNeeded: events)
        table.append(fd)
        // The wait that goes on does not look at what is poll's.
        if registration.pointee.flags.contains(.refused) { try? interruptWait() }
    }

    /// Changes what `fd` is watched for and its data; `sel_modify` has the manual.
    package func modify(
        _ fd: Int32, events: UInt32, data: UnsafeMutableRawPointer?
    ) throws(SystemError) {
        guard fd >= 0, Interest.isValid(events) else { throw SystemError(EINVAL) }
        try lockForChange()
        defer { unlock() }
        guard let registration = table.find(fd) else { throw SystemError(ENOENT) }
        registration.pointee.data = data
        if registration.pointee.interest == events { return }
        registration.pointee.interest = events
        if !registration.pointee.flags.contains(.changed) {
            registration.pointee.flags.insert(.changed)
            registration.pointee.nextChange = firstChange
            firstChange = fd
            duties.insert(.applyChanges)
        }
        if isNested || gate.isWaiting {
            // What goes wrong here comes up again in the next select.
            try? applyChanges()
            if registration.pointee.flags.contains(.refused) { try? interruptWait() }
        }
    }

    /// Forgets `fd` and returns its registration; `sel_unregister` has the manual.
    @discardableResult
    package func unregister(_ fd: Int32) throws(SystemError) -> sel_key {
        guard fd >= 0 else { throw SystemError(EINVAL) }
        try lockForChange()
        defer { unlock() }
        let key = try find(fd)
        if !duties.contains(.rebuild) { unwatch(fd) }
        table.remove(fd)
        return key
    }

    /// The registration of `fd`; throws `ENOENT` if there is none.
    package func key(of fd: Int32) throws(SystemError) -> sel_key {
        guard fd >= 0 else { throw SystemError(EINVAL) }
        try lock()
        defer { unlock() }
        return try find(fd)
    }

    private func find(_ fd: Int32) throws(SystemError) -> sel_key {
        guard let registration = table.find(fd) else { throw SystemError(ENOENT) }
        return sel_key(
            fd: fd, events: registration.pointee.interest, data: registration.pointee.data)
    }

    /// Stores the first `max` registrations in the order in which they came, and returns how many
    /// there are.
    @discardableResult
    package func copyKeys(
        to keys: UnsafeMutablePointer<sel_key>?, max: Int32
    ) throws(SystemError) -> Int32 {
        try lock()
        defer { unlock() }
        var next = table.first
        for index in 0..<Int(min(max, table.count)) {
            let registration = table.at(next)
            keys.unsafelyUnwrapped[index] = sel_key(
                fd: next, events: registration.pointee.interest, data: registration.pointee.data)
            next = registration.pointee.next
        }
        return table.count
    }

    /// The backend's own descriptor; throws `ENOTSUP` where it has none.
    package func fileno() throws(SystemError) -> Int32 {
        try lockForChange()
        defer { unlock() }
        try rebuildIfNeeded()
        guard let fileno = try backend.fileno() else { throw SystemError(ENOTSUP) }
        try applyChanges()
        isNested = true
        return fileno
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

    private func unlock() {
        gate.unlock(attention: !duties.isEmpty)
    }

    /// Takes the lock of an open selector.
    private func lock() throws(SystemError) {
        gate.lock()
        if duties.contains(.close) {
            unlock()
            throw SystemError(ECANCELED)
        }
    }

    /// Takes the lock at a moment at which the set may be changed.
    private func lockForChange() throws(SystemError) {
        gate.lock()
        if duties.contains(.close) || (gate.isWaiting && !isConcurrent) { try awaitTurnToChange() }
    }

    @inline(never)
    private func awaitTurnToChange() throws(SystemError) {
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
    private func interruptWait() throws(SystemError) {
        if gate.isWaiting { try wakeUp.kick() }
    }

    // MARK: Waiting

    /// Waits for events and stores up to `max` of them; `sel_select` has the manual.
    @inline(__always)
    package func select(
        into events: UnsafeMutablePointer<sel_event>, max: Int32, timeout: Int64
    ) throws(SystemError) -> Int32 {
        guard max >= 1 else { throw SystemError(EINVAL) }
        if timeout < 0 && gate.tryBeginWait() {
            var count: Int32 = 0
            do throws(SystemError) {
                let reports = place(for: max, in: events)
                let reported = try backend.wait(into: reports, max: max, timeout: timeout)
                gate.endWait()
                count = deliver(reports, reported, to: events)
            } catch {
                gate.endWait()
                if error.code != EINTR {
                    unlock()
                    throw error
                }
            }
            if count > 0 {
                if !duties.isEmpty { duties.remove(.wakeUp) }
                unlock()
                return count
            }
        } else {
            gate.lock()
        }
        return try selectInFull(into: events, max: max, timeout: timeout)
    }

    /// The whole of select: with duties, with a deadline, and again after a wait that gave nothing.
    ///
    /// The lock is held when it begins.
    @inline(never)
    private func selectInFull(
        into events: UnsafeMutablePointer<sel_event>, max: Int32, timeout: Int64
    ) throws(SystemError) -> Int32 {
        defer { unlock() }
        let deadline = timeout > 0 ? Deadline(after: timeout) : nil
        var remaining = timeout
        while true {
            while (gate.isWaiting || changers > 0) && !duties.contains(.close) {
                sleepers += 1
                gate.sleep(atMost: remaining)
                sleepers -= 1
                if let deadline { remaining = deadline.remaining }
                if remaining == 0 { break }
            }
            if duties.contains(.close) { throw SystemError(ECANCELED) }
            // All the time another thread was waiting, and had what was ready.
            if gate.isWaiting { return 0 }
            try rebuildIfNeeded()
            try applyChanges()
            if duties.contains(.wakeUp) {
                duties.remove(.wakeUp)
                return 0
            }
            do throws(SystemError) {
                let count = try collectFromAll(into: events, max: max, timeout: remaining)
                if count > 0 {
                    duties.remove(.wakeUp)
                    return count
                }
                if duties.contains(.wakeUp) { continue }
            } catch {
                guard error.code == EINTR else { throw error }
            }
            if let deadline { remaining = deadline.remaining }
            // What is left of old registrations may have kept others from being reported.
            if remaining == 0 && !duties.contains(.rebuild) { return 0 }
        }
    }

    /// Where a backend puts its reports: at the far end of the caller's own array.
    ///
    /// The events then grow from the near end.
    @inline(__always)
    private func place(
        for max: Int32, in events: UnsafeMutablePointer<sel_event>
    ) -> UnsafeMutablePointer<BackendEvent> {
        // SAFETY: a report is at most two thirds of an event, so that the i-th event ends before
        // the report after the i-th begins, whatever max is.
        UnsafeMutableRawPointer(events + Int(max)).assumingMemoryBound(to: BackendEvent.self)
            - Int(max)
    }

    /// Turns a backend's reports into events, and returns how many there are.
    @inline(__always)
    private func deliver(
        _ reports: UnsafeMutablePointer<BackendEvent>, _ reported: Int32,
        to events: UnsafeMutablePointer<sel_event>
    ) -> Int32 {
        var report = reports
        let end = reports + Int(reported)
        var next = events
        while report < end {
            next = deliver(report.pointee, to: next)
            report += 1
        }
        return Int32(truncatingIfNeeded: next - events)
    }

    /// Turns a report into an event, if it is one, and returns the place of the next event.
    @inline(__always)
    private func deliver(
        _ report: BackendEvent, to event: UnsafeMutablePointer<sel_event>
    ) -> UnsafeMutablePointer<sel_event> {
        guard Interest.isPlain(report.mask), let registration = table.find(token: report.token)
        else { return deliverInFull(report, to: event) }
        let interest = registration.pointee.interest
        let readiness = Interest.readiness(report.mask, interest: interest)
        if readiness == 0 { return event }
        event.pointee = sel_event(
            key: sel_key(
                fd: Int32(truncatingIfNeeded: report.token), events: interest,
                data: registration.pointee.data),
            events: readiness, detail: 0)
        return event + 1
    }

    /// The whole of deliver: with errors and hang-ups, and with what is left of old registrations.
    @inline(never)
    private func deliverInFull(
        _ report: BackendEvent, to event: UnsafeMutablePointer<sel_event>
    ) -> UnsafeMutablePointer<sel_event> {
        guard let registration = table.find(token: report.token) else {
            if report.token == WakeUp.token {
                if wakeUp.take() { duties.insert(.wakeUp) }
            } else if mayHaveLeftovers {
                duties.insert(.rebuild)
            }
            return event
        }
        let interest = registration.pointee.interest
        let readiness = Interest.fullReadiness(report.mask, interest: interest)
        if readiness == 0 { return event }
        event.pointee = sel_event(
            key: sel_key(
                fd: Int32(truncatingIfNeeded: report.token), events: interest,
                data: registration.pointee.data),
            events: readiness, detail: Interest.detail(report.mask))
        return event + 1
    }

    /// Looks at the backend and, if there are any, at the refused ones in turn, and lets go of the
    /// lock to block only if none is ready.
    private func collectFromAll(
        into events: UnsafeMutablePointer<sel_event>, max: Int32, timeout: Int64
    ) throws(SystemError) -> Int32 {
        if timeout == 0 || duties.contains(.pollRefused) {
            refusedFirst.toggle()
            var count: Int32 = 0
            for turn in 0..<2 where count < max {
                let isRefused = (turn == 0) == refusedFirst
                if isRefused && !duties.contains(.pollRefused) { continue }
                let source: any SelectorBackend = isRefused ? refused : backend
                do throws(SystemError) {
                    let (rest, room) = (events + Int(count), max - count)
                    let reports = place(for: room, in: rest)
                    let reported = try source.wait(into: reports, max: room, timeout: 0)
                    count += deliver(reports, reported, to: rest)
                } catch {
                    if count == 0 { throw error }
                }
            }
            if count > 0 || timeout == 0 || duties.contains(.wakeUp) { return count }
        }
        let reports = place(for: max, in: events)
        gate.beginWait(attention: !duties.isEmpty)
        do throws(SystemError) {
            let reported = try backend.wait(into: reports, max: max, timeout: timeout)
            gate.endWait()
            return deliver(reports, reported, to: events)
        } catch {
            gate.endWait()
            throw error
        }
    }

    // MARK: The kernel set

    /// Has the backend watch a number, or, where it cannot, poll(2).
    private func watch(_ fd: Int32, _ events: UInt32) throws(SystemError) {
        table.at(fd).pointee.flags.remove(.refused)
        do throws(SystemError) {
            try backend.add(fd, mask: Interest.pollMask(events), token: table.token(fd))
        } catch {
            guard error.code == EPERM else { throw error }
            try pollRefused(fd, events)
        }
    }

    /// Takes a number out of the kernel set, or notes that its file may be left behind there.
    private func unwatch(_ fd: Int32) {
        if table.at(fd).pointee.flags.contains(.refused) { return releaseRefused(fd) }
        do throws(SystemError) {
            try backend.remove(fd)
        } catch {
            mayHaveLeftovers = true
        }
    }

    /// Tells the backend what changed since the last wait.
    private func applyChanges() throws(SystemError) {
        // The one that is to be built will have them.
        if duties.contains(.rebuild) { return }
        while firstChange != RegistrationTable.none {
            let fd = firstChange
            let registration = table.at(fd)
            let interest = registration.pointee.interest
            if interest != 0 && interest != UInt32(registration.pointee.installed) {
                try apply(fd, interest)
                registration.pointee.installed = UInt16(truncatingIfNeeded: interest)
            }
            registration.pointee.flags.remove(.changed)
            firstChange = registration.pointee.nextChange
        }
        duties.remove(.applyChanges)
    }

    /// Hands one changed interest to the kernel.
    ///
    /// If that refuses, the number is left to poll(2), which will say what is wrong with it.
    private func apply(_ fd: Int32, _ interest: UInt32) throws(SystemError) {
        let (mask, token) = (Interest.pollMask(interest), table.token(fd))
        let registration = table.at(fd)
        if registration.pointee.flags.contains(.refused) {
            // The number may name a file by now that the backend does take.
            if (try? backend.add(fd, mask: mask, token: token)) != nil {
                releaseRefused(fd)
            } else {
                refused.modify(fd, mask: mask, token: token)
            }
            return
        }
        do throws(SystemError) {
            try backend.modify(fd, mask: mask, token: token)
        } catch {
            // The file that was registered is closed, or has another number now. The token of what
            // may be left of it must not speak for the file that has its number.
            mayHaveLeftovers = true
            registration.pointee.generation &+= 1
            if (try? backend.add(fd, mask: mask, token: table.token(fd))) != nil { return }
            try pollRefused(fd, interest)
        }
    }

    /// Leaves a number that the backend cannot watch to poll(2).
    private func pollRefused(_ fd: Int32, _ events: UInt32) throws(SystemError) {
        try refused.insert(fd, mask: Interest.pollMask(events), token: table.token(fd))
        table.at(fd).pointee.flags.insert(.refused)
        duties.insert(.pollRefused)
    }

    /// Takes a number back from poll(2).
    private func releaseRefused(_ fd: Int32) {
        refused.remove(fd)
        table.at(fd).pointee.flags.remove(.refused)
        if refused.count == 0 { duties.remove(.pollRefused) }
    }

    /// Gives the backend an empty kernel set and fills it with all that is registered.
    ///
    /// If that is cut short by an error, the next call begins anew.
    private func rebuildIfNeeded() throws(SystemError) {
        guard duties.contains(.rebuild) else { return }
        try backend.reset(afterFork: duties.contains(.leaveToParent))
        if duties.contains(.leaveToParent) {
            if try wakeUp.attach() { duties.insert(.wakeUp) }
            duties.remove(.leaveToParent)
        }
        try backend.add(wakeUp.fd, mask: PollMask.read, token: WakeUp.token)
        refused.reset(afterFork: false)
        duties.remove(.pollRefused)
        mayHaveLeftovers = false
        var fd = table.first
        while fd != RegistrationTable.none {
            let registration = table.at(fd)
            let interest = registration.pointee.interest
            do throws(SystemError) {
                try watch(fd, interest)
            } catch {
                // One that was closed meanwhile is poll's to report.
                guard error.code == EBADF else { throw error }
                try pollRefused(fd, interest)
            }
            registration.pointee.installed = UInt16(truncatingIfNeeded: interest)
            fd = registration.pointee.next
        }
        duties.remove(.rebuild)
    }
}
