import CSelectorsPlatform
import CSelectors

/// The wait for events, and their way into the caller's array.
extension SelectorCore {
    /// Waits for events and stores up to `max` of them; `sel_select` and, where `signals` is given,
    /// `sel_pselect` have the manual.
    ///
    /// `max` is at least 1. Returns the number of events, or a negative errno value that
    /// ``LastError`` knows. Here is what happens mostly: a wait for long, by a selector with nothing
    /// to see to and no other thread inside, that ends with plain events. All else is left to
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
        let reports = SelectorCore.place(for: max, in: events)
        guard epoll >= 0 else {
            return SelectorCore.waitByBackend(self, reports: reports, events: events, max: max)
        }
        let saved = platform_errno()
        let reported = platform_epoll_wait_plainly(epoll, reports, max)
        guard reported > 0 && gate.tryEndWait() else {
            return SelectorCore.goOn(
                self, after: reported, saved: saved, reports: reports, events: events)
        }
        var (left, report, event) = (reported, reports, events)
        let registrations = table.all
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
        core.gate.lock()
        return core.selectInFull(into: events, max: max, timeout: timeout, signals: signals)
    }

    /// A select whose plain wait has found nothing, or has failed, or not been alone; `saved` is what
    /// errno was before.
    @inline(never)
    private static func goOn(
        _ core: SelectorCore, after reported: Int32, saved: Int32,
        reports: UnsafeMutablePointer<BackendEvent>, events: UnsafeMutablePointer<sel_event>
    ) -> Int32 {
        endWait(
            core, after: reported < 0 ? platform_failure(saved) : reported, reports: reports,
            events: events)
    }

    /// A select without a limit over a backend that is no epoll.
    @inline(never)
    private static func waitByBackend(
        _ core: SelectorCore, reports: UnsafeMutablePointer<BackendEvent>,
        events: UnsafeMutablePointer<sel_event>, max: Int32
    ) -> Int32 {
        let reported: Int32
        do throws(SystemError) {
            reported = try core.backend.wait(into: reports, max: max, timeout: -1, signals: nil)
        } catch {
            reported = 0 &- error.code
        }
        return endWait(core, after: reported, reports: reports, events: events)
    }

    /// Ends a wait with so many reports or a negative errno value, and the select if there is
    /// something to return.
    private static func endWait(
        _ core: SelectorCore, after reported: Int32, reports: UnsafeMutablePointer<BackendEvent>,
        events: UnsafeMutablePointer<sel_event>
    ) -> Int32 {
        core.gate.endWait()
        if reported < 0 && core.endsSelect(SystemError(0 &- reported)) {
            core.unlock()
            return core.refuse(SystemError(0 &- reported))
        }
        return deliverRest(core, reported, of: reported, from: reports, to: events)
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
        return core.selectInFull(into: event, max: max, timeout: -1, signals: nil)
    }

    /// Ends a select that returns events.
    @inline(never)
    private static func leave(_ core: SelectorCore, with count: Int32) -> Int32 {
        if !core.duties.isEmpty { core.settle() }
        core.unlock()
        return count
    }

    /// The whole of select: with duties, with a deadline, and again after a wait that gave nothing.
    ///
    /// The lock is held when it begins.
    @inline(never)
    private func selectInFull(
        into events: UnsafeMutablePointer<sel_event>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) -> Int32 {
        do throws(SystemError) {
            return try repeatedSelect(into: events, max: max, timeout: timeout, signals: signals)
        } catch {
            return refuse(error)
        }
    }

    private func refuse(_ error: SystemError) -> Int32 {
        0 &- LastError.record(error).code
    }

    private func repeatedSelect(
        into events: UnsafeMutablePointer<sel_event>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
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
                let count = try collectFromAll(
                    into: events, max: max, timeout: remaining, signals: signals)
                if count > 0 {
                    if !duties.isEmpty { settle() }
                    return count
                }
                if duties.contains(.wakeUp) { continue }
            } catch {
                if endsSelect(error) { throw error }
            }
            if let deadline { remaining = deadline.remaining }
            // What is left of old registrations may have kept others from being reported.
            if remaining == 0 && !duties.contains(.rebuild) { return 0 }
        }
    }

    /// Tells whether what a wait has thrown is for the caller, and not a signal to go on after.
    private func endsSelect(_ error: SystemError) -> Bool {
        error.code != EINTR || isInterruptible
    }

    /// Sees to the duties that cannot wait for the next select once this one returns events.
    private func settle() {
        duties.remove(.wakeUp)
        if isNested { applyChangesOrWake() }
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
        // the report after the i-th begins, whatever max is.
        (UnsafeMutableRawPointer(events) + Int(UInt32(bitPattern: max)) * surplus)
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
        let registrations = table.all
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
        guard Int(fd) < registrations.count else { return false }
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
        // A plug-in may report twice what is to be told once.
        if readiness == 0 || registration.pointee.flags.contains(.disarmed) { return event }
        event.pointee = sel_event(
            key: sel_key(
                fd: Int32(truncatingIfNeeded: report.token), events: interest,
                data: registration.pointee.data),
            events: readiness, detail: Interest.detail(report.mask))
        // What poll watches has no edges: it is told again after the next change.
        if interest & Interest.oneShot != 0
            || interest & Interest.edge != 0 && registration.pointee.flags.contains(.refused)
        {
            registration.pointee.flags.insert(.disarmed)
            noteChange(event.pointee.key.fd)
        }
        return event + 1
    }

    /// Looks at the backend and, if there are any, at the refused ones in turn, and lets go of the
    /// lock to block only if none is ready.
    private func collectFromAll(
        into events: UnsafeMutablePointer<sel_event>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32 {
        if timeout == 0 || duties.contains(.pollRefused) {
            refusedFirst.toggle()
            var count: Int32 = 0
            var failure: SystemError?
            for turn in 0..<2 where count < max {
                let isRefused = (turn == 0) == refusedFirst
                if isRefused && !duties.contains(.pollRefused) { continue }
                let source: any SelectorBackend = isRefused ? refused : backend
                do throws(SystemError) {
                    let (rest, room) = (events + Int(count), max - count)
                    let reports = SelectorCore.place(for: room, in: rest)
                    let reported = try source.wait(
                        into: reports, max: room, timeout: 0, signals: nil)
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
        let reports = SelectorCore.place(for: max, in: events)
        gate.beginWait(attention: !duties.isEmpty)
        do throws(SystemError) {
            let reported = try backend.wait(
                into: reports, max: max, timeout: timeout, signals: signals)
            gate.endWait()
            return deliver(reports, reported, to: events)
        } catch {
            gate.endWait()
            throw error
        }
    }
}
