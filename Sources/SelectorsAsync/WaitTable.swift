import Selectors

/// How a wait ends.
enum Outcome: Sendable {
    case ready(EventMask)
    case timeIsOver
    case cancelled
    case failed(SelectorError)
}

#if DEBUG
    /// It tells of one that is resumed twice or never.
    typealias Continuation = CheckedContinuation<Outcome, Never>
#else
    typealias Continuation = UnsafeContinuation<Outcome, Never>
#endif

/// A task that waits for a file.
struct Wait {
    /// What the task's cancellation handler calls it; among the waits of one file.
    let id: UInt64
    /// The file's state, which lives as long as the wait.
    unowned(unsafe) let file: FileState
    let events: EventMask
    let continuation: Continuation
    /// On the monotonic clock, in nanoseconds; `Int64.max`: none.
    let deadline: Int64
    /// The executor's round in which it began.
    let round: UInt64
    /// Whether the task runs elsewhere.
    let isForeign: Bool
    /// The next wait for the same file, or ``WaitTable/none``.
    var next: Int32
    /// Where it stands among the deadlines, or ``WaitTable/none``.
    var place = WaitTable.none
}

/// What an executor has on file about an ``AsyncFile``, under the executor's lock.
final class FileState: @unchecked Sendable {
    enum Mode {
        /// Level-triggered, for tasks that run in the executor's thread.
        case level
        /// Reported once, for tasks that run elsewhere.
        case oneShot
    }

    let fd: Int32
    /// What it is registered for; empty: it is not registered.
    var interest: EventMask = []
    var mode = Mode.level
    /// Whether the one-shot registration has reported.
    var isSpent = false
    /// Whether it is in the executor's list of registrations to look at before the next select.
    var isDirty = false
    var isUnregistered = false
    /// The first of its waits, or ``WaitTable/none``.
    var first = WaitTable.none

    init(_ fd: Int32) {
        self.fd = fd
    }
}

/// The waits of an executor, each with a slot of its own, and a heap of their deadlines.
///
/// Slots are used again, so that nothing is allocated once warm, and an ended wait leaves the heap at
/// once.
struct WaitTable: ~Copyable {
    static let none: Int32 = -1

    private var slots: [Wait?] = []
    private var free: [Int32] = []
    /// The slots with a deadline; each is not earlier than that at half its place.
    private var heap: [Int32] = []

    subscript(slot: Int32) -> Wait {
        // A slot that is asked for is taken.
        slots[Int(slot)].unsafelyUnwrapped
    }

    /// The wait whose deadline comes first.
    var earliest: Int32? { heap.first }

    /// The number of deadlines, and of slots: what memory is used for.
    var sizes: (deadlines: Int, slots: Int) { (heap.count, slots.count) }

    /// Adds a wait to its file.
    ///
    /// - Returns: Its slot.
    mutating func add(_ wait: Wait) -> Int32 {
        let slot: Int32
        if let old = free.popLast() {
            slot = old
            slots[Int(slot)] = wait
        } else {
            slot = Int32(slots.count)
            slots.append(wait)
        }
        wait.file.first = slot
        if wait.deadline != .max {
            heap.append(slot)
            rise(heap.count - 1)
        }
        return slot
    }

    /// Takes a wait from its file, where `previous` (or ``none``) comes before it; in O(log n) with a
    /// deadline, else O(1).
    mutating func remove(_ slot: Int32, after previous: Int32) -> Wait {
        let wait = self[slot]
        if previous == WaitTable.none {
            wait.file.first = wait.next
        } else {
            slots[Int(previous)]?.next = wait.next
        }
        if wait.place != WaitTable.none { removeDeadline(at: Int(wait.place)) }
        slots[Int(slot)] = nil
        free.append(slot)
        return wait
    }

    /// Takes a wait from its file, which is searched for it.
    mutating func remove(_ slot: Int32) -> Wait {
        var previous = WaitTable.none
        var other = self[slot].file.first
        while other != slot {
            previous = other
            other = self[other].next
        }
        return remove(slot, after: previous)
    }

    /// The files that somebody waits for.
    var files: [FileState] {
        slots.compactMap { $0?.file }
    }

    // MARK: The heap

    private mutating func removeDeadline(at place: Int) {
        let last = heap.removeLast()
        if place == heap.count { return }
        put(last, place)
        sink(place)
        rise(place)
    }

    private mutating func put(_ slot: Int32, _ place: Int) {
        heap[place] = slot
        slots[Int(slot)]?.place = Int32(place)
    }

    private func deadline(at place: Int) -> Int64 {
        self[heap[place]].deadline
    }

    private mutating func rise(_ start: Int) {
        var place = start
        let slot = heap[place]
        let deadline = self[slot].deadline
        while place > 0 {
            let parent = (place - 1) / 2
            if self.deadline(at: parent) <= deadline { break }
            put(heap[parent], place)
            place = parent
        }
        put(slot, place)
    }

    private mutating func sink(_ start: Int) {
        var place = start
        let slot = heap[place]
        let deadline = self[slot].deadline
        while true {
            var child = 2 * place + 1
            if child >= heap.count { break }
            if child + 1 < heap.count && self.deadline(at: child + 1) < self.deadline(at: child) {
                child += 1
            }
            if deadline <= self.deadline(at: child) { break }
            put(heap[child], place)
            place = child
        }
        put(slot, place)
    }
}
