import CSelectors
import Foundation
import Synchronization
import TestSupport
import Testing

private let read = UInt32(SEL_READ)
private let write = UInt32(SEL_WRITE)
private let second: Int64 = 1_000_000_000

/// What holds when several threads use one selector, on every backend and through both faces.
@Suite struct ThreadTests {
    // MARK: Changes take effect in a blocked select

    @Test(arguments: Subject.all)
    func whatIsRegisteredWhileASelectIsBlockedIsReported(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, b) = Descriptor.socketPair()
        b.write()
        let waiter = Worker { try selector.select(-1) }
        waiter.waitUntilAsleep()
        try selector.register(a.fd, read, data: 4)
        #expect(try waiter.join().map(\.key.data) == [4])
    }

    @Test(arguments: Subject.all)
    func aFileRegisteredWhileASelectIsBlockedIsReported(_ subject: Subject) throws {
        let selector = try subject.open()
        let file = Descriptor.temporaryFile()
        let waiter = Worker { try selector.select(-1) }
        waiter.waitUntilAsleep()
        try selector.register(file.fd, write)
        #expect(try waiter.join().map(\.key.fd) == [file.fd])
    }

    @Test(arguments: Subject.all)
    func whatIsModifiedWhileASelectIsBlockedIsReported(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, _b) = Descriptor.socketPair()
        try selector.register(a.fd, read)
        let waiter = Worker { try selector.select(-1) }
        waiter.waitUntilAsleep()
        try selector.modify(a.fd, read | write, data: 7)
        #expect(try waiter.join().map(\.key.data) == [7])
        withExtendedLifetime(_b) {}
    }

    @Test(arguments: Subject.all)
    func whatIsUnregisteredWhileASelectIsBlockedIsNotReported(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, b) = Descriptor.socketPair()
        try selector.register(a.fd, read)
        let waiter = Worker { try timed { try selector.select(second / 5) } }
        waiter.waitUntilAsleep()
        try selector.unregister(a.fd)
        b.write()
        let (taken, events) = try waiter.join()
        #expect(events == [])
        #expect(taken >= second / 5)
    }

    @Test(arguments: Subject.all)
    func lookingAtRegistrationsDoesNotWaitForABlockedSelect(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, b) = Descriptor.socketPair()
        try selector.register(a.fd, read, data: 3)
        let waiter = Worker { try selector.select(-1) }
        waiter.waitUntilAsleep()
        #expect(try selector.key(a.fd).data == 3)
        #expect(try selector.map().count == 1)
        b.write()
        #expect(try waiter.join().count == 1)
    }

    // MARK: Wake-up

    @Test(arguments: Subject.all)
    func aWakeUpEndsTheSelectThatIsBlocked(_ subject: Subject) throws {
        let selector = try subject.open()
        for _ in 0..<3 {
            let waiter = Worker { try selector.select(-1) }
            waiter.waitUntilAsleep()
            try selector.wakeup()
            #expect(try waiter.join() == [])
        }
    }

    @Test(arguments: Subject.all)
    func wakeUpsBeforeASelectEndItOnce(_ subject: Subject) throws {
        let selector = try subject.open()
        for _ in 0..<5 { try selector.wakeup() }
        #expect(try selector.select(-1) == [])
        let (taken, events) = try timed { try selector.select(second / 50) }
        #expect(events == [])
        #expect(taken >= second / 50)
    }

    @Test(arguments: Subject.all)
    func noWakeUpIsLost(_ subject: Subject) throws {
        let selector = try subject.open()
        let sent = Atomic<Int>(0)
        let rounds = 2000
        let answered = DispatchSemaphore(value: 0)
        let waiter = Worker {
            var seen = 0
            while seen < rounds {
                _ = try selector.select(-1)
                let now = sent.load(ordering: .relaxed)
                if now != seen {
                    seen = now
                    answered.signal()
                }
            }
        }
        for round in 1...rounds {
            sent.store(round, ordering: .relaxed)
            try selector.wakeup()
            answered.wait()
        }
        try waiter.join()
    }

    // MARK: Turns and the end

    @Test(arguments: Subject.all)
    func twoSelectsTakeTurns(_ subject: Subject) throws {
        let selector = try subject.open()
        let first = Worker { try selector.select(-1) }
        first.waitUntilAsleep()
        let other = Worker { try selector.select(-1) }
        other.waitUntilAsleep()
        for _ in 0..<2 { try selector.wakeup() }
        while !(first.hasEnded || other.hasEnded) { sched_yield() }
        while !(first.hasEnded && other.hasEnded) { try selector.wakeup() }
        #expect(try first.join() == [])
        #expect(try other.join() == [])
    }

    @Test(arguments: Subject.all)
    func aSelectThatGetsNoTurnEndsInTime(_ subject: Subject) throws {
        let selector = try subject.open()
        let first = Worker { try selector.select(-1) }
        first.waitUntilAsleep()
        let (taken, events) = try timed { try selector.select(second / 50) }
        #expect(events == [])
        #expect(taken >= second / 50)
        #expect(try selector.select(0) == [])
        try selector.wakeup()
        #expect(try first.join() == [])
    }

    @Test(arguments: Subject.all)
    func closingEndsAllThatAreBlocked(_ subject: Subject) throws {
        let selector = try subject.open()
        let workers = (0..<3).map { _ in Worker { try selector.select(-1) } }
        for worker in workers { worker.waitUntilAsleep() }
        selector.close()
        for worker in workers {
            #expect(throws: Failure(ECANCELED)) { try worker.join() }
        }
    }

    // MARK: All at once

    @Test(arguments: Subject.all)
    func noByteIsLostWhileOthersChangeTheSet(_ subject: Subject) throws {
        let selector = try subject.open()
        let pairs = (0..<8).map { _ in Descriptor.socketPair(keepingNumbers: true) }
        let total = 2000
        let received = Atomic<Int>(0)
        for (index, pair) in pairs.enumerated() {
            try selector.register(pair.0.fd, read, data: index)
        }
        let reader = Worker {
            while received.load(ordering: .relaxed) < total {
                for event in try selector.select(-1) where event.events & read != 0 {
                    var byte: UInt8 = 0
                    if recv(event.key.fd, &byte, 1, Int32(MSG_DONTWAIT)) == 1 {
                        received.add(1, ordering: .relaxed)
                    }
                }
            }
        }
        // Two threads write; two others change the pairs of their own.
        let writers = (0..<2).map { part in
            Worker {
                for index in 0..<total / 2 { pairs[(index * 2 + part) % pairs.count].1.write() }
            }
        }
        let changers = (0..<2).map { part in
            Worker {
                var generator = SplitMix(seed: UInt64(part))
                while received.load(ordering: .relaxed) < total {
                    let index = Int(generator.next() % UInt64(pairs.count / 2)) * 2 + part
                    let fd = pairs[index].0.fd
                    switch generator.next() % 3 {
                    case 0:
                        try selector.unregister(fd)
                        try selector.register(fd, read, data: index)
                    case 1: try selector.modify(fd, read | write, data: index)
                    default: try selector.modify(fd, read, data: index)
                    }
                }
            }
        }
        for writer in writers { try writer.join() }
        try reader.join()
        for changer in changers { try changer.join() }
        #expect(received.load(ordering: .relaxed) == total)
    }
}

/// A small generator whose numbers can be had again.
private struct SplitMix: RandomNumberGenerator {
    var seed: UInt64

    mutating func next() -> UInt64 {
        seed &+= 0x9E37_79B9_7F4A_7C15
        var mixed = (seed ^ (seed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
