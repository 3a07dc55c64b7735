// What the servers that make their own system calls share.
//
// SPDX-License-Identifier: Apache-2.0

import Glibc

func announce(port: Int) {
    print("listening on 127.0.0.1:\(port)")
    fflush(nil)
}

/// Listens on a free port of the loopback and announces it; the socket does not block.
func listenOnLoopback() -> Int32 {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isListening = withUnsafeMutableBytes(of: &address) {
        let address = $0.assumingMemoryBound(to: sockaddr.self).baseAddress!
        return bind(listener, address, length) == 0 && listen(listener, SOMAXCONN) == 0
            && getsockname(listener, address, &length) == 0
    }
    if !isListening {
        perror("async-server")
        exit(1)
    }
    announce(port: Int(UInt16(bigEndian: address.sin_port)))
    return listener
}

/// Accepts a connection, which does not block; negative if none waits.
func acceptClient(_ listener: Int32) -> Int32 {
    let client = accept(listener, nil, nil)
    if client >= 0 { _ = fcntl(client, F_SETFL, O_NONBLOCK) }
    return client
}

/// A connection is either reading, or sending what it has read.
final class Connection {
    let fd: Int32
    private var buffer = [UInt8](repeating: 0, count: 4096)
    private var unsent = 0..<0

    init(_ fd: Int32) {
        self.fd = fd
    }

    var isSending: Bool { !unsent.isEmpty }

    /// Reads, unless there is something to send, and sends what it can; false: it is over.
    func step() -> Bool {
        if !isSending {
            let count = recv(fd, &buffer, buffer.count, 0)
            if count <= 0 { return count < 0 && errno == EAGAIN }
            unsent = 0..<count
        }
        let sent = buffer.withUnsafeBytes {
            send(fd, $0.baseAddress! + unsent.lowerBound, unsent.count, Int32(MSG_NOSIGNAL))
        }
        if sent < 0 { return errno == EAGAIN }
        unsent.removeFirst(sent)
        return true
    }
}
