// What is written by hand without an executor: the main thread waits, and resumes tasks that run in
// Swift's pool of threads. It has no cancellation and no time limits, which would cost more.
//
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Selectors

private typealias Waiter = UnsafeContinuation<Void, Never>

func serveByContinuations() throws {
    let listener = listenOnLoopback()
    let selector = try DefaultSelector<Waiter>()
    Task {
        while true {
            await wait(for: .read, of: listener, selector)
            let client = acceptClient(listener)
            Task { await serve(client, selector) }
        }
    }
    var ready: [ReadyEvent<Waiter>] = []
    while true {
        try selector.select(into: &ready)
        for event in ready { event.key.data.resume() }
    }
}

private func serve(_ client: Int32, _ selector: BaseSelector<Waiter>) async {
    let connection = Connection(client)
    repeat {
        await wait(for: connection.isSending ? .write : .read, of: client, selector)
    } while connection.step()
    _ = try? selector.unregister(client)
    close(client)
}

/// After the one event that it waits for, the descriptor stays registered and is not watched.
private func wait(
    for events: EventMask, of fd: Int32, _ selector: BaseSelector<Waiter>
) async {
    await withUnsafeContinuation { waiter in
        if (try? selector.modify(fd, events: [events, .oneShot], data: waiter)) == nil {
            try! selector.register(fd, events: [events, .oneShot], data: waiter)
        }
    }
}
