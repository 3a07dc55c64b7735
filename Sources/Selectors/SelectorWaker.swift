/// Wakes a selector from any thread or signal handler.
///
/// It is `Sendable` whatever the selector's data are:
///
///     let selector = try DefaultSelector<Connection>()
///     let waker = selector.waker
///     signal(SIGTERM) { @Sendable _ in waker.wake() }
///
/// In `main.swift` the `@Sendable` is needed: without it the closure belongs to the main actor, and
/// the process dies with `SIGILL` when another thread takes the signal. Store the waker where the
/// handler finds it before you install the handler: in a global of `main.swift`, or in a `let` that
/// was used before.
///
/// A waker keeps no selector open. When the selector is closed, or nobody refers to it any more,
/// ``wake()`` does nothing; the waker then holds a few kilobytes of memory, and no descriptor.
public struct SelectorWaker: Sendable {
    private let engine: SelectorEngine

    init(_ engine: SelectorEngine) {
        self.engine = engine
    }

    /// Wakes the `select` that is waiting now, or else the next one: it returns what is ready, or
    /// nothing.
    ///
    /// More wake-ups before that are one with it. A closed selector is left alone.
    ///
    /// Any thread may call it, and a signal handler: it takes no lock, allocates nothing and leaves
    /// `errno` alone. An error of the system, which is not to be expected, is ignored.
    /// - Complexity: O(1); at most one system call, none while a wake-up is pending.
    ///
    /// The C function is `sel_wakeup`.
    public func wake() {
        engine.wake()
    }
}
