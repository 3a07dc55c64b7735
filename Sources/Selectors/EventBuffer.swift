import CSelectors
import SelectorsCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Room for the events of one wait.
struct EventBuffer: ~Copyable {
    /// The first event.
    ///
    /// Points to nothing while `capacity` is 0.
    private(set) var base: UnsafeMutablePointer<sel_event>
    /// How many events there is room for.
    private(set) var capacity = 0
    private var memory: UnsafeMutableRawPointer?

    init() {
        base = UnsafeMutablePointer(bitPattern: MemoryLayout<sel_event>.alignment).unsafelyUnwrapped
    }

    deinit {
        free(memory)
    }

    /// Makes room for at least `count` events; throws `ENOMEM`, with everything as it was.
    mutating func reserve(_ count: Int) throws(SystemError) {
        if count <= capacity { return }
        let size = max(count, 2 * capacity, 16)
        guard let fresh = malloc(size * MemoryLayout<sel_event>.stride) else {
            throw SystemError(ENOMEM)
        }
        free(memory)
        memory = fresh
        base = fresh.bindMemory(to: sel_event.self, capacity: size)
        capacity = size
    }

    /// An event that was stored; the caller keeps the index below what the last wait returned.
    subscript(index: Int) -> sel_event { base[index] }
}
