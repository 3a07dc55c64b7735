import CSelectors
import Foundation
import TestSupport
import Testing

private let read = UInt32(SEL_READ)
private let millisecond: Int64 = 1_000_000

/// What signals do to a wait, on every backend and through both faces.
@Suite struct SignalTests {
    /// A thread that blocks the signal, and calls `pselect` with all others in the mask.
    private func waiter(
        _ selector: any Selecting, _ timeout: Int64
    ) -> (Worker<[Event]>, pthread_t) {
        let isBlocked = DispatchSemaphore(value: 0)
        let worker = Worker {
            let inside = Signal.block()
            isBlocked.signal()
            return try selector.pselect(timeout, inside)
        }
        isBlocked.wait()
        return (worker, worker.pthread)
    }

    @Test(arguments: Subject.all)
    func aSignalEndsAnInterruptibleSelect(_ subject: Subject) throws {
        let selector = try subject.open()
        try selector.setInterruptible(true)
        for timeout in [-1, Int64.max] {
            let (worker, thread) = waiter(selector, timeout)
            #expect(pthread_kill(thread, Signal.number) == 0)
            #expect(throws: Failure(EINTR)) { try worker.join() }
        }
    }

    @Test(arguments: Subject.all)
    func aSignalEndsNoOtherSelect(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, b) = Descriptor.socketPair()
        try selector.register(a.fd, read)
        let (worker, thread) = waiter(selector, -1)
        let before = Signal.count
        #expect(pthread_kill(thread, Signal.number) == 0)
        while Signal.count == before { sched_yield() }
        worker.waitUntilAsleep()
        #expect(!worker.hasEnded)
        b.write()
        #expect(try worker.join().map(\.key.fd) == [a.fd])
    }

    @Test(arguments: Subject.all)
    func aPendingSignalIsLetInWithTheWait(_ subject: Subject) throws {
        let selector = try subject.open()
        try selector.setInterruptible(true)
        for timeout in [0, millisecond, -1] {
            let worker = Worker {
                let inside = Signal.block()
                pthread_kill(pthread_self(), Signal.number)
                return try selector.pselect(timeout, inside)
            }
            #expect(throws: Failure(EINTR)) { try worker.join() }
        }
    }

    @Test(arguments: Subject.all)
    func aSignalOfTheMaskStaysOut(_ subject: Subject) throws {
        let selector = try subject.open()
        try selector.setInterruptible(true)
        let worker = Worker {
            _ = Signal.block()
            pthread_kill(pthread_self(), Signal.number)
            return try selector.pselect(20 * millisecond, Signal.all)
        }
        #expect(try worker.join() == [])
    }
}
