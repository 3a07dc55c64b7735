import CSelectorsPlatform

/// What the core keeps for one descriptor.
///
/// All zero: never registered.
struct Registration: BitwiseCopyable {
    /// The caller's data.
    var data: UnsafeMutableRawPointer?
    /// The storage of ``interest``.
    private var asked: UInt16
    /// The bits of a report that rule out the fast path; see ``Interest/unusualMask(_:)``.
    private(set) var unusual: UInt16
    /// Incremented at each unregistration, and when earlier reports must be dropped: their tokens
    /// are then stale.
    var generation: UInt32
    /// The interest last given to the backend or to poll(2); 0: not watched.
    var installed: UInt16
    var flags: Flags
    /// The neighbours in registration order, ``RegistrationTable/none`` at the ends.
    var previous: Int32
    var next: Int32
    /// The next descriptor in the list of changes, while ``Flags/changed`` is set.
    var nextChange: Int32

    struct Flags: OptionSet, BitwiseCopyable {
        let rawValue: UInt16
        /// The descriptor is in the list of changes.
        static let changed = Flags(rawValue: 1)
        /// The core watches it with poll(2), because the backend cannot.
        static let polled = Flags(rawValue: 2)
        /// It was reported, and is not reported again until it is modified.
        static let disarmed = Flags(rawValue: 4)
    }

    /// What is watched for; 0: not registered.
    @inline(__always)
    var interest: UInt32 {
        get { UInt32(asked) }
        set {
            asked = UInt16(truncatingIfNeeded: newValue)
            unusual = UInt16(truncatingIfNeeded: Interest.unusualMask(newValue))
        }
    }

    /// The interest that the backend should have; 0: it should not watch the descriptor.
    var wanted: UInt32 { flags.contains(.disarmed) ? 0 : interest }
}

/// The registrations, found by descriptor in constant time and kept in registration order.
///
/// The table grows with the highest descriptor and never shrinks, so that no generation is lost.
struct RegistrationTable: ~Copyable {
    static let none: Int32 = -1

    private var registrations = Buffer<Registration>()
    private(set) var count: Int32 = 0
    private(set) var first = RegistrationTable.none
    private var last = RegistrationTable.none

    /// Returns whether there is room for a descriptor.
    func hasRoom(for fd: Int32) -> Bool {
        Int(fd) < registrations.capacity
    }

    /// Makes room for a descriptor; throws `ENOMEM` and changes nothing.
    mutating func reserve(_ fd: Int32) throws(SystemError) {
        try registrations.reserve(Int(fd) + 1)
    }

    /// The entry of a descriptor that there is room for.
    @inline(__always)
    func at(_ fd: Int32) -> UnsafeMutablePointer<Registration> {
        registrations.at(Int(fd))
    }

    /// The entry of a registered descriptor, or `nil`.
    @inline(__always)
    func find(_ fd: Int32) -> UnsafeMutablePointer<Registration>? {
        guard hasRoom(for: fd) else { return nil }
        let registration = at(fd)
        return registration.pointee.interest == 0 ? nil : registration
    }

    /// The entry of the registration that a token was made for, or `nil` if the token is stale.
    @inline(__always)
    func find(token: UInt64) -> UnsafeMutablePointer<Registration>? {
        let fd = UInt32(truncatingIfNeeded: token)
        guard UInt(fd) < UInt(bitPattern: registrations.capacity) else { return nil }
        let registration = registrations.at(Int(fd))
        // No token has been made yet with the generation of an unregistered descriptor.
        return registration.pointee.generation == UInt32(truncatingIfNeeded: token >> 32)
            ? registration : nil
    }

    /// All entries, for a loop over reports; valid until the next change.
    @inline(__always)
    var all: UnsafeBufferPointer<Registration> {
        UnsafeBufferPointer(start: registrations.base, count: registrations.capacity)
    }

    /// The token that the backend returns with each event of a descriptor: its number and
    /// generation.
    @inline(__always)
    func token(_ fd: Int32) -> UInt64 {
        UInt64(at(fd).pointee.generation) << 32 | UInt64(UInt32(bitPattern: fd))
    }

    /// Appends a descriptor to the registration order.
    ///
    /// Its interest is not 0.
    mutating func append(_ fd: Int32) {
        let registration = at(fd)
        registration.pointee.previous = last
        registration.pointee.next = RegistrationTable.none
        if last == RegistrationTable.none {
            first = fd
        } else {
            at(last).pointee.next = fd
        }
        last = fd
        count += 1
    }

    /// Ends a registration: removes the descriptor from the order and makes its token stale.
    mutating func remove(_ fd: Int32) {
        let registration = at(fd)
        let (previous, next) = (registration.pointee.previous, registration.pointee.next)
        if previous == RegistrationTable.none {
            first = next
        } else {
            at(previous).pointee.next = next
        }
        if next == RegistrationTable.none {
            last = previous
        } else {
            at(next).pointee.previous = previous
        }
        registration.pointee.interest = 0
        registration.pointee.installed = 0
        registration.pointee.flags.formIntersection(.changed)
        registration.pointee.generation &+= 1
        registration.pointee.data = nil
        count -= 1
    }
}
