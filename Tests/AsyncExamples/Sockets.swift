import Glibc
import Selectors

/// A socket that does not block, closed with its last reference.
public final class Socket: FileObject {
    public let fileDescriptor: Int32

    /// Takes over a descriptor, or throws what the call that gave a negative one has failed with.
    public init(_ fd: Int32) throws(SelectorError) {
        if fd < 0 { throw .system(errno) }
        _ = fcntl(fd, F_SETFL, O_NONBLOCK)
        _ = fcntl(fd, F_SETFD, FD_CLOEXEC)
        fileDescriptor = fd
    }

    deinit {
        close(fileDescriptor)
    }

    /// Makes a socket for TCP over IPv4.
    public static func stream() throws(SelectorError) -> Socket {
        try Socket(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
    }

    /// Makes one that listens on a port of the loopback; several may share the port. 0: any port.
    public static func listener(port: UInt16) throws(SelectorError) -> Socket {
        let made = try stream()
        var on: Int32 = 1
        setsockopt(
            made.fileDescriptor, SOL_SOCKET, SO_REUSEPORT, &on,
            socklen_t(MemoryLayout<Int32>.size))
        let isBound = withLoopback(port) { bind(made.fileDescriptor, $0, $1) } == 0
        if !isBound || listen(made.fileDescriptor, 512) < 0 { throw .system(errno) }
        return made
    }

    /// The port that it is bound to.
    public var port: UInt16 {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutableBytes(of: &address) {
            _ = getsockname(
                fileDescriptor, $0.assumingMemoryBound(to: sockaddr.self).baseAddress, &length)
        }
        return UInt16(bigEndian: address.sin_port)
    }

    /// Calls a function with the address of a port of the loopback.
    static func withLoopback(
        _ port: UInt16, _ body: (UnsafePointer<sockaddr>?, socklen_t) -> Int32
    ) -> Int32 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return withUnsafeBytes(of: &address) {
            body($0.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t($0.count))
        }
    }
}
