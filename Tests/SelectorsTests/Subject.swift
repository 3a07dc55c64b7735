import CSelectors
import Glibc
import Selectors
import Synchronization
import Testing

/// What the contract is tested on: a backend behind one of the two faces.
struct Subject: CustomTestStringConvertible, Sendable {
    enum Face: CaseIterable { case c, swift }

    let face: Face
    let backend: String

    var testDescription: String { "\(backend), \(face)" }

    /// Every available backend behind every face.
    static let all = SelectorRegistry.backends.filter { $0.isAvailable && $0.rank > 0 }
        .flatMap { info in Face.allCases.map { Subject(face: $0, backend: info.name) } }

    /// Opens a selector.
    func open() throws(Failure) -> any Selecting {
        switch face {
        case .c: try CFace(backend)
        case .swift: try SwiftFace(backend)
        }
    }

    /// Tells whether the backend has an ability.
    func can(_ capability: BackendCapabilities) -> Bool {
        SelectorRegistry.backends.contains {
            $0.name == backend && $0.capabilities.contains(capability)
        }
    }
}

/// An errno value: what both faces' errors come down to.
struct Failure: Error, Equatable {
    let errno: Int32

    init(_ errno: Int32) {
        self.errno = errno
    }
}

extension Optional where Wrapped == OpaquePointer {
    /// The handle that a successful sel_open has stored.
    fileprivate func orThrow() throws(Failure) -> OpaquePointer {
        guard let self else { throw Failure(0) }
        return self
    }
}

struct Key: Equatable {
    var fd: Int32
    var events: UInt32
    var data: Int
}

struct Event: Equatable {
    var key: Key
    var events: UInt32
    var detail: UInt32 = 0
}

/// What both faces can do, in one form.
protocol Selecting: Sendable {
    var backend: String { get }
    func register(_ fd: Int32, _ events: UInt32, data: Int) throws(Failure)
    func modify(_ fd: Int32, _ events: UInt32, data: Int) throws(Failure)
    @discardableResult func unregister(_ fd: Int32) throws(Failure) -> Key
    func key(_ fd: Int32) throws(Failure) -> Key
    func map() throws(Failure) -> [Key]
    func fileno() throws(Failure) -> Int32
    func wakeup() throws(Failure)
    /// Closes the selector, which is not used afterwards.
    func close()
    func setInterruptible(_ isInterruptible: Bool) throws(Failure)
    /// Waits for nanoseconds, -1: without limit; all that is ready, by number.
    func select(_ timeout: Int64) throws(Failure) -> [Event]
    /// The same, with the signal mask replaced.
    func pselect(_ timeout: Int64, _ mask: sigset_t) throws(Failure) -> [Event]
}

extension Selecting {
    func register(_ fd: Int32, _ events: UInt32) throws(Failure) {
        try register(fd, events, data: 0)
    }

    func modify(_ fd: Int32, _ events: UInt32) throws(Failure) {
        try modify(fd, events, data: 0)
    }

    /// What is ready now, as number and mask.
    func look() throws(Failure) -> [Int32: UInt32] {
        var ready: [Int32: UInt32] = [:]
        for event in try select(0) { ready[event.key.fd] = event.events }
        return ready
    }
}

final class CFace: Selecting, @unchecked Sendable {
    private let selector: OpaquePointer
    private let isClosed = Atomic<Bool>(false)

    init(_ backend: String) throws(Failure) {
        var selector: OpaquePointer?
        _ = try CFace.check(sel_open(&selector, backend))
        self.selector = try selector.orThrow()
    }

    deinit {
        close()
    }

    func close() {
        if !isClosed.exchange(true, ordering: .relaxed) { sel_close(selector) }
    }

    func wakeup() throws(Failure) {
        _ = try CFace.check(sel_wakeup(selector))
    }

    var backend: String { String(cString: sel_backend_name(selector)) }

    func register(_ fd: Int32, _ events: UInt32, data: Int) throws(Failure) {
        _ = try CFace.check(
            sel_register(selector, fd, events, UnsafeMutableRawPointer(bitPattern: data)))
    }

    func modify(_ fd: Int32, _ events: UInt32, data: Int) throws(Failure) {
        _ = try CFace.check(
            sel_modify(selector, fd, events, UnsafeMutableRawPointer(bitPattern: data)))
    }

    func unregister(_ fd: Int32) throws(Failure) -> Key {
        var key = sel_key()
        _ = try CFace.check(sel_unregister(selector, fd, &key))
        return Key(key)
    }

    func key(_ fd: Int32) throws(Failure) -> Key {
        var key = sel_key()
        _ = try CFace.check(sel_get_key(selector, fd, &key))
        return Key(key)
    }

    func map() throws(Failure) -> [Key] {
        let count = try CFace.check(sel_get_map(selector, nil, 0))
        var keys = [sel_key](repeating: sel_key(), count: Int(count))
        _ = try CFace.check(sel_get_map(selector, &keys, count))
        return keys.map(Key.init)
    }

