// A loop on `select(into:)`.
//
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Selectors

func serveBySelect() throws {
    let listener = listenOnLoopback()
    let selector = try DefaultSelector<Connection?>()
    try selector.register(listener, events: .read, data: nil)
    var ready: [ReadyEvent<Connection?>] = []
    while true {
        try selector.select(into: &ready)
        for event in ready {
            guard let connection = event.key.data else {
                let client = acceptClient(listener)
                try selector.register(client, events: .read, data: Connection(client))
                continue
            }
            if connection.step() {
                let events: EventMask = connection.isSending ? .write : .read
                if events != event.key.events {
                    try selector.modify(connection.fd, events: events, data: connection)
                }
            } else {
                try selector.unregister(connection.fd)
                close(connection.fd)
            }
        }
    }
}
