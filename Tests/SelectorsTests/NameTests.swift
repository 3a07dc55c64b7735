import Selectors
import TestSupport
import Testing

/// What Swift adds to the names of Python, and what it asks less of a caller.
@Suite(.timeLimit(.minutes(1))) struct NameTests {
    /// A file object that is more than a number.
    private final class Log: FileObject {
        let fileDescriptor: Int32
        init(_ fd: Int32) { fileDescriptor = fd }
    }

    @Test func aLiteralIsADescriptor() throws {
        // It is closed, or what the test runner has made of it: that it compiles is what counts.
        let selector = try DefaultSelector<Void>()
        #expect(throws: SelectorError.notRegistered(0)) { try selector.modify(0, events: .read) }
        #expect(throws: SelectorError.notRegistered(0)) { try selector.unregister(0) }
        #expect(throws: SelectorError.notRegistered(0)) { try selector.key(of: 0) }
        #expect(throws: SelectorError.notRegistered(0)) { try selector.get_key(0) }
        #expect(throws: SelectorError.invalidEvents) { try selector.register(0, events: []) }
        #expect(selector.keys[0] == nil)
        #expect(!selector.keys.contains(0))

        let named = try DefaultSelector<String>()
        #expect(throws: SelectorError.invalidFileDescriptor) {
            try named.register(-1, events: .read, data: "a")
        }
        #expect(throws: SelectorError.notRegistered(0)) {
            try named.modify(0, events: .read, data: "a")
        }
        #expect(throws: SelectorError.notRegistered(0)) { try named.modify(0, data: "a") }

        let optional = try DefaultSelector<Int?>()
        #expect(throws: SelectorError.invalidEvents) { try optional.register(0, events: []) }
        #expect(throws: SelectorError.notRegistered(0)) { try optional.modify(0, events: .read) }
    }

    @Test func keysAreFoundByNumberAndByObject() throws {
        let selector = try DefaultSelector<Int>()
        let (a, b) = Descriptor.socketPair()
        let log = Log(a.fd)
        try selector.register(log, events: .read, data: 1)
        try selector.register(b.fd, events: .write, data: 2)
        #expect(try selector.key(of: log).data == 1)
        #expect(try selector.key(of: a.fd).fileObject as? Log === log)
        #expect(try selector.key(of: b.fd).data == 2)
        #expect(selector.keys.map(\.fd) == [a.fd, b.fd])
        #expect(selector.keys[log]?.data == 1)
        #expect(selector.keys.contains(b.fd))
        #expect(try selector.unregister(b.fd).fileObject as? Int32 == b.fd)
        #expect(selector.keys.count == 1)
    }

    @Test func keysAreEmptyOnceClosed() throws {
        let selector = try DefaultSelector<Int>()
        let file = Descriptor.temporaryFile()
        try selector.register(file.fd, events: .read, data: 1)
        selector.close()
        #expect(selector.keys.isEmpty)
        #expect(selector.keys[file.fd] == nil)
        #expect(throws: SelectorError.closed) { try selector.key(of: file.fd) }
    }

    @Test func waitTellsTheCauses() throws {
        let selector = try DefaultSelector<Int>()
        let (a, b) = Descriptor.pipe()
        try selector.register(a.fd, events: .read, data: 1)
        #expect(try selector.wait(timeout: .zero).isEmpty)
        b.close()
        // Another test may be starting a program, which for a moment has a copy of b.
        let event = try #require(try selector.wait().first)
        #expect(event.events == .read)
        #expect(event.detail.contains(.hangup))
        #expect(event.key.data == 1)
    }

    @Test func dataAloneAreChanged() throws {
        let selector = try DefaultSelector<Int>()
        let (a, b) = Descriptor.socketPair()
        try selector.register(Log(a.fd), events: [.read, .oneShot], data: 1)
        b.write()
        #expect(try selector.select().map(\.key.data) == [1])
        let key = try selector.modify(a.fd, data: 2)
        #expect(key.data == 2)
        #expect(key.events == [.read, .oneShot])
        #expect(key.fileObject is Log)
        // The one shot is spent, and stays so until it is armed again.
        #expect(try selector.select(timeout: .zero).isEmpty)
        try selector.modify(a.fd, events: [.read, .oneShot], data: 3)
        try selector.modify(key.fileObject, data: 4)
        #expect(try selector.select().map(\.key.data) == [4])
    }

    @Test func dataOfWhatIsNotRegisteredAreRefused() throws {
        let selector = try DefaultSelector<Int>()
        let file = Descriptor.temporaryFile()
        #expect(throws: SelectorError.notRegistered(file.fd)) {
            try selector.modify(file.fd, data: 1)
        }
        #expect(throws: SelectorError.invalidFileDescriptor) {
            try selector.modify(Log(-1), data: 1)
        }
        try selector.register(file.fd, events: .read, data: 1)
        selector.close()
        #expect(throws: SelectorError.closed) { try selector.modify(file.fd, data: 2) }
    }
}
