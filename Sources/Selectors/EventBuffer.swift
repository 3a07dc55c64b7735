import CSelectors
import SelectorsCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A buffer for the events of one wait, and their number.
///
/// It is a single allocation, so that its address represents it.
@usableFromInline
struct EventBuffer {
    /// The first event; the capacity is stored before it.
    @usableFromInline let base: UnsafeMutablePointer<sel_event>
    /// The number of events.
    @usableFromInline var count = 0

    private static let header = MemoryLayout<sel_event>.stride

    /// Allocates room for at least `capacity` events; throws `ENOMEM`.
    init(capacity: Int) throws(SystemError) {
        let capacity = max(capacity, 16)
        let stride = MemoryLayout<sel_event>.stride
        guard let memory = malloc(EventBuffer.header + capacity * stride) else {
            throw SystemError(ENOMEM)
        }
        memory.storeBytes(of: capacity, as: Int.self)
        self.init(address: memory)
    }

    /// Takes over a buffer by its address.
    init(address: UnsafeMutableRawPointer) {
        base = (address + EventBuffer.header).assumingMemoryBound(to: sel_event.self)
    }

    var address: UnsafeMutableRawPointer { UnsafeMutableRawPointer(base) - EventBuffer.header }

    /// The number of events that fit.
    var capacity: Int { address.load(as: Int.self) }

    func deallocate() {
        free(address)
    }
}
