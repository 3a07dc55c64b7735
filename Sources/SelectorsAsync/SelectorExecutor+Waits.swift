import CSelectorsPlatform
import Selectors

/// Waits for files: how they begin and end, and what is registered on their behalf.
///
/// A wait stands in the table from its beginning to its end. Whoever takes it out, under the lock,
/// resumes its task, after the lock was given back: so each is resumed once.
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
        // The thread sleeps until an earlier deadline's end.
        let isEarliest = isForeign && waits.earliest == slot
        lock.unlock()
        if isEarliest { selector.waker.wake() }
    }

    /// Registers what a new wait is for, or throws what ends that at once.
    ///
    /// A task is marked as cancelled before its handler is called, and the handler takes the lock: it
    /// either finds the wait in the table, or the mark is seen here.
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
        // The last nanosecond stands for no deadline.
        return isOver ? .max - 1 : min(end, .max - 1)
    }

    /// Ends a wait whose task was cancelled.
    func cancel(_ file: FileState, _ task: UInt) {
        lock.lock()
        if task == file.owner { file.isOwnerCancelled = true }
        var slot = file.first
        while slot != WaitTable.none && waits[slot].task != task { slot = waits[slot].next }
        // It has not begun, or has ended.
        guard slot != WaitTable.none else { return lock.unlock() }
        let wait = waits.remove(slot)
        updateRegistration(file)
        lock.unlock()
        wait.continuation.resume(throwing: CancellationError())
    }

    /// Ends the waits for a file for good.
    func unregister(_ file: FileState) {
        lock.lock()
        file.isUnregistered = true
        let ended = takeAll(of: file)
        lock.unlock()
        for wait in ended { wait.resume(throwing: SelectorError.notRegistered(file.fd)) }
    }

    /// Takes the waits for a file, and its registration.
    func takeAll(of file: FileState) -> [Continuation] {
        var ended: [Continuation] = []
        while file.first != WaitTable.none { ended.append(waits.remove(file.first).continuation) }
        unregisterFile(file)
        return ended
    }

    /// Forgets the registration of a handle that is gone, and so has no waits.
    func dropHandle(_ file: FileState) {
        lock.lock()
        // A select may just have returned it.
        if isSelecting && !file.interest.isEmpty { dropped.append(file) }
        unregisterFile(file)
        lock.unlock()
    }

    // MARK: Around a select

    /// Adapts what is registered to who waits now.
    ///
    /// - Returns: The moment on the monotonic clock until which to wait, `Int64.max` for no limit;
    ///   `nil` once stopped.
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

    /// Wakes the tasks whose files are ready or whose time is over.
    func finishSelect(_ ready: [ReadyEvent<Unmanaged<FileState>>]) {
        lock.lock()
        for event in ready {
            event.key.data._withUnsafeGuaranteedRef { wake($0, for: event.events) }
        }
        // The waits whose time is over, if the select has looked at their files.
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
            // The others are to be told, too.
            if file.first != WaitTable.none { updateRegistration(file) }
        } else if !file.isDirty {
            file.isDirty = true
            dirty.append(file)
        }
    }

    // MARK: Registrations

    /// What all waits for a file want, and whether one of them is a foreign task's.
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

    /// Makes a registration fit those who wait: without any it is forgotten.
    private func updateRegistration(_ file: FileState) {
        if file.interest.isEmpty { return }
        let (events, isAnyForeign) = wanted(file)
        if events.isEmpty { return unregisterFile(file) }
        if events == file.interest && isAnyForeign == file.isOneShot && !file.isSpent { return }
        // Less than before, or the same again, which is never refused.
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
            // Of a handle that nobody waits for now, perhaps of a file that was closed, nothing is to
            // be heard.
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
        // It is registered, and the selector open.
        _ = try? selector.unregister(file.fd)
    }
}
