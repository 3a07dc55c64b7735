import Foundation
import Selectors
import Synchronization

/// A backend over poll(2) that counts the changes of its set.
final class CountingBackend: SelectorBackend {
    private static let counts = Locked<[String: Int]>([:])

    /// Adds one to the registry, and gives the name, which is used once.
    static func add() throws -> String {
        let name = counts.withLock { counts in
            let name = "counting-\(counts.count)"
            counts[name] = 0
            return name
        }
        try SelectorRegistry.add(
            BackendDescriptor(name: name, rank: 0) { () throws(SystemError) in
                CountingBackend(name)
            })
        return name
    }

    /// How often the backend was told of a change.
    static func changes(of name: String) -> Int {
        counts.withLock { $0[name] ?? -1 }
    }

    private let name: String
    private var slots: [pollfd] = []
    private var tokens: [UInt64] = []

    private init(_ name: String) {
        self.name = name
    }

    func add(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        if fcntl(fd, F_GETFD) < 0 { throw SystemError(errno) }
        CountingBackend.counts.withLock { $0[name, default: 0] += 1 }
        slots.append(pollfd(fd: fd, events: Int16(truncatingIfNeeded: mask), revents: 0))
        tokens.append(token)
    }

    func modify(_ fd: Int32, mask: UInt32, token: UInt64) {
        CountingBackend.counts.withLock { $0[name, default: 0] += 1 }
        guard let slot = slots.firstIndex(where: { $0.fd == fd }) else { return }
        slots[slot].events = Int16(truncatingIfNeeded: mask)
        tokens[slot] = token
    }

    func remove(_ fd: Int32) {
        CountingBackend.counts.withLock { $0[name, default: 0] += 1 }
        guard let slot = slots.firstIndex(where: { $0.fd == fd }) else { return }
        slots.remove(at: slot)
        tokens.remove(at: slot)
    }

    func reset(afterFork: Bool) {
        slots = []
        tokens = []
    }

    func wait(
        into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32 {
        let milliseconds = timeout <= 0 ? timeout.signum() : min(timeout / 1_000_000 + 1, 1000)
        if poll(&slots, nfds_t(slots.count), Int32(milliseconds)) < 0 { throw SystemError(errno) }
        var count = 0
        for (slot, token) in zip(slots, tokens) where slot.revents != 0 && count < max {
            events[count] = BackendEvent(
                mask: UInt32(UInt16(bitPattern: slot.revents)), token: token)
            count += 1
        }
        return Int32(count)
    }

    func fileno() -> Int32? { nil }

    func close() {}
}
