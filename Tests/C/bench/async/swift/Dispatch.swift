// A DispatchSource for each connection, all of them on one serial queue.
//
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc

func serveByDispatch() {
    let queue = DispatchQueue(label: "echo")
    let listener = listenOnLoopback()
    let clients = DispatchSource.makeReadSource(fileDescriptor: listener, queue: queue)
    clients.setEventHandler {
        for _ in 0..<max(1, clients.data) { serve(acceptClient(listener), on: queue) }
    }
    clients.activate()
}

private func serve(_ client: Int32, on queue: DispatchQueue) {
    let connection = Connection(client)
    let reads = DispatchSource.makeReadSource(fileDescriptor: client, queue: queue)
    reads.setEventHandler {
        if !connection.step() { return reads.cancel() }
        if !connection.isSending { return }
        reads.suspend()
        let writes = DispatchSource.makeWriteSource(fileDescriptor: client, queue: queue)
        writes.setEventHandler {
            let goesOn = connection.step()
            if goesOn && connection.isSending { return }
            writes.cancel()
            if !goesOn { reads.cancel() }
            reads.resume()
        }
        writes.activate()
    }
    reads.setCancelHandler { close(client) }
    reads.activate()
}
