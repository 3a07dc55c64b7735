import CSelectors
import SelectorsCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Room for the events of one wait, and how many came.
///
/// It is one piece of memory, so that it can be handed over by its address.
@usableFromInline
struct EventBuffer {
    /// Where the events begin; before them stands for how many there is room.
    @usableFromInline let base: UnsafeMutablePointer<sel_event>
    /// How many have come.
    @usableFromInline var count = 0

    private static let header = MemoryLayout<sel_event>.stride

    /// Allocates room for so many events, or a few more; throws `ENOMEM`.
    init(capacity: Int) throws(SystemError) {
        let capacity = max(capacity, 16)
        let stride = MemoryLayout<sel_event>.stride
        guard let memory = malloc(EventBuffer.header + capacity * stride) else {
            throw SystemError(ENOMEM)
        }
        memory.storeBytes(of: capacity, as: Int.self)
        self.init(address: memory)
    }

    /// Takes over one that was given away by its address.
    init(address: UnsafeMutableRawPointer) {
        base = (address + EventBuffer.header).assumingMemoryBound(to: sel_event.self)
    }

    var address: UnsafeMutableRawPointer { UnsafeMutableRawPointer(base) - EventBuffer.header }

    /// For how many there is room.
    var capacity: Int { address.load(as: Int.self) }

    func deallocate() {
        free(address)
    }
}
