/// Wakes a selector from any thread or signal handler.
///
/// It is `Sendable`, even if the selector's data are not:
///
///     let selector = try DefaultSelector<Connection>()
///     let waker = selector.waker
///     signal(SIGTERM) { @Sendable _ in waker.wake() }
///
/// In `main.swift` the `@Sendable` is needed: without it the closure belongs to the main actor, and
/// the process dies with `SIGILL` when another thread takes the signal. Store the waker where the
/// handler finds it before you install the handler: in a global of `main.swift`, or in a `let`
/// that was already used.
///
/// A waker does not keep its selector open. Once the selector is closed or released, ``wake()``
/// does nothing; the waker then holds a few kilobytes of memory, and no descriptor.
public struct SelectorWaker: Sendable {
    private let engine: SelectorEngine

    init(_ engine: SelectorEngine) {
        self.engine = engine
    }

    /// Wakes the `select` in progress, or else the next one: it returns what is ready, or nothing.
    ///
    /// Several wake-ups before that count as one. On a closed selector it does nothing.
    ///
    /// Any thread may call it, and also a signal handler: it takes no lock, allocates nothing and
    /// preserves `errno`. System errors, which are not expected, are ignored.
    /// - Complexity: O(1); at most one system call, none while a wake-up is pending.
    ///
    /// The C function is `sel_wakeup`.
    public func wake() {
        engine.wake()
    }
}
