import CPlatform
import CSelectors

/// The wait for events, and their way into the caller's array.
extension SelectorCore {
    /// Waits for events and stores up to `max` of them; `sel_select` and, where `signals` is given,
    /// `sel_pselect` have the manual.
    @inline(__always)
    package func select(
        into events: UnsafeMutablePointer<sel_event>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>? = nil
    ) throws(SystemError) -> Int32 {
        guard max >= 1 else { throw SystemError(EINVAL) }
        if timeout < 0 && gate.tryBeginWait() {
            do throws(SystemError) {
                let reports = place(for: max, in: events)
                let reported = try backend.wait(
                    into: reports, max: max, timeout: timeout, signals: signals)
                gate.endWait()
                let count = deliver(reports, reported, to: events)
                if count > 0 {
                    if !(duties.isEmpty && gate.tryUnlock()) { leave() }
                    return count
                }
            } catch {
                try recover(from: error)
            }
        } else {
            gate.lock()
        }
        return try selectInFull(into: events, max: max, timeout: timeout, signals: signals)
    }

    /// Takes the lock after a wait that has failed, if select is to go on.
    @inline(never)
    private func recover(from error: SystemError) throws(SystemError) {
        gate.endWait()
        if endsSelect(error) {
            unlock()
            throw error
        }
    }

    /// Ends a select that returns events.
    @inline(never)
    private func leave() {
        settle()
        unlock()
    }

    /// The whole of select: with duties, with a deadline, and again after a wait that gave nothing.
    ///
    /// The lock is held when it begins.
    @inline(never)
    private func selectInFull(
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
        if Interest.mayEnd(interest) { return deliverInFull(report, to: event) }
        let readiness = Interest.readiness(report.mask, interest: interest)
        if readiness == 0 { return event }
        event.pointee = sel_event(
            key: sel_key(
                fd: Int32(truncatingIfNeeded: report.token), events: interest,
                data: registration.pointee.data),
            events: readiness, detail: 0)
        return event + 1
    }

    /// The whole of deliver: with errors, hang-ups and delivery modes, and with what is left of old
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
        if readiness == 0 { return event }
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
                    let reports = place(for: room, in: rest)
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
                if let signals { try check(platform_take_signals(signals)) }
                return 0
            }
        }
        let reports = place(for: max, in: events)
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
