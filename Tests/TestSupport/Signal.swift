import Foundation
import Synchronization

/// A signal for tests, and a handler that counts how often it came to any thread.
public enum Signal {
    private static let signals = Atomic<Int>(0)

    public static let number: Int32 = {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in
            Signal.signals.add(1, ordering: .relaxed)
        }
        precondition(sigaction(SIGUSR2, &action, nil) == 0)
        return SIGUSR2
    }()

    public static var count: Int { signals.load(ordering: .relaxed) }

    /// Every signal.
    ///
    /// A wait that lets in `SIGCHLD` is not for tests: others start processes meanwhile. When a child
    /// ends whose parent thread blocks the signal, as Dispatch's threads do, the kernel gives it to any
    /// thread that lets it in. There `epoll_wait` fails with `EINTR`, although nothing handles it.
    public static var all: sigset_t {
        var signals = sigset_t()
        sigfillset(&signals)
        return signals
    }

    /// Blocks it in this thread, and returns the mask that lets in this one signal.
    public static func block() -> sigset_t {
        var (outside, inside) = (sigset_t(), all)
        sigemptyset(&outside)
        sigaddset(&outside, number)
        precondition(pthread_sigmask(SIG_BLOCK, &outside, nil) == 0)
        sigdelset(&inside, number)
        return inside
    }
}
