import Selectors
import Synchronization
import TestSupport
import Testing

/// How long the data live that are attached to registrations, and that they may use the selector
/// when they go.
@Suite(.timeLimit(.minutes(1))) struct DataTests {
    /// Uses the selector when it goes.
    final class Attached: Sendable {
        private let farewell: @Sendable () -> Void

        init(_ farewell: @escaping @Sendable () -> Void) {
            self.farewell = farewell
        }

        deinit {
            farewell()
        }
    }

    let selector: DefaultSelector<Attached>
    /// Regular files are always ready.
    let descriptor = Descriptor.temporaryFile()
    let gone = Gone()

    final class Gone: Sendable {
        private let count = Atomic<Int>(0)
        var number: Int { count.load(ordering: .relaxed) }
        func addOne() { count.add(1, ordering: .relaxed) }
    }

    init() throws {
        selector = try DefaultSelector()
    }

    /// Asks for what is registered, which takes the lock.
    func attached() -> Attached {
        Attached { [selector, gone] in
            _ = try? selector.get_key(Int32(0))
            _ = try? selector.get_map().contains(Int32(0))
            gone.addOne()
        }
    }

    /// Asks the selector that it is registered with before it tells its descriptor.
    private final class Asking: FileObject {
        private let fd: Int32
        private let selector: DefaultSelector<Attached>

        init(_ fd: Int32, _ selector: DefaultSelector<Attached>) {
            (self.fd, self.selector) = (fd, selector)
        }

        var fileDescriptor: Int32 {
            _ = try? selector.get_map().contains(Int32(0))
            return fd
        }
    }

    @Test func aGetterMayUseTheSelector() throws {
        let asking = Asking(descriptor.fd, selector)
        try selector.register(asking, events: .read, data: attached())
        try selector.modify(asking, events: .write, data: attached())
        #expect(try selector.get_key(asking).events == .write)
        #expect(try selector.get_map().contains(asking))
        try selector.unregister(asking)
    }

    @Test func dataThatAreReplacedMayUseTheSelector() throws {
        try selector.register(descriptor.fd, events: .read, data: attached())
        try selector.modify(descriptor.fd, events: .read, data: attached())
        #expect(gone.number == 1)
        try selector.modify(descriptor.fd, events: .write, data: attached())
        #expect(gone.number == 2)
    }

    @Test func dataOfWhatIsUnregisteredMayUseTheSelector() throws {
        try selector.register(descriptor.fd, events: .read, data: attached())
        try selector.unregister(descriptor.fd)
        #expect(gone.number == 1)
    }

    @Test func dataOfWhatIsClosedMayUseTheSelector() throws {
        try selector.register(descriptor.fd, events: .read, data: attached())
        selector.close()
        #expect(gone.number == 1)
    }

    @Test func dataThatAreRefusedMayUseTheSelector() throws {
        try selector.register(descriptor.fd, events: .read, data: attached())
        #expect(throws: SelectorError.self) {
            try selector.register(descriptor.fd, events: .read, data: attached())
        }
        #expect(gone.number == 1)
    }

    @Test func dataLiveAsLongAsAnEventHasThem() throws {
        var ready: [ReadyEvent<Attached>] = []
        try selector.register(descriptor.fd, events: .read, data: attached())
        try selector.select(into: &ready)
        #expect(ready.count == 1)
        try selector.unregister(descriptor.fd)
        #expect(gone.number == 0)
        try selector.select(into: &ready, timeout: .zero)
        #expect(ready.isEmpty)
        #expect(gone.number == 1)
    }

    @Test func dataGoWithTheSelector() throws {
        let gone = Gone()
        do {
            let selector = try DefaultSelector<Attached>()
            let other = Descriptor.temporaryFile()
            for fd in [descriptor.fd, other.fd] {
                try selector.register(fd, events: .write, data: Attached { gone.addOne() })
            }
            #expect(gone.number == 0)
            withExtendedLifetime(selector) {}
        }
        #expect(gone.number == 2)
    }
}
