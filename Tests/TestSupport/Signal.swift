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

    /// Blocks it in this thread, and returns the mask to let it in again.
    public static func block() -> sigset_t {
        var (outside, inside) = (sigset_t(), sigset_t())
        sigemptyset(&outside)
        sigaddset(&outside, number)
        precondition(pthread_sigmask(SIG_BLOCK, &outside, &inside) == 0)
        sigdelset(&inside, number)
        return inside
    }
}
