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
