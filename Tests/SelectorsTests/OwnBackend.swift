import Foundation
import Selectors
import Synchronization

/// A backend over poll(2) that was added to the registry under a name of its own, and what became
/// of it.
final class OwnBackend: Sendable {
    struct Counts: Equatable {
        var made = 0
        var closed = 0
    }

    private static let next = Atomic<Int>(1)

    let name: String
    private let log = Mutex((counts: Counts(), timeouts: [Int64]()))

    var counts: Counts { log.withLock { $0.counts } }
    /// What each wait was given, in nanoseconds.
    var timeouts: [Int64] { log.withLock { $0.timeouts } }

    /// Adds a backend: `name` makes a name of a number that is not used twice, `makeFails` tells what
    /// an attempt to make one fails with (the first is 1), `waitFails` what each wait fails with.
    init(
        name: (Int) -> any StringProtocol = { "own-\($0)" }, rank: Int32 = 0,
        capabilities: BackendCapabilities = [],
        makeFails: @escaping @Sendable (Int) -> Int32? = { _ in nil }, waitFails: Int32? = nil
    ) throws(BackendError) {
        self.name = String(name(OwnBackend.next.wrappingAdd(1, ordering: .relaxed).oldValue))
        let make: @Sendable () throws(SystemError) -> any SelectorBackend = {
            [self] () throws(SystemError) in
            let attempt = log.withLock { log in
                log.counts.made += 1
                return log.counts.made
            }
            if let code = makeFails(attempt) { throw SystemError(code) }
            return Instance(of: self, waitFails: waitFails)
        }
        try SelectorRegistry.add(
            BackendDescriptor(name: self.name, rank: rank, capabilities: capabilities, make: make))
    }

    private final class Instance: SelectorBackend {
        private let owner: OwnBackend
        private let waitFails: Int32?
        private var slots: [pollfd] = []
        private var tokens: [UInt64] = []

        init(of owner: OwnBackend, waitFails: Int32?) {
            self.owner = owner
            self.waitFails = waitFails
        }

        func add(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
            if fcntl(fd, F_GETFD) < 0 { throw SystemError(errno) }
            slots.append(pollfd(fd: fd, events: Int16(mask), revents: 0))
            tokens.append(token)
        }

        func modify(_ fd: Int32, mask: UInt32, token: UInt64) {
            guard let slot = slots.firstIndex(where: { $0.fd == fd }) else { return }
            slots[slot].events = Int16(mask)
            tokens[slot] = token
        }

        func remove(_ fd: Int32) {
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
            owner.log.withLock { $0.timeouts.append(timeout) }
            if let waitFails { throw SystemError(waitFails) }
            let milliseconds = timeout <= 0 ? timeout.signum() : min(timeout / 1_000_000 + 1, 1000)
            if poll(&slots, nfds_t(slots.count), Int32(milliseconds)) < 0 {
                throw SystemError(errno)
            }
            var count = 0
            for (slot, token) in zip(slots, tokens) where slot.revents != 0 && count < max {
                events[count] = BackendEvent(
                    mask: UInt32(UInt16(bitPattern: slot.revents)), token: token)
                count += 1
            }
            return Int32(count)
        }

        func fileno() -> Int32? { nil }

        func close() {
            owner.log.withLock { $0.counts.closed += 1 }
        }
    }
}
