import CSelectors
import Glibc
import Selectors
import Synchronization
import TestSupport
import Testing

private let read = UInt32(SEL_READ)
private let write = UInt32(SEL_WRITE)
private let oneShot = UInt32(SEL_ONESHOT)

/// Which calls the engine makes of a backend, and so which system calls it costs.
@Suite struct KernelSetTests {
    private let log = Log()
    private let owner: CoreOwner
    private var selector: SelectorCore { owner.core }
    /// A socket that is ready, and its peer.
    private let a, b: Descriptor

    init() throws {
        owner = CoreOwner(try log.open())
        (a, b) = Descriptor.socketPair()
        b.write()
    }

    @Test func aSelectWithoutChangesOnlyWaits() throws {
        try selector.register(a.fd, events: read, data: nil)
        #expect(log.take() == ["add \(a.fd)"])
        for _ in 0..<3 { #expect(try look() == 1) }
        #expect(log.take() == [])
    }

    @Test func modifyWithTheSameMaskIsNoCall() throws {
        try selector.register(a.fd, events: read, data: nil)
        _ = log.take()
        try selector.modify(a.fd, events: read, data: UnsafeMutableRawPointer(bitPattern: 1))
        #expect(try look() == 1)
        #expect(log.take() == [])
        #expect(try selector.key(of: a.fd).data == UnsafeMutableRawPointer(bitPattern: 1))
    }

    @Test func aChangeAndItsReversalAreNoCall() throws {
        try selector.register(a.fd, events: read, data: nil)
        _ = log.take()
        try selector.modify(a.fd, events: read | write, data: nil)
        try selector.modify(a.fd, events: read, data: nil)
        #expect(try look() == 1)
        #expect(log.take() == [])
    }

    @Test func severalChangesAreOneCallBeforeTheNextWait() throws {
        try selector.register(a.fd, events: read, data: nil)
        _ = log.take()
        try selector.modify(a.fd, events: read | write, data: nil)
        try selector.modify(a.fd, events: write, data: nil)
        #expect(log.take() == [])
        #expect(try look() == 1)
        #expect(log.take() == ["modify \(a.fd)"])
        #expect(try look() == 1)
        #expect(log.take() == [])
    }

    @Test func aOneShotThatIsArmedAgainAtOnceIsNoCall() throws {
        try selector.register(a.fd, events: read | oneShot, data: nil)
        _ = log.take()
        for _ in 0..<3 {
            #expect(try look() == 1)
            try selector.modify(a.fd, events: read | oneShot, data: nil)
        }
        #expect(log.take() == [])
    }

    @Test func aSpentOneShotIsTakenOutOnce() throws {
        try selector.register(a.fd, events: read | oneShot, data: nil)
        _ = log.take()
        #expect(try look() == 1)
        #expect(log.take() == [])
        for _ in 0..<3 { #expect(try look() == 0) }
        #expect(log.take() == ["remove \(a.fd)"])
        try selector.modify(a.fd, events: read | oneShot, data: nil)
        #expect(try look() == 1)
        #expect(log.take() == ["add \(a.fd)"])
        #expect(try look() == 0)
        _ = log.take()
        try selector.unregister(a.fd)
        #expect(log.take() == [])
    }

    @Test func aRefusedRegistrationIsNoCall() throws {
        #expect(throws: SystemError.self) {
            try selector.register(a.fd, events: read | UInt32(SEL_EDGE), data: nil)
        }
        #expect(throws: SystemError.self) { try selector.unregister(a.fd) }
        #expect(log.take() == [])
    }

    private func look() throws -> Int32 {
        var events = [sel_event](repeating: sel_event(), count: 4)
        return try check(selector.select(into: &events, max: 4, timeout: 0))
    }
}

/// Closes a core when the test is over.
private final class CoreOwner: Sendable {
    let core: SelectorCore

    init(_ core: SelectorCore) {
        self.core = core
    }

    deinit {
        try? core.close()
        core.deallocate()
    }
}

/// A backend that waits by poll(2) and writes down which calls change it.
private final class Log: Sendable {
    private let calls = Mutex<[String]>([])
    private static let count = Atomic<Int>(0)

    /// Opens a selector on such a backend.
    func open() throws -> SelectorCore {
        let name = "log\(Log.count.add(1, ordering: .relaxed).newValue)"
        try SelectorRegistry.add(
            BackendDescriptor(name: name, rank: 0) { () throws(SystemError) in
                Backend(log: self)
            })
        let selector = try name.withCString { try BackendRegistry.shared().open($0) }
        _ = take()
        return selector
    }

    /// What was called since the last time.
    func take() -> [String] {
        calls.withLock { calls in
            defer { calls = [] }
            return calls
        }
    }

    private final class Backend: SelectorBackend {
        private let log: Log
        private var slots: [(pollfd, token: UInt64)] = []

        init(log: Log) {
            self.log = log
        }

        func add(_ fd: Int32, mask: UInt32, token: UInt64) {
            log.calls.withLock { $0.append("add \(fd)") }
            let slot = pollfd(fd: fd, events: Int16(truncatingIfNeeded: mask), revents: 0)
            slots.append((slot, token))
        }

        func modify(_ fd: Int32, mask: UInt32, token: UInt64) {
            log.calls.withLock { $0.append("modify \(fd)") }
            let slot = slots.firstIndex { $0.0.fd == fd }!
            slots[slot].0.events = Int16(truncatingIfNeeded: mask)
            slots[slot].token = token
        }

        func remove(_ fd: Int32) {
            log.calls.withLock { $0.append("remove \(fd)") }
            slots.removeAll { $0.0.fd == fd }
        }

        func reset(afterFork: Bool) {
            log.calls.withLock { $0.append("reset") }
            slots = []
        }

        func wait(
            into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64,
            signals: UnsafePointer<sigset_t>?
        ) -> Int32 {
            var (polled, count) = (slots.map(\.0), 0)
            poll(&polled, nfds_t(polled.count), 0)
            for (entry, slot) in zip(polled, slots) where entry.revents != 0 && count < max {
                events[count] = BackendEvent(
                    mask: UInt32(UInt16(bitPattern: entry.revents)), token: slot.token)
                count += 1
            }
            return Int32(count)
        }

        func fileno() -> Int32? { nil }

        func close() {}
    }
}
