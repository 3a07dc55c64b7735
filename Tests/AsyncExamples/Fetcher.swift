import Glibc
import Selectors
import SelectorsAsync

/// Fetches many pages of one server of the loopback at once, with a time limit for each step.
///
/// It is an actor of the executor, so its state needs no lock, and each fetch goes on in the thread
/// that saw the data come.
public actor Fetcher {
    private let executor: SelectorExecutor
    private let timeout: Duration
    /// How many bytes have come in all.
    public private(set) var received = 0

    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    public init(on executor: SelectorExecutor, timeout: Duration) {
        self.executor = executor
        self.timeout = timeout
    }

    /// Fetches all paths at once; `nil` stands for a page that took too long or failed.
    public func fetch(_ paths: [String], port: UInt16) async -> [String: String?] {
        await withTaskGroup(of: (String, String?).self) { group in
            for path in paths {
                group.addTask { (path, try? await self.fetch(path, port: port)) }
            }
            var pages: [String: String?] = [:]
            for await (path, page) in group { pages.updateValue(page, forKey: path) }
            return pages
        }
    }

    private func fetch(_ path: String, port: UInt16) async throws -> String {
        let socket = try Socket.stream()
        let file = AsyncFile(socket, on: executor)
        try await connect(file, port)
        let request = Array("GET \(path) HTTP/1.0\r\nHost: localhost\r\n\r\n".utf8)
        var sent = 0
        while sent < request.count {
            sent += try await file.retry(for: .write, timeout: timeout) { fd in
                request[sent...].withUnsafeBytes {
                    send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
            }
        }
        var page: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = try await file.retry(for: .read, timeout: timeout) {
                recv($0, &buffer, buffer.count, 0)
            }
            if count == 0 { return String(decoding: page, as: UTF8.self) }
            page += buffer[..<count]
            received += count
        }
    }

    /// Connects: that has ended when the socket can be written to.
    private func connect(_ file: AsyncFile<Socket>, _ port: UInt16) async throws {
        let fd = file.file.fileDescriptor
        if Socket.withLoopback(port, { Glibc.connect(fd, $0, $1) }) == 0 { return }
        guard errno == EINPROGRESS else { throw SelectorError.system(errno) }
        if try await file.readiness(for: .write, timeout: timeout).isEmpty {
            throw SelectorError.system(ETIMEDOUT)
        }
        var (code, length) = (Int32(0), socklen_t(MemoryLayout<Int32>.size))
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length)
        if code != 0 { throw SelectorError.system(code) }
    }
}
