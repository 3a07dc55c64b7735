/// A live, read-only view of a selector's registrations: it shows each change at once, and is
/// empty once the selector is closed.
///
/// ``BaseSelector/keys`` returns it.
///
/// Iteration uses a copy, in the order of registration, so that the loop's body may change the
/// selector.
public struct SelectorMap<Data>: Sequence {
    let selector: BaseSelector<Data>

    init(of selector: BaseSelector<Data>) {
        self.selector = selector
    }

    /// The number of registrations.
    public var count: Int { selector.count }

    /// Whether nothing is registered.
    public var isEmpty: Bool { count == 0 }

    /// The key of a registered file object or descriptor, or `nil`.
    ///
    /// - Complexity: O(1), for a closed object O(n).
    public subscript(fileObject: some FileObject) -> SelectorKey<Data>? {
        try? selector.key(of: fileObject)
    }

    /// Returns whether a file object or descriptor is registered.
    ///
    /// - Complexity: O(1), for a closed object O(n).
    public func contains(_ fileObject: some FileObject) -> Bool {
        self[fileObject] != nil
    }

    /// Iterates over a copy of the current keys, in the order of registration.
    ///
    /// - Complexity: O(n).
    public func makeIterator() -> IndexingIterator<[SelectorKey<Data>]> {
        selector.keysInOrder.makeIterator()
    }
}
