import Selectors

#if DEBUG
    /// Reports a continuation that is resumed twice or never.
    typealias Continuation = CheckedContinuation<EventMask, any Error>
#else
    typealias Continuation = UnsafeContinuation<EventMask, any Error>
#endif

/// A task that waits for a file.
struct Wait {
    /// The task, which has no other wait.
    let task: UInt
    /// The file's state, which outlives the wait.
    unowned(unsafe) let file: FileState
    let events: EventMask
    let continuation: Continuation
    /// On the monotonic clock, in nanoseconds; `Int64.max`: none.
    let deadline: Int64
    /// The executor's round in which the wait began.
    let round: UInt64
    /// Whether the task runs elsewhere.
    let isForeign: Bool
    /// The next wait for the same file, or ``WaitTable/none``.
    var next: Int32
    /// Its index in the heap of deadlines.
    var place = 0
}

/// The executor's state of an ``AsyncFile``, guarded by the executor's lock.
final class FileState: @unchecked Sendable {
    let fd: Int32
    /// The registered events; empty: not registered.
    var interest: EventMask = []
    /// Whether the registration is one-shot, for tasks that run elsewhere; otherwise it is
    /// level-triggered, for tasks of the executor's thread.
    var isOneShot = false
    /// Whether the one-shot registration has fired.
    var isSpent = false
    /// Whether it is in the executor's list of registrations to update before the next select.
    var isDirty = false
    var isUnregistered = false
    /// The task whose waits are cancelled by the handler of ``withAsyncFile(_:on:_:)``; set once,
    /// before the handle is shared.
    var owner: UInt = 0
    var isOwnerCancelled = false
    /// The first of its waits, or ``WaitTable/none``.
    var first = WaitTable.none

    init(_ fd: Int32) { self.fd = fd }
}

/// The waits of an executor, each in its own slot, and a heap of their deadlines.
///
/// Slots are reused, so that the steady state allocates nothing. A wait leaves the heap when it
/// ends.
struct WaitTable: ~Copyable {
    static let none: Int32 = -1

    private var slots: [Wait?] = []
    private var free: [Int32] = []
    /// A binary heap of the slots with a deadline, the earliest first.
    private var heap: [Int32] = []

    subscript(slot: Int32) -> Wait {
        // The caller passes only slots in use.
        slots[Int(slot)].unsafelyUnwrapped
    }

    /// The slot of the wait with the earliest deadline.
    var earliest: Int32? { heap.first }

    /// The number of deadlines and of slots, which determine the memory use.
    var sizes: (deadlines: Int, slots: Int) { (heap.count, slots.count) }

    /// The file of each wait.
    var files: [FileState] { slots.compactMap { $0?.file } }

    /// Adds a wait to its file, and returns its slot.
    mutating func add(_ wait: Wait) -> Int32 {
        if free.isEmpty {
            free.append(Int32(slots.count))
            slots.append(nil)
        }
        let slot = free.removeLast()
        slots[Int(slot)] = wait
        wait.file.first = slot
        if wait.deadline != .max {
            heap.append(slot)
            insert(slot, at: heap.count - 1)
        }
        return slot
    }

    /// Removes a wait: O(log n) with a deadline, plus the number of later waits for the same file.
    mutating func remove(_ slot: Int32) -> Wait {
        let wait = self[slot]
        if wait.file.first == slot {
            wait.file.first = wait.next
        } else {
            var previous = wait.file.first
            while self[previous].next != slot { previous = self[previous].next }
            slots[Int(previous)]?.next = wait.next
        }
        if wait.deadline != .max {
            let last = heap.removeLast()
            if last != slot { insert(last, at: wait.place) }
        }
        slots[Int(slot)] = nil
        free.append(slot)
        return wait
    }

    /// Inserts a slot into the heap: sifts it up or down from a free index.
    private mutating func insert(_ slot: Int32, at free: Int) {
        var place = free
        let deadline = self[slot].deadline
        while place > 0, deadline < self.deadline(at: (place - 1) / 2) {
            move(heap[(place - 1) / 2], to: place)
            place = (place - 1) / 2
        }
        while 2 * place + 1 < heap.count {
            var child = 2 * place + 1
            if child + 1 < heap.count, self.deadline(at: child + 1) < self.deadline(at: child) {
                child += 1
            }
            if deadline <= self.deadline(at: child) { break }
            move(heap[child], to: place)
            place = child
        }
        move(slot, to: place)
    }

    private mutating func move(_ slot: Int32, to place: Int) {
        heap[place] = slot
        slots[Int(slot)]?.place = place
    }

    private func deadline(at place: Int) -> Int64 { self[heap[place]].deadline }
}
