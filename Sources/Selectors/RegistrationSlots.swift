/// The keys of the registered descriptors, and serial numbers that distinguish successive
/// registrations of the same descriptor.
///
/// The storage is not in arrays, which would be retained and released in each wait.
@usableFromInline
struct RegistrationSlots<Data>: ~Copyable {
    /// 0 if the descriptor is not registered.
    @usableFromInline var serials: UnsafeMutablePointer<Int>?
    /// Initialised only for registered descriptors.
    @usableFromInline var keys: UnsafeMutablePointer<SelectorKey<Data>>?
    @usableFromInline var count = 0

    init() {}

    @inlinable
    deinit {
        for fd in 0..<count where serials.unsafelyUnwrapped[fd] != 0 {
            (keys.unsafelyUnwrapped + fd).deinitialize(count: 1)
        }
        serials?.deallocate()
        keys?.deallocate()
    }

    /// The serial number of a registration, or 0.
    @inlinable
    func serial(_ fd: Int32) -> Int {
        // SAFETY: there is room for `count`.
        fd >= 0 && Int(fd) < count ? serials.unsafelyUnwrapped[Int(fd)] : 0
    }

    /// The key of a registered descriptor.
    @inlinable
    subscript(fd: Int32) -> SelectorKey<Data> {
        get { keys.unsafelyUnwrapped[Int(fd)] }
        nonmutating set { keys.unsafelyUnwrapped[Int(fd)] = newValue }
    }

    /// Makes room for a descriptor.
    @usableFromInline
    mutating func reserve(_ fd: Int32) {
        if fd < count { return }
        let size = max(Int(fd) + 1, count + count / 2, 16)
        let freshSerials = UnsafeMutablePointer<Int>.allocate(capacity: size)
        let freshKeys = UnsafeMutablePointer<SelectorKey<Data>>.allocate(capacity: size)
        freshSerials.initialize(repeating: 0, count: size)
        if let serials, let keys {
            // SAFETY: only initialised keys are moved.
            for fd in 0..<count where serials[fd] != 0 {
                freshSerials[fd] = serials[fd]
                (freshKeys + fd).moveInitialize(from: keys + fd, count: 1)
            }
            serials.deallocate()
            keys.deallocate()
        }
        (serials, keys, count) = (freshSerials, freshKeys, size)
    }

    /// Adds a descriptor that there is room for.
    @inlinable
    func add(_ fd: Int32, serial: Int, key: SelectorKey<Data>) {
        serials.unsafelyUnwrapped[Int(fd)] = serial
        (keys.unsafelyUnwrapped + Int(fd)).initialize(to: key)
    }

    /// Removes a registered descriptor, and returns its key.
    @inlinable
    func remove(_ fd: Int32) -> SelectorKey<Data> {
        serials.unsafelyUnwrapped[Int(fd)] = 0
        return (keys.unsafelyUnwrapped + Int(fd)).move()
    }

    /// The registered descriptors, in the order of registration.
    var inOrder: [Int32] {
        (0..<Int32(count)).filter { serial($0) != 0 }.sorted { serial($0) < serial($1) }
    }
}
