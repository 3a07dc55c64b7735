import CSelectorsPlatform
import CSelectors

/// The wait for events, and their way into the caller's array.
extension SelectorCore {
    /// Waits for events and stores up to `max` of them; `sel_select` and, where `signals` is given,
    /// `sel_pselect` have the manual.
    ///
    /// `max` is at least 1. Returns the number of events, or a negative errno value that
    /// ``LastError`` knows. Here is what happens mostly: a wait without a limit, by a selector with
    /// nothing to see to and no other thread inside, that ends with plain events. All else is left to
    /// functions that are not inlined and take few arguments, so that this one needs few registers.
    @inline(__always)
    package func select(
        into events: UnsafeMutablePointer<sel_event>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>? = nil
    ) -> Int32 {
        guard timeout < 0 && signals == nil && gate.tryBeginWait() else {
            return SelectorCore.begin(
                self, into: events, max: max, timeout: timeout, signals: signals)
        }
        return waitPlainly(into: events, max: max)
    }

    /// A select without a limit that has begun to wait.
    @inline(__always)
    private func waitPlainly(into events: UnsafeMutablePointer<sel_event>, max: Int32) -> Int32 {
        let reports = SelectorCore.place(for: max, in: events)
        let saved = platform_errno()
        let reported = state.pointee.backend.waitPlainly(into: reports, max: max)
        guard reported > 0 && gate.tryEndWait() else {
            return SelectorCore.endWait(
                self, after: reported, saved: saved, reports: reports, events: events)
        }
        var (left, report, event) = (reported, reports, events)
        let registrations = state.pointee.table.all
        repeat {
            guard deliverPlainly(report, to: event, of: registrations) else {
                return SelectorCore.deliverRest(
                    self, left, of: reported, from: report, to: event)
            }
            report += 1
            event += 1
            left -= 1
        } while left != 0
        return gate.tryUnlock() ? reported : SelectorCore.leave(self, with: reported)
    }

    /// A select that begins otherwise than most.
    @inline(never)
    private static func begin(
        _ core: SelectorCore, into events: UnsafeMutablePointer<sel_event>, max: Int32,
        timeout: Int64, signals: UnsafePointer<sigset_t>?
    ) -> Int32 {
        if timeout < 0 && signals == nil && core.gate.tryShareWait() {
            return core.waitPlainly(into: events, max: max)
        }
        do throws(SystemError) {
            try core.gate.lock()
            return try core.repeatedSelect(
                into: events, max: max, timeout: timeout, signals: signals)
        } catch {
            return core.refuse(error)
        }
    }

    /// Ends a plain wait that has found nothing, has failed or was not alone, and the select if there
    /// is something to return; `saved` is what errno was before.
    @inline(never)
    private static func endWait(
        _ core: SelectorCore, after reported: Int32, saved: Int32,
        reports: UnsafeMutablePointer<BackendEvent>, events: UnsafeMutablePointer<sel_event>
    ) -> Int32 {
        let result =
            reported < 0 ? core.state.pointee.backend.explain(reported, errno: saved) : reported
        do throws(SystemError) {
            try core.gate.endWait()
            core.passOnEvacuation()
            if result < 0 && core.endsSelect(SystemError(0 &- result)) {
                core.unlock()
                throw SystemError(0 &- result)
            }
        } catch {
            return core.refuse(error)
        }
        return deliverRest(core, result, of: result, from: reports, to: events)
    }

    /// The end of a select whose last reports are not plain.
    ///
    /// Each report before them is an event; without these there may be none in the end.
    @inline(never)
    private static func deliverRest(
        _ core: SelectorCore, _ left: Int32, of reported: Int32,
        from report: UnsafeMutablePointer<BackendEvent>,
        to event: UnsafeMutablePointer<sel_event>
    ) -> Int32 {
        let count = reported - left + core.deliver(report, left, to: event)
        if count > 0 { return leave(core, with: count) }
        let max = room(before: report, from: event)
        do throws(SystemError) {
            return try core.repeatedSelect(into: event, max: max, timeout: -1, signals: nil)
        } catch {
            return core.refuse(error)
        }
    }

    /// Ends a select that returns events.
    @inline(never)
    private static func leave(_ core: SelectorCore, with count: Int32) -> Int32 {
        core.settle()
        core.unlock()
        return count
    }

    private func refuse(_ error: SystemError) -> Int32 {
        Explanation.refuse(explain(error))
    }

