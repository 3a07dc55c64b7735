import CSelectorsPlatform
import CSelectors

/// The wait for events, and their delivery to the caller's array.
extension SelectorCore {
    /// Waits for events and stores up to `max` of them; see `sel_select` and, for `signals`,
    /// `sel_pselect`.
    ///
    /// `max` is at least 1. Returns the number of events, or a negative errno value that
    /// ``LastError`` knows. This function is the fast path: a wait without a timeout, with no
    /// duties and no other thread inside, that ends with plain events. The rest is in functions
    /// that are not inlined and take few arguments, so that this one needs few registers.
    @inline(__always)
    package func select(
        into events: UnsafeMutablePointer<sel_event>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>? = nil
    ) -> Int32 {
        guard timeout < 0 && signals == nil && gate.tryBeginWait() else {
            return SelectorCore.selectInFull(
                self, into: events, max: max, timeout: timeout, signals: signals)
        }
        return waitPlainly(into: events, max: max)
    }

    /// A select without a timeout, after its wait has begun in the gate.
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
        return gate.tryUnlock() ? reported : SelectorCore.finishSelect(self, with: reported)
    }

    /// A select that does not begin on the fast path, or is not worth the code of the fast path.
    @inline(never)
    package static func selectInFull(
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
            return failSelect(error)
        }
    }

    /// Ends a plain wait that found nothing, failed or was not alone.
    ///
    /// Ends the select too if there is something to return. `saved` is the value of errno before
    /// the wait.
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
                let error = core.explain(SystemError(0 &- result))
                core.unlock()
                throw error
            }
        } catch {
            return failSelect(error)
        }
        return deliverRest(core, result, of: result, from: reports, to: events)
    }

    /// Ends a select whose last reports are not plain.
    ///
    /// Each report before them is an event. If there is no event in the end, the select waits
    /// again.
    @inline(never)
    private static func deliverRest(
        _ core: SelectorCore, _ left: Int32, of reported: Int32,
        from report: UnsafeMutablePointer<BackendEvent>,
        to event: UnsafeMutablePointer<sel_event>
    ) -> Int32 {
        let count = reported - left + core.deliver(report, left, to: event)
        if count > 0 { return finishSelect(core, with: count) }
        let max = room(before: report, from: event)
        do throws(SystemError) {
            return try core.repeatedSelect(into: event, max: max, timeout: -1, signals: nil)
        } catch {
            return failSelect(error)
        }
    }

    /// Ends a select that returns events.
    @inline(never)
    private static func finishSelect(_ core: SelectorCore, with count: Int32) -> Int32 {
        core.performUrgentDuties()
        core.unlock()
        return count
    }

    private static func failSelect(_ error: SystemError) -> Int32 {
        Explanation.fail(error)
    }

    /// The full select: with duties, with a deadline, and repeated after a wait without events.
    ///
    /// The lock is held on entry and free on return.
    @inline(never)
    private func repeatedSelect(
        into events: UnsafeMutablePointer<sel_event>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32 {
        defer {
            passOnPoll()
            unlock()
        }
        do throws(SystemError) {
            return try selectUntilEvents(
                into: events, max: max, timeout: timeout, signals: signals)
        } catch {
            throw explain(error)
        }
    }

    @inline(__always)
    private func selectUntilEvents(
        into events: UnsafeMutablePointer<sel_event>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32 {
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
                // Another thread waited all the time and received what was ready.
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
                    performUrgentDuties()
                    return count
                }
                if duties.contains(.wakeUp) { continue }
                try checkWakeUp()
            } catch {
                if endsSelect(error) { throw error }
            }
            // A failed change does not hold up events, but is thrown if there are none.
            if let failure { throw failure }
            if let deadline { remaining = deadline.remaining }
            // Reports that gave no event may have taken the place of others.
            if remaining == 0 && !duties.contains(.rebuild) {
                if isLastLook || !state.pointee.hasSeenWakeUp { return 0 }
                isLastLook = true
            }
        }
    }

    /// Until when a select may sleep for its turn, on the clock of `platform_now`.
    ///
    /// With a timeout of 0 it waits for a change of the kernel set, which takes no time, but not
    /// for another thread that has the set to itself.
    private func turnEnd(_ timeout: Int64, _ deadline: Deadline?) -> Int64 {
        if timeout == 0 && !state.pointee.capabilities.contains(.concurrent) { return 0 }
        return deadline?.end ?? -1
    }

    /// Returns whether a select throws the error of a wait.
    ///
    /// A signal does not end a select that is not interruptible. If a signal handler has forked,
    /// the wait starts over in the child.
    private func endsSelect(_ error: SystemError) -> Bool {
        error.code == EINTR
            ? state.pointee.isInterruptible : !duties.contains(.renewAfterFork)
    }

    /// Throws a failure of the wake-up, once.
    private func checkWakeUp() throws(SystemError) {
        let code = state.pointee.wakeUpFailure
        state.pointee.wakeUpFailure = 0
        if code != 0 { throw SystemError(code) }
    }

    /// Performs the duties that cannot wait for the next select, before this one returns events.
    private func performUrgentDuties() {
        if duties.isEmpty { return }
        duties.remove(.wakeUp)
        if state.pointee.isNested || gate.isWaiting { applyChangesOrWake() }
        passOnPoll()
    }

    /// The number of bytes by which an event is larger than a report.
    private static let surplus =
        MemoryLayout<sel_event>.stride - MemoryLayout<BackendEvent>.stride

    /// Where a backend stores its reports: at the far end of the caller's array.
    ///
    /// The events then grow from the near end.
    @inline(__always)
    private static func place(
        for max: Int32, in events: UnsafeMutablePointer<sel_event>
    ) -> UnsafeMutablePointer<BackendEvent> {
        // SAFETY: a report is at most two thirds of an event. The i-th event thus ends before the
        // report after the i-th begins, for any max. With 32 bits no array has as many events as an
        // Int32 can count.
        let most = Int32(clamping: Int.max / MemoryLayout<sel_event>.stride)
        return (UnsafeMutableRawPointer(events) + Int(UInt32(bitPattern: min(max, most))) * surplus)
            .assumingMemoryBound(to: BackendEvent.self)
    }

    /// The `max` for which ``place(for:in:)`` returned `reports`.
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

    /// Turns a report into an event if it is plain; returns whether it did.
    ///
    /// A plain report is read or write readiness that was asked for, of a registration that it
    /// leaves unchanged.
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

    /// Handles all other reports, and returns the place of the next event.
    ///
    /// These have errors, hang-ups or delivery modes, or belong to old registrations.
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
        // Another thread may have received it too, or a plug-in has reported a one-shot twice.
        if readiness == 0 || registration.pointee.flags.contains(.disarmed) { return event }
        event.pointee = sel_event(
            key: sel_key(
                fd: Int32(truncatingIfNeeded: report.token), events: interest,
                data: registration.pointee.data),
            events: readiness, detail: Interest.detail(report.mask))
        let isRefused = registration.pointee.flags.contains(.polled)
        if interest & Interest.oneShot != 0 {
            registration.pointee.flags.insert(.disarmed)
            if !isRefused && isOneShotInKernel(interest) {
                registration.pointee.installed = SelectorCore.spent
            } else {
                noteChange(event.pointee.key.fd)
                // Another thread may have a report. It may be armed again before the change is made,
                // which waits for a rebuild.
                if gate.hasOthers && renewToken(event.pointee.key.fd) {
                    registration.pointee.installed = SelectorCore.outdated
                }
            }
        } else if interest & Interest.edge != 0 && isRefused {
            // poll(2) has no edges: the descriptor is reported again after the next change.
            registration.pointee.flags.insert(.disarmed)
            noteChange(event.pointee.key.fd)
        }
        return event + 1
    }

    /// Handles a report of the wake-up's descriptor.
    private func takeWakeUp() {
        state.pointee.hasSeenWakeUp = true
        do throws(SystemError) {
            if try state.pointee.wakeUp.take() { duties.insert(.wakeUp) }
        } catch {
            state.pointee.wakeUpFailure = error.code
        }
        // It may have been meant for a thread that has begun to wait since.
        passOnEvacuation()
    }

    /// Looks at the backend and at what poll(2) watches, in turn, and blocks only if nothing is
    /// ready.
    ///
    /// The lock is free while it blocks.
    private func collectFromAll(
        into events: UnsafeMutablePointer<sel_event>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32 {
        if timeout == 0 || duties.contains(.pollBeside) {
            state.pointee.polledFirst.toggle()
            var count: Int32 = 0
            var failure: SystemError?
            for turn in 0..<2 where count < max {
                let isRefused = (turn == 0) == state.pointee.polledFirst
                if isRefused && (!duties.contains(.pollBeside) || duties.contains(.blockInPoll)) {
                    continue
                }
                do throws(SystemError) {
                    let (rest, room) = (events + Int(count), max - count)
                    let reports = SelectorCore.place(for: room, in: rest)
                    let reported = try poll(isRefused, into: reports, max: room)
                    count += deliver(reports, reported, to: rest)
                } catch {
                    // The other kind may still have something ready.
                    failure = error
                }
            }
            if count > 0 || duties.contains(.wakeUp) { return count }
            if let failure { throw failure }
            if timeout == 0 {
                // Before a rebuild, signals stay pending: select looks at the new set first.
                if let signals, !duties.contains(.rebuild) {
                    try check(platform_take_signals(signals))
                }
                return 0
            }
        }
        var pollable: Int32?
        if duties.contains(.pollBeside) && !duties.contains(.blockInPoll) {
            returnToBackend()
            if duties.contains(.pollBeside) { pollable = state.pointee.backend.pollable() }
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
                // In a fork's child that must close the selector, no other thread uses the list.
                if isForeign && gate.isAbandoned { remove(me) }
                throw error
            }
            if isForeign { remove(me) }
            if pollable != nil { endPoll() }
            passOnEvacuation()
            return deliver(reports, try check(result), to: events)
        }
    }

    /// Looks at the backend, or at what poll(2) watches, without blocking.
    private func poll(
        _ isRefused: Bool, into reports: UnsafeMutablePointer<BackendEvent>, max: Int32
    ) throws(SystemError) -> Int32 {
        guard isRefused else {
            return try state.pointee.backend.wait(into: reports, max: max, timeout: 0, signals: nil)
        }
        do throws(SystemError) {
            return try polled.pointee.wait(into: reports, max: max, timeout: 0, signals: nil)
        } catch {
            guard error.code == EINVAL else { throw error }
            return try probeOneByOne(into: reports, max: max)
        }
    }

    /// Checks one by one what poll(2) watches: poll(2) rejects more than RLIMIT_NOFILE descriptors.
    private func probeOneByOne(
        into reports: UnsafeMutablePointer<BackendEvent>, max: Int32
    ) throws(SystemError) -> Int32 {
        var count = 0
        var failure: SystemError?
        var slot = polled.pointee.count - 1
        while slot >= 0 && count < Int(max) {
            let fd = polled.pointee.number(at: slot)
            slot -= 1
            do throws(SystemError) {
                let mask = try returnToBackend(fd)
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

    /// Ends a wait in poll(2).
    private func endPoll() {
        duties.remove(.blockInPoll)
        // What poll(2) found in the backend must be fetched, even if the time is over.
        state.pointee.hasSeenWakeUp = true
    }

    /// Releases the lock and waits, but does not take the lock again.
    ///
    /// With `pollable`, poll(2) waits for that descriptor and for those that it watches. Returns a
    /// negative errno value on failure.
    private func wait(
        beside pollable: Int32?, into reports: UnsafeMutablePointer<BackendEvent>, max: Int32,
        timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) -> Int32 {
        gate.beginWait(attention: !duties.isEmpty)
        do throws(SystemError) {
            if let pollable {
                return try polled.pointee.wait(
                    beside: pollable, into: reports, max: max, timeout: timeout, signals: signals)
            }
            return try state.pointee.backend.wait(
                into: reports, max: max, timeout: timeout, signals: signals)
        } catch {
            return 0 &- error.code
        }
    }

    /// Removes a thread from the list of foreign waiters.
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
