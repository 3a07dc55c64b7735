import Foundation
import Synchronization

/// Descriptors for tests, each closed when its owner goes.
///
/// Their numbers are high and never used twice, so that no other test, running at the same time,
/// gets the number of one that was closed on purpose.
public final class Descriptor: @unchecked Sendable {
    private static let next = Atomic<Int32>(10_000)

    public let fd: Int32
    private var isOpen = true

    /// Takes over an open descriptor and gives it a number of its own.
    public init(_ low: Int32) {
        precondition(low >= 0, String(cString: strerror(errno)))
        raiseDescriptorLimit()
        fd = Descriptor.next.wrappingAdd(1, ordering: .relaxed).oldValue
        precondition(dup2(low, fd) == fd, String(cString: strerror(errno)))
        Glibc.close(low)
    }

    deinit {
        close()
    }

    public func close() {
        if isOpen { Glibc.close(fd) }
        isOpen = false
    }

    /// Puts another open file under this number.
    public func replace(with other: Descriptor) {
        precondition(dup2(other.fd, fd) == fd)
        isOpen = true
    }

    public func write(_ count: Int = 1) {
        let bytes = [UInt8](repeating: 7, count: count)
        precondition(Glibc.write(fd, bytes, count) == count)
    }

    public func read(_ count: Int = 1) {
        var bytes = [UInt8](repeating: 0, count: count)
        precondition(Glibc.read(fd, &bytes, count) == count)
    }

    /// Takes over an open descriptor with the number it has. It must not be closed by hand.
    private init(keeping fd: Int32) {
        precondition(fd >= 0, String(cString: strerror(errno)))
        self.fd = fd
    }

    /// The two ends of a stream socket; with the numbers the kernel gives for a test that needs many
    /// and closes none.
    public static func socketPair(keepingNumbers: Bool = false) -> (Descriptor, Descriptor) {
        raiseDescriptorLimit()
        var ends: [Int32] = [-1, -1]
        precondition(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        if keepingNumbers {
            return (Descriptor(keeping: ends[0]), Descriptor(keeping: ends[1]))
        }
        return (Descriptor(ends[0]), Descriptor(ends[1]))
    }

    /// The two ends of a TCP connection over the loopback.
    public static func connection() -> (Descriptor, Descriptor) {
        let stream = Int32(SOCK_STREAM.rawValue)
        let (listener, client) = (socket(AF_INET, stream, 0), socket(AF_INET, stream, 0))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                precondition(bind(listener, $0, length) == 0 && listen(listener, 1) == 0)
                precondition(getsockname(listener, $0, &length) == 0)
                precondition(connect(client, $0, length) == 0, String(cString: strerror(errno)))
            }
        }
        defer { Glibc.close(listener) }
        return (Descriptor(accept(listener, nil, nil)), Descriptor(client))
    }

    /// The two ends of a pipe, the one for reading first.
    public static func pipe() -> (Descriptor, Descriptor) {
        var ends: [Int32] = [-1, -1]
        precondition(Glibc.pipe(&ends) == 0)
        return (Descriptor(ends[0]), Descriptor(ends[1]))
    }

    public static func open(_ path: String, _ flags: Int32 = O_RDWR) -> Descriptor {
        Descriptor(Glibc.open(path, flags))
    }

    /// An empty regular file without a name.
    public static func temporaryFile() -> Descriptor {
        var template = Array("/tmp/selectors-XXXXXX".utf8CString)
        let fd = mkstemp(&template)
        unlink(template)
        return Descriptor(fd)
    }
}

/// Lifts the soft limit of open descriptors to the hard one.
public func raiseDescriptorLimit() {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}

/// What a clock says, in nanoseconds.
public func now(_ clock: clockid_t = CLOCK_MONOTONIC) -> Int64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// What a body returns, and how long it takes in nanoseconds.
public func timed<Result>(_ body: () throws -> Result) rethrows -> (Int64, Result) {
    let start = now()
    let result = try body()
    return (now() - start, result)
}
