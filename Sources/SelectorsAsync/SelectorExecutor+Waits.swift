import CSelectorsPlatform
import Selectors

/// Waits for files: their beginning, their end, and the registrations that they need.
///
/// A wait is in the table from beginning to end. The code that removes it, under the lock, resumes
/// its task after releasing the lock. So each task is resumed once.
extension SelectorExecutor {
    // MARK: Beginning and end

    /// Begins a wait, or resumes its task at once.
    func startWait(
        _ file: FileState, _ task: UInt, _ events: EventMask, _ timeout: Duration?,
        _ continuation: Continuation
    ) {
        let isForeign = !isCurrent
        let deadline = timeout.map(SelectorExecutor.deadline) ?? .max
        lock.lock()
        do {
            try register(file, task, events, isForeign)
        } catch {
            lock.unlock()
            return continuation.resume(throwing: error)
        }
        let slot = waits.add(
            Wait(
                task: task, file: file, events: events, continuation: continuation,
                deadline: deadline, round: round, isForeign: isForeign, next: file.first))
        // The thread may be blocked until the deadline that was the earliest before.
        let isEarliest = isForeign && waits.earliest == slot
        lock.unlock()
        if isEarliest { selector.waker.wake() }
    }

    /// Registers the file for a new wait, or throws the error that ends the wait at once.
    ///
    /// A task is marked as cancelled before its cancellation handler is called, and the handler
    /// takes the lock. So either the handler finds the wait in the table, or the mark is seen
    /// here.
    private func register(
        _ file: FileState, _ task: UInt, _ events: EventMask, _ isForeign: Bool
    ) throws {
        let isCancelled = task == file.owner ? file.isOwnerCancelled : Task.isCancelled
        if isCancelled { throw CancellationError() }
        if isStopped { throw SelectorError.closed }
        if file.isUnregistered { throw SelectorError.notRegistered(file.fd) }
        if events.isEmpty || !events.isSubset(of: [.read, .write, .priority, .readHangup]) {
            throw SelectorError.invalidEvents
        }
        if !isForeign && !file.isOneShot && file.interest.isSuperset(of: events) { return }
        let (others, isAnyForeign) = wanted(file)
        try watch(file, others.union(events), isOneShot: isForeign || isAnyForeign)
    }

    private static func deadline(_ timeout: Duration) -> Int64 {
        let (end, isOver) = platform_now().addingReportingOverflow(nanoseconds(timeout))
        // `Int64.max` means no deadline.
        return isOver ? .max - 1 : min(end, .max - 1)
    }

    /// Ends a wait whose task was cancelled.
    func cancel(_ file: FileState, _ task: UInt) {
        lock.lock()
        if task == file.owner { file.isOwnerCancelled = true }
        var slot = file.first
        while slot != WaitTable.none && waits[slot].task != task { slot = waits[slot].next }
        // The wait has not begun, or has ended.
        guard slot != WaitTable.none else { return lock.unlock() }
        let wait = waits.remove(slot)
        updateRegistration(file)
        lock.unlock()
        wait.continuation.resume(throwing: CancellationError())
    }

    /// Ends the waits for a file permanently.
    func unregister(_ file: FileState) {
        lock.lock()
        file.isUnregistered = true
        let ended = takeAll(of: file)
        lock.unlock()
        for wait in ended { wait.resume(throwing: SelectorError.notRegistered(file.fd)) }
    }

    /// Removes the waits for a file and its registration.
    func takeAll(of file: FileState) -> [Continuation] {
        var ended: [Continuation] = []
        while file.first != WaitTable.none { ended.append(waits.remove(file.first).continuation) }
        unregisterFile(file)
        return ended
    }

    /// Removes the registration of a handle that is being deallocated, and so has no waits.
    func dropHandle(_ file: FileState) {
        lock.lock()
        // A select may just have returned it, so keep it alive.
        if isSelecting && !file.interest.isEmpty { dropped.append(file) }
        unregisterFile(file)
        lock.unlock()
    }

    // MARK: Around a select

