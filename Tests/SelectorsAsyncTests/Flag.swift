import Foundation
import Synchronization

/// A flag, or a counter, that any task may look at.
final class Flag: Sendable {
    private let value = Atomic<Int>(0)

    var isSet: Bool { count != 0 }
    var count: Int { value.load(ordering: .acquiring) }

    func set() {
        value.add(1, ordering: .acquiringAndReleasing)
    }
}

/// A value behind a lock that ThreadSanitizer knows, unlike `Synchronization.Mutex`.
final class Locked<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) {
        self.value = value
    }

    func withLock<Result>(_ body: (inout Value) -> Result) -> Result {
        lock.lock()
        defer { lock.unlock() }
        return body(&value)
    }
}