    /// The whole of select: with duties, with a deadline, and again after a wait that gave nothing.
    ///
    /// The lock is held when it begins, and free when it ends.
    @inline(never)
    private func repeatedSelect(
        into events: UnsafeMutablePointer<sel_event>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32 {
        defer {
            passOnPoll()
            unlock()
        }
        let deadline = timeout > 0 ? Deadline(after: timeout) : nil
        var remaining = timeout
        var hasTurn = false
        var isLastLook = false
        while true {
            try checkUsable()
            if duties.contains(.wakeUp) {
                duties.remove(.wakeUp)
                return 0
            }
            try rebuildIfNeeded()
            if !gate.mayWait(hasTurn: hasTurn) {
                hasTurn = gate.awaitTurn(until: turnEnd(timeout, deadline), isFirst: hasTurn)
                // All the time another thread was waiting, and had what was ready.
                if !hasTurn { return 0 }
                if let deadline { remaining = deadline.remaining }
                continue
            }
            if duties.isSuperset(of: .changesInPoll) {
                try evacuate()
                continue
            }
            let failure = applyChanges()
            state.pointee.hasSeenWakeUp = false
            do throws(SystemError) {
                let count = try collectFromAll(
                    into: events, max: max, timeout: failure == nil ? remaining : 0,
                    signals: signals)
                if count > 0 {
                    settle()
                    return count
                }
                if duties.contains(.wakeUp) { continue }
                try checkWakeUp()
            } catch {
                if endsSelect(error) { throw error }
            }
            // It keeps nobody from being served, but is told when there is nobody to serve.
            if let failure { throw failure }
            if let deadline { remaining = deadline.remaining }
            // What is no event may have kept others from being reported.
            if remaining == 0 && !duties.contains(.rebuild) {
                if isLastLook || !state.pointee.hasSeenWakeUp { return 0 }
                isLastLook = true
            }
        }
    }

    /// How long a select may sleep for its turn, on the clock of `platform_now`.
    ///
    /// One that only looks waits for a change of the kernel set, which takes no time, but not for
    /// another thread that has the set for itself.
    private func turnEnd(_ timeout: Int64, _ deadline: Deadline?) -> Int64 {
        if timeout == 0 && !state.pointee.capabilities.contains(.concurrent) { return 0 }
        return deadline?.end ?? -1
    }

    /// Tells whether what a wait has thrown is for the caller, and not a signal to go on after, nor from a
    /// signal handler's having forked: this child's wait has to begin anew.
    private func endsSelect(_ error: SystemError) -> Bool {
        error.code == EINTR
            ? state.pointee.isInterruptible : !duties.contains(.leaveToParent)
    }

    /// Throws what has gone wrong with the wake-up, once.
    private func checkWakeUp() throws(SystemError) {
        let code = state.pointee.wakeUpFailure
        state.pointee.wakeUpFailure = 0
        if code != 0 { throw SystemError(code) }
    }

    /// Sees to the duties that cannot wait for the next select once this one returns events.
    private func settle() {
        if duties.isEmpty { return }
        duties.remove(.wakeUp)
        if state.pointee.isNested || gate.isWaiting { applyChangesOrWake() }
        passOnPoll()
    }

    /// How many bytes an event is longer than a report.
    private static let surplus =
        MemoryLayout<sel_event>.stride - MemoryLayout<BackendEvent>.stride

    /// Where a backend puts its reports: at the far end of the caller's own array.
    ///
    /// The events then grow from the near end.
    @inline(__always)
    private static func place(
        for max: Int32, in events: UnsafeMutablePointer<sel_event>
    ) -> UnsafeMutablePointer<BackendEvent> {
        // SAFETY: a report is at most two thirds of an event, so that the i-th event ends before
        // the report after the i-th begins, whatever max is. With 32 bits no array has as many events
        // as an Int32 can tell.
        let most = Int32(clamping: Int.max / MemoryLayout<sel_event>.stride)
        return (UnsafeMutableRawPointer(events) + Int(UInt32(bitPattern: min(max, most))) * surplus)
            .assumingMemoryBound(to: BackendEvent.self)
    }

    /// The `max` that gave a place for reports.
    private static func room(
        before reports: UnsafeMutablePointer<BackendEvent>,
        from events: UnsafeMutablePointer<sel_event>
    ) -> Int32 {
        let distance = UnsafeRawPointer(reports) - UnsafeRawPointer(events)
        return Int32(truncatingIfNeeded: distance / surplus)
    }

    /// Turns a backend's reports into events, and returns how many there are.
    private func deliver(
        _ reports: UnsafeMutablePointer<BackendEvent>, _ reported: Int32,
        to events: UnsafeMutablePointer<sel_event>
    ) -> Int32 {
        var (left, report, event) = (reported, reports, events)
        let registrations = state.pointee.table.all
        while left > 0 {
            if deliverPlainly(report, to: event, of: registrations) {
                event += 1
            } else {
                event = deliverInFull(report.pointee, to: event)
            }
            report += 1
            left -= 1
        }
        return Int32(truncatingIfNeeded: event - events)
    }

    /// Turns a report into an event if it is of the plain kind: data to read or room to write, as
    /// was asked, by what stays registered as it is.
    @inline(__always)
    private func deliverPlainly(
        _ report: UnsafeMutablePointer<BackendEvent>, to event: UnsafeMutablePointer<sel_event>,
        of registrations: UnsafeBufferPointer<Registration>
    ) -> Bool {
        let mask = report.pointee.mask
        let (fd, generation) = (
            platform_token_half(report, 0), platform_token_half(report, 1)
        )
        // As UInt, for the token of the wake-up has no number that an Int of 32 bits could hold.
        guard UInt(fd) < UInt(bitPattern: registrations.count) else { return false }
        let registration = registrations.baseAddress.unsafelyUnwrapped + Int(fd)
        let interest = registration.pointee.interest
        let readiness = Interest.plainReadiness(mask, interest: interest)
        guard registration.pointee.generation == generation,
            UInt16(truncatingIfNeeded: mask) & registration.pointee.unusual == 0, readiness != 0
        else { return false }
        event.pointee = sel_event(
            key: sel_key(
                fd: Int32(bitPattern: fd), events: interest, data: registration.pointee.data),
            events: readiness, detail: 0)
        return true
    }

    /// All the others: with errors, hang-ups and delivery modes, and with what is left of old
    /// registrations.
    @inline(never)
    private func deliverInFull(
        _ report: BackendEvent, to event: UnsafeMutablePointer<sel_event>
    ) -> UnsafeMutablePointer<sel_event> {
        guard let registration = state.pointee.table.find(token: report.token) else {
            if report.token == WakeUp.token {
                takeWakeUp()
            } else if state.pointee.mayHaveLeftovers {
                duties.insert(.rebuild)
            }
            return event
        }
        let interest = registration.pointee.interest
        let readiness = Interest.fullReadiness(report.mask, interest: interest)
        // Another thread may have got it, too, and a plug-in report twice what is to be told once.
        if readiness == 0 || registration.pointee.flags.contains(.disarmed) { return event }
        event.pointee = sel_event(
            key: sel_key(
                fd: Int32(truncatingIfNeeded: report.token), events: interest,
                data: registration.pointee.data),
            events: readiness, detail: Interest.detail(report.mask))
        let isRefused = registration.pointee.flags.contains(.refused)
        if interest & Interest.oneShot != 0 {
            registration.pointee.flags.insert(.disarmed)
            if !isRefused && isOneShotInKernel(interest) {
                registration.pointee.installed = SelectorCore.spent
            } else {
                noteChange(event.pointee.key.fd)
            }
        } else if interest & Interest.edge != 0 && isRefused {
            // What poll watches has no edges: it is told again after the next change.
            registration.pointee.flags.insert(.disarmed)
            noteChange(event.pointee.key.fd)
        }
        return event + 1
    }

    /// The wake-up's descriptor was reported.
    private func takeWakeUp() {
        state.pointee.hasSeenWakeUp = true
        do throws(SystemError) {
            if try state.pointee.wakeUp.take() { duties.insert(.wakeUp) }
        } catch {
            state.pointee.wakeUpFailure = error.code
        }
        // It may have been meant for one who has begun to wait since.
        passOnEvacuation()
    }

    /// Looks at the backend and, if there are any, at the refused ones in turn, and lets go of the
    /// lock to block only if none is ready.
    private func collectFromAll(
        into events: UnsafeMutablePointer<sel_event>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32 {
        if timeout == 0 || duties.contains(.pollRefused) {
            state.pointee.refusedFirst.toggle()
            var count: Int32 = 0
            var failure: SystemError?
            for turn in 0..<2 where count < max {
                let isRefused = (turn == 0) == state.pointee.refusedFirst
                if isRefused && (!duties.contains(.pollRefused) || duties.contains(.blockInPoll)) {
                    continue
                }
                do throws(SystemError) {
                    let (rest, room) = (events + Int(count), max - count)
                    let reports = SelectorCore.place(for: room, in: rest)
                    let reported = try look(isRefused, into: reports, max: room)
                    count += deliver(reports, reported, to: rest)
                } catch {
                    // The other kind may have something ready all the same.
                    failure = error
                }
            }
            if count > 0 || duties.contains(.wakeUp) { return count }
            if let failure { throw failure }
            if timeout == 0 {
                // With old registrations in the way the set is looked at once more.
                if let signals, !duties.contains(.rebuild) {
                    try check(platform_take_signals(signals))
                }
                return 0
            }
        }
        var pollable: Int32?
        if duties.contains(.pollRefused) && !duties.contains(.blockInPoll) {
            watchRefused()
            if duties.contains(.pollRefused) { pollable = state.pointee.backend.pollable() }
            if pollable != nil { duties.insert(.blockInPoll) }
        }
        let reports = SelectorCore.place(for: max, in: events)
        var me = ForeignWaiter(next: state.pointee.foreignWaiters)
        return try withUnsafeMutablePointer(to: &me) { me throws(SystemError) in
            let isForeign = duties.contains(.foreign)
            if isForeign { state.pointee.foreignWaiters = me }
            let result = wait(
                beside: pollable, into: reports, max: max, timeout: timeout, signals: signals)
            do throws(SystemError) {
                try gate.endWait()
            } catch {
                // In a fork's child that has to close it, the list is this thread's alone.
                if isForeign && gate.isAbandoned { remove(me) }
                throw error
            }
            if isForeign { remove(me) }
            if pollable != nil { endPoll() }
            passOnEvacuation()
            return deliver(reports, try check(result), to: events)
        }
    }

    /// Looks at the backend, or at what poll(2) watches, without waiting.
    private func look(
        _ isRefused: Bool, into reports: UnsafeMutablePointer<BackendEvent>, max: Int32
    ) throws(SystemError) -> Int32 {
        guard isRefused else {
            return try state.pointee.backend.wait(into: reports, max: max, timeout: 0, signals: nil)
        }
        do throws(SystemError) {
            return try refused.pointee.wait(into: reports, max: max, timeout: 0, signals: nil)
        } catch {
            guard error.code == EINVAL else { throw error }
            return try lookOneByOne(into: reports, max: max)
        }
    }

    /// Looks at the refused ones without poll(2), which takes no more than RLIMIT_NOFILE.
    private func lookOneByOne(
        into reports: UnsafeMutablePointer<BackendEvent>, max: Int32
    ) throws(SystemError) -> Int32 {
        var count = 0
        var failure: SystemError?
        var slot = refused.pointee.count - 1
        while slot >= 0 && count < Int(max) {
            let fd = refused.pointee.number(at: slot)
            slot -= 1
            do throws(SystemError) {
                let mask = try watchRefused(fd)
                if mask == 0 { continue }
                reports[count] = BackendEvent(
                    mask: mask, token: state.pointee.table.token(fd))
                count += 1
            } catch {
                failure = error
            }
        }
        if count == 0, let failure { throw failure }
        return Int32(count)
    }

    /// A thread has blocked in poll(2) and is back.
    private func endPoll() {
        duties.remove(.blockInPoll)
        // What poll(2) has found in the backend is to be fetched, even if the time is over.
        state.pointee.hasSeenWakeUp = true
    }

    /// Waits with the lock free, but does not take it again; returns a negative errno value on failure.
    ///
    /// With the backend's own descriptor it is poll(2) that waits, for that and for what is refused.
    private func wait(
        beside pollable: Int32?, into reports: UnsafeMutablePointer<BackendEvent>, max: Int32,
        timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) -> Int32 {
        gate.beginWait(attention: !duties.isEmpty)
        do throws(SystemError) {
            if let pollable {
                return try refused.pointee.wait(
                    beside: pollable, into: reports, max: max, timeout: timeout, signals: signals)
            }
            return try state.pointee.backend.wait(
                into: reports, max: max, timeout: timeout, signals: signals)
        } catch {
            return 0 &- error.code
        }
    }

    /// Takes a thread out of those that wait by a function of somebody else's.
    private func remove(_ waiter: UnsafeMutablePointer<ForeignWaiter>) {
        var place = state.pointee.foreignWaiters
        if place == waiter {
            state.pointee.foreignWaiters = waiter.pointee.next
            return
        }
        while let other = place {
            if other.pointee.next == waiter {
                other.pointee.next = waiter.pointee.next
                return
            }
            place = other.pointee.next
        }
    }
}
