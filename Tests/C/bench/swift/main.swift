// The Swift face, as a contestant of the benchmark: `list` waits with the `select` that returns an
// array, `array` with the one that fills an array that is used again.
//
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Selectors
import Workloads

/// What C calls has no context of its own.
private struct State {
    let selector: EpollSelector<UnsafeMutableRawPointer?>
    /// The same, which a call need not retain: a program with a variable of its own need not either.
    let borrowed: Unmanaged<EpollSelector<UnsafeMutableRawPointer?>>
    var ready: [ReadyEvent<UnsafeMutableRawPointer?>] = []
}

@exclusivity(unchecked) nonisolated(unsafe) private var state: State!

/// Ends the program where anything fails, as the contract of a contestant wants it.
private func orDie<Result>(_ body: () throws(SelectorError) -> Result) -> Result {
    do throws(SelectorError) {
        return try body()
    } catch {
        die("\(error)")
    }
}

private func openSet(_: UnsafePointer<CChar>?, _: Bool) {
    let selector: EpollSelector<UnsafeMutableRawPointer?> = orDie { () throws(SelectorError) in
        try EpollSelector()
    }
    state = State(selector: selector, borrowed: .passUnretained(selector))
}

private func closeSet() {
    state.selector.close()
}

private func add(_ fd: Int32, _ events: UInt32, _ data: UnsafeMutableRawPointer?) {
    orDie { () throws(SelectorError) in
        _ = try state.selector.register(fd, events: EventMask(rawValue: events), data: data)
    }
}

private func modify(_ fd: Int32, _ events: UInt32, _ data: UnsafeMutableRawPointer?) {
    orDie { () throws(SelectorError) in
        _ = try state.selector.modify(fd, events: EventMask(rawValue: events), data: data)
    }
}

private func remove(_ fd: Int32) {
    orDie { () throws(SelectorError) in _ = try state.selector.unregister(fd) }
}

private func waitForList() {
    let ready = state.borrowed._withUnsafeGuaranteedRef { selector in
        orDie { () throws(SelectorError) in try selector.select() }
    }
    for (key, events) in ready { call_on_event(key.data, events.rawValue) }
}

private func waitForArray() {
    state.borrowed._withUnsafeGuaranteedRef { selector in
        orDie { () throws(SelectorError) in try selector.select(into: &state.ready) }
    }
    for index in state.ready.indices {
        call_on_event(state.ready[index].key.data, state.ready[index].events.rawValue)
    }
}

private func wakeUp() {
    orDie { () throws(SelectorError) in try state.selector.wakeup() }
}

private var face = contestant(
    open: openSet, close: closeSet, add: add, modify: modify, remove: remove, wait: waitForArray,
    wakeup: wakeUp, pool: nil)
if CommandLine.arguments.dropFirst().first == "list" { face.wait = waitForList }
exit(compete(&face, CommandLine.argc, CommandLine.unsafeArgv))