    /// Updates the registrations to the current waits.
    ///
    /// - Returns: The time on the monotonic clock at which the select must end, `Int64.max` for no
    ///   limit; `nil` once stopped.
    func prepareSelect() -> Int64? {
        lock.lock()
        defer { lock.unlock() }
        for file in dirty {
            file.isDirty = false
            updateRegistration(file)
        }
        dirty.removeAll(keepingCapacity: true)
        if isStopped { return nil }
        round += 1
        isSelecting = true
        return waits.earliest.map { waits[$0].deadline } ?? .max
    }

    /// Wakes the tasks whose files are ready or whose timeout has expired.
    func finishSelect(_ ready: [ReadyEvent<Unmanaged<FileState>>]) {
        lock.lock()
        for event in ready {
            event.key.data._withUnsafeGuaranteedRef { wake($0, for: event.events) }
        }
        // A wait expires only after a select that began after it, and so has polled its file.
        let now = waits.earliest == nil ? 0 : platform_now()
        while let slot = waits.earliest, waits[slot].deadline <= now, waits[slot].round < round {
            let wait = waits.remove(slot)
            updateRegistration(wait.file)
            woken.append((wait.continuation, []))
        }
        isSelecting = false
        dropped.removeAll()
        lock.unlock()
        for (continuation, events) in woken { continuation.resume(returning: events) }
        woken.removeAll(keepingCapacity: true)
    }

    private func wake(_ file: FileState, for events: EventMask) {
        var slot = file.first
        while slot != WaitTable.none {
            let next = waits[slot].next
            let matching = waits[slot].events.intersection(events)
            if !matching.isEmpty { woken.append((waits.remove(slot).continuation, matching)) }
            slot = next
        }
        if file.isOneShot {
            file.isSpent = true
            // Re-arm it for the remaining waits.
            if file.first != WaitTable.none { updateRegistration(file) }
        } else if !file.isDirty {
            file.isDirty = true
            dirty.append(file)
        }
    }

    // MARK: Registrations

    /// The union of the events of all waits for a file, and whether one of them is a foreign
    /// task's.
    private func wanted(_ file: FileState) -> (EventMask, isAnyForeign: Bool) {
        var events: EventMask = []
        var isAnyForeign = false
        var slot = file.first
        while slot != WaitTable.none {
            events.formUnion(waits[slot].events)
            isAnyForeign = isAnyForeign || waits[slot].isForeign
            slot = waits[slot].next
        }
        return (events, isAnyForeign)
    }

    /// Updates a registration to the current waits; removes it if there are none.
    private func updateRegistration(_ file: FileState) {
        if file.interest.isEmpty { return }
        let (events, isAnyForeign) = wanted(file)
        if events.isEmpty { return unregisterFile(file) }
        if events == file.interest && isAnyForeign == file.isOneShot && !file.isSpent { return }
        // Fewer events, or the same again, which never fails.
        try? watch(file, events, isOneShot: isAnyForeign)
    }

    private func watch(
        _ file: FileState, _ events: EventMask, isOneShot: Bool
    ) throws(SelectorError) {
        let mask = isOneShot ? events.union(.oneShot) : events
        let data = Unmanaged.passUnretained(file)
        do throws(SelectorError) {
            if file.interest.isEmpty {
                try selector.register(file.fd, events: mask, data: data)
            } else {
                try selector.modify(file.fd, events: mask, data: data)
            }
        } catch .alreadyRegistered {
            // The other handle has no waits, and its file may be closed: its registration is not
            // needed.
            let owner = try selector.key(of: file.fd).data.takeUnretainedValue()
            guard owner.first == WaitTable.none else { throw .alreadyRegistered(file.fd) }
            unregisterFile(owner)
            try selector.register(file.fd, events: mask, data: data)
        }
        (file.interest, file.isOneShot, file.isSpent) = (events, isOneShot, false)
    }

    private func unregisterFile(_ file: FileState) {
        if file.interest.isEmpty { return }
        file.interest = []
        file.isSpent = false
        // This cannot fail: the file is registered, and the selector is open.
        _ = try? selector.unregister(file.fd)
    }
}
