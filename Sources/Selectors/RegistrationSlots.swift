/// What is kept of the registered numbers: their keys, and serial numbers that tell registrations of
/// the same number apart.
///
/// These are no arrays, which would be retained and released in each wait.
@usableFromInline
struct RegistrationSlots<Data>: ~Copyable {
    /// 0 where nothing is registered.
    @usableFromInline var serials: UnsafeMutablePointer<Int>?
    /// Initialised where something is registered.
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

    /// The key of a registered number.
    @inlinable
    subscript(fd: Int32) -> SelectorKey<Data> {
        get { keys.unsafelyUnwrapped[Int(fd)] }
        nonmutating set { keys.unsafelyUnwrapped[Int(fd)] = newValue }
    }

    /// Makes room for a number.
    @usableFromInline
    mutating func reserve(_ fd: Int32) {
        if fd < count { return }
        let size = max(Int(fd) + 1, count + count / 2, 16)
        let freshSerials = UnsafeMutablePointer<Int>.allocate(capacity: size)
        let freshKeys = UnsafeMutablePointer<SelectorKey<Data>>.allocate(capacity: size)
        freshSerials.initialize(repeating: 0, count: size)
        if let serials, let keys {
            // SAFETY: what is initialised moves.
            for fd in 0..<count where serials[fd] != 0 {
                freshSerials[fd] = serials[fd]
                (freshKeys + fd).moveInitialize(from: keys + fd, count: 1)
            }
            serials.deallocate()
            keys.deallocate()
        }
        (serials, keys, count) = (freshSerials, freshKeys, size)
    }

    /// Adds a number that there is room for.
    @inlinable
    func add(_ fd: Int32, serial: Int, key: SelectorKey<Data>) {
        serials.unsafelyUnwrapped[Int(fd)] = serial
        (keys.unsafelyUnwrapped + Int(fd)).initialize(to: key)
    }

    /// Takes a registered number out, and gives its key.
    @inlinable
    func remove(_ fd: Int32) -> SelectorKey<Data> {
        serials.unsafelyUnwrapped[Int(fd)] = 0
        return (keys.unsafelyUnwrapped + Int(fd)).move()
    }

    /// The registered numbers, in the order of registration.
    var inOrder: [Int32] {
        (0..<Int32(count)).filter { serial($0) != 0 }.sorted { serial($0) < serial($1) }
    }
}
