import CSelectorsPlatform

/// A growing array of plain values, zero where nothing was stored, that reports a lack of memory
/// instead of ending the process.
///
/// It does not check indices: they are below ``capacity`` by the caller's own invariant.
struct Buffer<Element: BitwiseCopyable>: ~Copyable {
    /// The first element, or `nil` while nothing is reserved.
    private(set) var base: UnsafeMutablePointer<Element>?
    /// How many elements there is room for.
    private(set) var capacity = 0

    deinit {
        free(base)
    }

    /// Makes room for at least `count` elements, in amortized constant time per element.
    ///
    /// - Throws: `ENOMEM`, with everything as it was.
    mutating func reserve(_ count: Int) throws(SystemError) {
        if count > capacity { try grow(count) }
    }

    @inline(never)
    private mutating func grow(_ count: Int) throws(SystemError) {
        // A quarter more: no number takes more than 40 bytes in the table of registrations.
        let size = max(count, capacity + capacity / 4, 64)
        let fresh = try moveToMoreRoom(
            base, MemoryLayout<Element>.stride * capacity, MemoryLayout<Element>.stride * size)
        // SAFETY: all-zero bytes are a value of every C-like type that is stored here.
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

/// Moves `length` bytes to memory of `size` bytes, the rest of them zero, and frees the old.
///
/// - Throws: `ENOMEM`, with everything as it was.
@inline(never)
private func moveToMoreRoom(
    _ old: UnsafeMutableRawPointer?, _ length: Int, _ size: Int
) throws(SystemError) -> UnsafeMutableRawPointer {
    // calloc hands out the kernel's zero pages: what is never used costs no memory.
    guard let fresh = platform_calloc(1, size) else { throw SystemError(ENOMEM) }
    if let old {
        fresh.copyMemory(from: old, byteCount: length)
        free(old)
    }
    return fresh
}
