import CSelectorsPlatform

/// Memory for one value; unlike an object of Swift it throws `ENOMEM` instead of ending the
/// process.
extension UnsafeMutablePointer where Pointee: ~Copyable {
    /// Allocates room and moves a value there.
    ///
    /// - Throws: `ENOMEM`; the value is destroyed then.
    static func make(_ value: consuming Pointee) throws(SystemError) -> Self {
        guard let memory = platform_calloc(1, MemoryLayout<Pointee>.stride) else {
            throw SystemError(ENOMEM)
        }
        // SAFETY: calloc's alignment suffices for every type of this library.
        let place = memory.bindMemory(to: Pointee.self, capacity: 1)
        place.initialize(to: value)
        return place
    }

    /// Ends the value's life and frees its memory.
    func destroy() {
        deinitialize(count: 1)
        free(UnsafeMutableRawPointer(self))
    }
}
