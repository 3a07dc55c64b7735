import Foundation
import Selectors
import Synchronization
import TestSupport
import Testing

/// What a waker does to its selector, and after it.
///
/// The signal's handler knows one selector at a time.
@Suite(.serialized) struct WakerTests {
    static let backends = ["epoll", "poll", "select"]

    /// Data that must not go to another thread.
    private final class Local {
        var value = 0
    }

    @Test(arguments: backends)
    func aWakerGoesToOtherThreadsWithoutItsSelector(_ backend: String) throws {
        let selector = try BaseSelector<Local>(backend: backend)
        let (a, _b) = Descriptor.socketPair()
        try selector.register(a.fd, events: .read, data: Local())
        let waker = selector.waker
        for _ in 0..<100 {
            let worker = Worker { waker.wake() }
            #expect(try selector.select().isEmpty)
            try worker.join()
        }
        withExtendedLifetime(_b) {}
    }

    @Test(arguments: backends)
    func aSignalHandlerWakes(_ backend: String) throws {
        let selector = try BaseSelector<Local>(backend: backend)
        WakerTests.handled.withLock { $0 = selector.waker }
        handler.store(unsafeBitCast(selector.waker, to: UInt.self), ordering: .releasing)
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { @Sendable _ in
            // Read without a lock; the mutex keeps it alive.
            let address = handler.load(ordering: .acquiring)
            if address != 0 { unsafeBitCast(address, to: SelectorWaker.self).wake() }
        }
        try #require(sigaction(SIGURG, &action, nil) == 0)
        // The threads that run tests block signals, and a new thread inherits that.
        for _ in 0..<20 {
            let worker = Worker {
                var mask = sigset_t()
                sigemptyset(&mask)
                sigaddset(&mask, SIGURG)
                pthread_sigmask(SIG_UNBLOCK, &mask, nil)
                return pthread_kill(pthread_self(), SIGURG)
            }
            #expect(try selector.select().isEmpty)
            #expect(try worker.join() == 0)
        }
        handler.store(0, ordering: .releasing)
    }

    private static let handled = Mutex<SelectorWaker?>(nil)

    @Test(arguments: backends)
    func aWakerIsHarmlessAfterClose(_ backend: String) throws {
        let selector = try BaseSelector<Void>(backend: backend)
        let waker = selector.waker
        selector.close()
        for _ in 0..<10 { waker.wake() }
    }

    @Test func aWakerKeepsNoSelectorOpen() throws {
        let own = try OwnBackend()
        var selector: BaseSelector<Void>? = try BaseSelector<Void>(backend: own.name)
        let waker = try #require(selector?.waker)
        let before = own.counts.closed
        selector = nil
        #expect(own.counts.closed == before + 1)
        waker.wake()
    }
}

/// The waker for the signal handler, as its one pointer.
private let handler = Atomic<UInt>(0)
