import CSelectorsPlatform

/// What the core knows of one number.
///
/// All zero: never registered.
struct Registration: BitwiseCopyable {
    /// The caller's own.
    var data: UnsafeMutableRawPointer?
    /// What ``interest`` is kept in.
    private var asked: UInt16
    /// The bits of a report that make it another than a plain one: all but those for data that was
    /// asked for, and where there is more to be done, or to be told, all.
    private(set) var unusual: UInt16
    /// Goes up at each unregistration, so that a token tells an old registration from this one.
    var generation: UInt32
    /// The interest that the backend was last told; 0: it does not watch the number.
    var installed: UInt16
    var flags: Flags
    /// The neighbours in the order of registration, ``RegistrationTable/none`` at the ends.
    var previous: Int32
    var next: Int32
    /// The number after this one in the list of changes, while ``Flags/changed`` is set.
    var nextChange: Int32

    struct Flags: OptionSet, BitwiseCopyable {
        let rawValue: UInt16
        /// It stands in the list of changes.
        static let changed = Flags(rawValue: 1)
        /// The backend refused it: the core watches it by poll(2).
        static let refused = Flags(rawValue: 2)
        /// It was reported and is not to be again before it is modified.
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

    /// The interest that the backend is to have; 0: it is to watch the number no more.
    var wanted: UInt32 { flags.contains(.disarmed) ? 0 : interest }
}

/// The registrations, found by number in constant time and kept in the order in which they came.
///
/// It grows with the highest number and never shrinks, so that generations are not forgotten.
struct RegistrationTable: ~Copyable {
    static let none: Int32 = -1

    private var registrations = Buffer<Registration>()
    private(set) var count: Int32 = 0
    private(set) var first = RegistrationTable.none
    private var last = RegistrationTable.none

    /// Tells whether there is room for a number.
    func hasRoom(for fd: Int32) -> Bool {
        Int(fd) < registrations.capacity
    }

    /// Makes room for a number; throws `ENOMEM` with everything as it was.
    mutating func reserve(_ fd: Int32) throws(SystemError) {
        try registrations.reserve(Int(fd) + 1)
    }

    /// The place of a number that there is room for.
    @inline(__always)
    func at(_ fd: Int32) -> UnsafeMutablePointer<Registration> {
        registrations.at(Int(fd))
    }

    /// The place of a registered number, or `nil`.
    @inline(__always)
    func find(_ fd: Int32) -> UnsafeMutablePointer<Registration>? {
        guard hasRoom(for: fd) else { return nil }
        let registration = at(fd)
        return registration.pointee.interest == 0 ? nil : registration
    }

    /// The place of the registration that a token was made for, or `nil` if it is no more.
    @inline(__always)
    func find(token: UInt64) -> UnsafeMutablePointer<Registration>? {
        let fd = UInt32(truncatingIfNeeded: token)
        guard UInt(fd) < UInt(bitPattern: registrations.capacity) else { return nil }
        let registration = registrations.at(Int(fd))
        // A number that is not registered has a generation that no token was made with yet.
        return registration.pointee.generation == UInt32(truncatingIfNeeded: token >> 32)
            ? registration : nil
    }

    /// All places, for who looks at many; it is good until the next change.
    @inline(__always)
    var all: UnsafeBufferPointer<Registration> {
        UnsafeBufferPointer(start: registrations.base, count: registrations.capacity)
    }

    /// What a backend is to give back with each event of a number: the number and its generation.
    @inline(__always)
    func token(_ fd: Int32) -> UInt64 {
        UInt64(at(fd).pointee.generation) << 32 | UInt64(UInt32(bitPattern: fd))
    }

    /// Puts a number at the end of the order.
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

    /// Ends a registration: takes the number out of the order and outdates its token.
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
