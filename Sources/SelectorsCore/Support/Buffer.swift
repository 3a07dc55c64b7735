import CSelectorsPlatform

/// A growable array of trivial values, initially zero, that throws `ENOMEM` instead of ending the
/// process.
///
/// Indices are not checked: the caller guarantees that they are below ``capacity``.
struct Buffer<Element: BitwiseCopyable>: ~Copyable {
    /// The first element, or `nil` while nothing is reserved.
    private(set) var base: UnsafeMutablePointer<Element>?
    /// The number of elements that fit.
    private(set) var capacity = 0

    deinit {
        free(base)
    }

    /// Makes room for at least `count` elements, in amortised constant time per element.
    ///
    /// - Throws: `ENOMEM`; nothing has changed then.
    mutating func reserve(_ count: Int) throws(SystemError) {
        if count > capacity { try grow(count) }
    }

    @inline(never)
    private mutating func grow(_ count: Int) throws(SystemError) {
        // Grow by a quarter: no descriptor takes more than 40 bytes in the table of registrations.
        let size = max(count, capacity + capacity / 4, 64)
        let fresh = try moveToMoreRoom(
            base, MemoryLayout<Element>.stride * capacity, MemoryLayout<Element>.stride * size)
        // SAFETY: all-zero bytes are a valid value of every C-like type that is stored here.
        base = fresh.bindMemory(to: Element.self, capacity: size)
        capacity = size
    }

    /// The place of an element.
    @inline(__always)
    func at(_ index: Int) -> UnsafeMutablePointer<Element> {
        base.unsafelyUnwrapped + index
    }

    @inline(__always)
    subscript(index: Int) -> Element {
        get { at(index).pointee }
        nonmutating set { at(index).pointee = newValue }
    }
}

/// Moves `length` bytes to new memory of `size` bytes, zeroes the rest, and frees the old memory.
///
/// - Throws: `ENOMEM`; nothing has changed then.
@inline(never)
private func moveToMoreRoom(
    _ old: UnsafeMutableRawPointer?, _ length: Int, _ size: Int
) throws(SystemError) -> UnsafeMutableRawPointer {
    // calloc returns zero pages of the kernel: untouched ones use no memory.
    guard let fresh = platform_calloc(1, size) else { throw SystemError(ENOMEM) }
    if let old {
        fresh.copyMemory(from: old, byteCount: length)
        free(old)
    }
    return fresh
}