    func fileno() throws(Failure) -> Int32 {
        try CFace.check(sel_fileno(selector))
    }

    func setInterruptible(_ isInterruptible: Bool) throws(Failure) {
        _ = try CFace.check(sel_set_interruptible(selector, isInterruptible ? 1 : 0))
    }

    func select(_ timeout: Int64) throws(Failure) -> [Event] {
        try collect { sel_select(selector, $0, $1, timeout) }
    }

    func pselect(_ timeout: Int64, _ mask: sigset_t) throws(Failure) -> [Event] {
        var mask = mask
        return try collect { sel_pselect(selector, $0, $1, timeout, &mask) }
    }

    private func collect(
        _ select: (UnsafeMutablePointer<sel_event>, Int32) -> Int32
    ) throws(Failure) -> [Event] {
        var events = [sel_event](repeating: sel_event(), count: 10_000)
        let count = try CFace.check(select(&events, 10_000))
        return events.prefix(Int(count))
            .map { Event(key: Key($0.key), events: $0.events, detail: $0.detail) }
            .sorted { $0.key.fd < $1.key.fd }
    }

    private static func check(_ result: Int32) throws(Failure) -> Int32 {
        if result < 0 { throw Failure(-result) }
        return result
    }
}

final class SwiftFace: Selecting {
    private let selector: BaseSelector<Int>

    init(_ backend: String) throws(Failure) {
        selector = try SwiftFace.translate { () throws(SelectorError) in
            try BaseSelector(backend: backend)
        }
    }

    var backend: String { selector.backend }

    func register(_ fd: Int32, _ events: UInt32, data: Int) throws(Failure) {
        _ = try SwiftFace.translate { () throws(SelectorError) in
            try selector.register(fd, events: EventMask(rawValue: events), data: data)
        }
    }

    func modify(_ fd: Int32, _ events: UInt32, data: Int) throws(Failure) {
        _ = try SwiftFace.translate { () throws(SelectorError) in
            try selector.modify(fd, events: EventMask(rawValue: events), data: data)
        }
    }

    func unregister(_ fd: Int32) throws(Failure) -> Key {
        Key(try SwiftFace.translate { () throws(SelectorError) in try selector.unregister(fd) })
    }

    func key(_ fd: Int32) throws(Failure) -> Key {
        Key(try SwiftFace.translate { () throws(SelectorError) in try selector.get_key(fd) })
    }

    func map() throws(Failure) -> [Key] {
        try SwiftFace.translate { () throws(SelectorError) in try selector.get_map().map(Key.init) }
    }

    func fileno() throws(Failure) -> Int32 {
        try SwiftFace.translate { () throws(SelectorError) in try selector.fileno() }
    }

    func wakeup() throws(Failure) {
        try SwiftFace.translate { () throws(SelectorError) in try selector.wakeup() }
    }

    func close() {
        selector.close()
    }

    func setInterruptible(_ isInterruptible: Bool) throws(Failure) {
        try SwiftFace.translate { () throws(SelectorError) in
            try selector.setInterruptible(isInterruptible)
        }
    }

    func select(_ timeout: Int64) throws(Failure) -> [Event] {
        var ready: [ReadyEvent<Int>] = []
        try SwiftFace.translate { () throws(SelectorError) in
            try selector.select(into: &ready, timeout: SwiftFace.duration(timeout))
        }
        return SwiftFace.events(ready)
    }

    func pselect(_ timeout: Int64, _ mask: sigset_t) throws(Failure) -> [Event] {
        var ready: [ReadyEvent<Int>] = []
        try SwiftFace.translate { () throws(SelectorError) in
            try selector.pselect(
                into: &ready, timeout: SwiftFace.duration(timeout), signalMask: mask)
        }
        return SwiftFace.events(ready)
    }

    private static func duration(_ timeout: Int64) -> Duration? {
        timeout < 0 ? nil : .nanoseconds(timeout)
    }

    private static func events(_ ready: [ReadyEvent<Int>]) -> [Event] {
        ready.map {
            Event(key: Key($0.key), events: $0.events.rawValue, detail: $0.detail.rawValue)
        }.sorted { $0.key.fd < $1.key.fd }
    }

    private static func translate<Result>(
        _ body: () throws(SelectorError) -> Result
    ) throws(Failure) -> Result {
        do throws(SelectorError) {
            return try body()
        } catch {
            throw Failure(error.errno)
        }
    }
}

extension Key {
    init(_ key: sel_key) {
        self.init(fd: key.fd, events: key.events, data: Int(bitPattern: key.data))
    }

    init(_ key: SelectorKey<Int>) {
        self.init(fd: key.fd, events: key.events.rawValue, data: key.data)
    }
}
