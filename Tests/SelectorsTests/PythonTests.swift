import Foundation
import Selectors
import TestSupport
import Testing

/// What Python's documentation of `selectors` says, for the Swift face.
///
/// Readiness is the contract's.
@Suite struct PythonTests {
    // MARK: register

    @Test func registerReturnsTheKey() throws {
        let selector = try PollSelector<String>()
        let handle = Handle()
        let key = try selector.register(handle, events: [.read, .write], data: "a")
        #expect(key.fileObject as? Handle === handle)
        #expect(key.fd == handle.fileDescriptor)
        #expect(key.events == [.read, .write])
        #expect(key.data == "a")
    }

    @Test func aNumberIsItsOwnFileObject() throws {
        let selector = try PollSelector<Void>()
        let handle = Handle()
        let key = try selector.register(handle.fileDescriptor, events: .read)
        #expect(key.fileObject as? Int32 == handle.fileDescriptor)
        #expect(key.fd == handle.fileDescriptor)
    }

    @Test func registeringTwiceIsRefusedWhateverStandsForTheDescriptor() throws {
        let selector = try PollSelector<String>()
        let handle = Handle()
        let fd = handle.fileDescriptor
        try selector.register(handle, events: .read, data: "a")
        #expect(throws: SelectorError.alreadyRegistered(fd)) {
            try selector.register(handle, events: .write, data: "b")
        }
        #expect(throws: SelectorError.alreadyRegistered(fd)) {
            try selector.register(fd, events: .write, data: "b")
        }
        let key = try selector.get_key(handle)
        #expect(key.events == .read)
        #expect(key.data == "a")
    }

    @Test(arguments: [0, 0x8, 0x10, 0x44, 0x101, 0x8000_0001] as [UInt32])
    func wrongEventsAreRefused(rawValue: UInt32) throws {
        let selector = try PollSelector<String>()
        let (handle, other) = (Handle(), Handle())
        let events = EventMask(rawValue: rawValue)
        try selector.register(handle, events: .read, data: "a")
        #expect(throws: SelectorError.invalidEvents) {
            try selector.register(other, events: events, data: "b")
        }
        #expect(throws: SelectorError.invalidEvents) {
            try selector.modify(handle, events: events, data: "b")
        }
        #expect(try selector.get_map().map(\.data) == ["a"])
        #expect(try selector.get_key(handle).events == .read)
    }

    @Test func objectsWithoutADescriptorAreRefused() throws {
        let selector = try PollSelector<Void>()
        for fd in [-1, .min] as [Int32] {
            let object = Record(fileDescriptor: fd)
            #expect(throws: SelectorError.invalidFileDescriptor) {
                try selector.register(object, events: .read)
            }
            #expect(throws: SelectorError.invalidFileDescriptor) {
                try selector.modify(object, events: .read)
            }
            #expect(throws: SelectorError.invalidFileDescriptor) {
                try selector.unregister(object)
            }
            #expect(throws: SelectorError.invalidFileDescriptor) { try selector.get_key(object) }
            #expect(throws: SelectorError.invalidFileDescriptor) { try selector.get_key(fd) }
            #expect(try !selector.get_map().contains(object))
            #expect(try selector.get_map()[fd] == nil)
        }
        #expect(try selector.get_map().isEmpty)
    }

    @Test func aDescriptorThatIsNotOpenIsTheSystemsToRefuse() throws {
        let selector = try PollSelector<Void>()
        let handle = Handle()
        let fd = handle.fileDescriptor
        handle.close()
        #expect(throws: SelectorError.system(EBADF)) { try selector.register(fd, events: .read) }
        #expect(throws: SelectorError.notRegistered(fd)) { try selector.get_key(fd) }
        #expect(try selector.get_map().isEmpty)
    }

    @Test func registeredObjectsStayOpenAndAreKeptAlive() throws {
        let selector = try PollSelector<Void>()
        let fd = try selector.register(Handle(), events: .write).fd
        #expect(try selector.select().map(\.key.fd) == [fd])
        try selector.unregister(fd)
        #expect(fcntl(fd, F_GETFD) == -1)
    }

    // MARK: unregister

    @Test func unregisterReturnsTheKey() throws {
        let selector = try PollSelector<String>()
        let handle = Handle()
        try selector.register(handle, events: .write, data: "a")
        let key = try selector.unregister(handle)
        #expect(key.fileObject as? Handle === handle)
        #expect(key.fd == handle.fileDescriptor)
        #expect(key.events == .write)
        #expect(key.data == "a")
        #expect(try selector.get_map().isEmpty)
    }

    @Test func unknownObjectsAreNotFound() throws {
        let selector = try PollSelector<String>()
        let handle = Handle()
        let fd = handle.fileDescriptor
        // Before and after a registration.
        for _ in 0..<2 {
            #expect(throws: SelectorError.notRegistered(fd)) { try selector.unregister(handle) }
            #expect(throws: SelectorError.notRegistered(fd)) { try selector.get_key(handle) }
            #expect(throws: SelectorError.notRegistered(fd)) {
                try selector.modify(handle, events: .read, data: "b")
            }
            try selector.register(handle, events: .read, data: "a")
            try selector.unregister(handle)
        }
        #expect(throws: SelectorError.notRegistered(.max)) { try selector.get_key(Int32.max) }
    }

    // MARK: modify

    @Test func modifyChangesEventsAndDataAndReturnsTheNewKey() throws {
        let selector = try PollSelector<String>()
        let handle = Handle()
        try selector.register(handle, events: .read, data: "a")
        for (events, data) in [(EventMask.read, "b"), (.write, "b"), ([.read, .write], "c")] {
            let returned = try selector.modify(handle, events: events, data: data)
            for key in [returned, try selector.get_key(handle)] {
                #expect(key.fileObject as? Handle === handle)
                #expect(key.fd == handle.fileDescriptor)
                #expect(key.events == events)
                #expect(key.data == data)
            }
        }
        #expect(try selector.select().map(\.key.data) == ["c"])
    }

    @Test func modifyByNumberKeepsTheObject() throws {
        let selector = try PollSelector<String>()
        let handle = Handle()
        try selector.register(handle, events: .read, data: "a")
        let key = try selector.modify(handle.fileDescriptor, events: .write, data: "b")
        #expect(key.fileObject as? Handle === handle)
        #expect(try selector.get_key(handle).fileObject as? Handle === handle)
    }

    @Test func modifyKeepsTheOrder() throws {
        let selector = try PollSelector<Int>()
        let handles = (0..<3).map { _ in Handle() }
        for (index, handle) in handles.enumerated() {
            try selector.register(handle, events: .read, data: index)
        }
        try selector.modify(handles[0], events: .write, data: 10)
        #expect(try selector.get_map().map(\.data) == [10, 1, 2])
    }

    // MARK: get_key and get_map

    @Test func keysAreFoundByObjectAndByNumber() throws {
        let selector = try PollSelector<String>()
        let (handle, other) = (Handle(), Handle())
        try selector.register(handle, events: .read, data: "a")
        try selector.register(other.fileDescriptor, events: .read, data: "b")
        let map = try selector.get_map()
        #expect(try selector.get_key(handle).data == "a")
        #expect(try selector.get_key(handle.fileDescriptor).data == "a")
        #expect(try selector.get_key(other).data == "b")
        #expect(map[handle]?.data == "a")
        #expect(map[handle.fileDescriptor]?.data == "a")
        #expect(map[Record(fileDescriptor: other.fileDescriptor)]?.data == "b")
        #expect(map[other]?.fileObject as? Int32 == other.fileDescriptor)
    }

    @Test func theMapIsLive() throws {
        let selector = try PollSelector<String>()
        let (a, b) = (Handle(), Handle())
        let map = try selector.get_map()
        #expect(map.isEmpty)
        #expect(map.count == 0)
        #expect(!map.contains(a))
        #expect(map[a] == nil)
        try selector.register(a, events: .read, data: "a")
        try selector.register(b, events: .read, data: "b")
        #expect(!map.isEmpty)
        #expect(map.count == 2)
        #expect(map.contains(a))
        #expect(map.contains(b.fileDescriptor))
        try selector.modify(a, events: .write, data: "c")
        #expect(map[a]?.data == "c")
        try selector.unregister(a)
        #expect(map.count == 1)
        #expect(!map.contains(a))
        #expect(!map.contains(a.fileDescriptor))
        #expect(map[a] == nil)
        #expect(map.map(\.data) == ["b"])
    }

    @Test func theMapIteratesInTheOrderOfRegistration() throws {
        let selector = try PollSelector<Int>()
        let handles = (0..<5).map { _ in Handle() }
        for index in [3, 0, 4, 1, 2] {
            try selector.register(handles[index], events: .read, data: index)
        }
        try selector.unregister(handles[4])
        try selector.unregister(handles[3])
        try selector.register(handles[3], events: .read, data: 3)
        #expect(try selector.get_map().map(\.data) == [0, 1, 2, 3])
    }

    @Test func theBodyOfAnIterationMayChangeTheSelector() throws {
        let selector = try PollSelector<Int>()
        let (handles, late) = ((0..<4).map { _ in Handle() }, Handle())
        for (index, handle) in handles.enumerated() {
            try selector.register(handle, events: .read, data: index)
        }
        var seen: [Int] = []
        for key in try selector.get_map() {
            seen.append(key.data)
            try selector.unregister(key.fileObject)
            if seen.count == 1 { try selector.register(late, events: .read, data: 9) }
        }
        #expect(seen == [0, 1, 2, 3])
        #expect(try selector.get_map().map(\.data) == [9])
    }

    @Test func theMapIsEmptyAfterClose() throws {
        let selector = try PollSelector<String>()
        let handle = Handle()
        try selector.register(handle, events: .read, data: "a")
        let map = try selector.get_map()
        selector.close()
        #expect(map.isEmpty)
        #expect(map.count == 0)
        #expect(!map.contains(handle))
        #expect(map[handle.fileDescriptor] == nil)
        #expect(map.map(\.data) == [])
    }

    // MARK: Objects that were closed

    @Test func aClosedObjectIsFoundByItsIdentity() throws {
        let selector = try PollSelector<String>()
        let (other, handle, stranger) = (Handle(), Handle(), Handle())
        let fd = handle.fileDescriptor
        try selector.register(other.fileDescriptor, events: .read, data: "number")
        try selector.register(Record(other: Handle()), events: .read, data: "structure")
        try selector.register(handle, events: .read, data: "a")
        handle.close()
        stranger.close()
        let map = try selector.get_map()
        #expect(handle.fileDescriptor == -1)
        #expect(try selector.get_key(handle).data == "a")
        #expect(map[handle]?.fd == fd)
        #expect(map.contains(handle))
        #expect(!map.contains(stranger))
        #expect(throws: SelectorError.invalidFileDescriptor) { try selector.get_key(stranger) }
        #expect(throws: SelectorError.invalidFileDescriptor) { try selector.unregister(stranger) }
        #expect(try selector.modify(handle, events: .write, data: "b").fd == fd)
        let key = try selector.unregister(handle)
        #expect(key.fileObject as? Handle === handle)
        #expect(key.fd == fd)
        #expect(key.data == "b")
        #expect(!map.contains(handle))
        #expect(throws: SelectorError.invalidFileDescriptor) { try selector.unregister(handle) }
        #expect(map.map(\.data) == ["number", "structure"])
    }

    @Test func amongClosedObjectsEachHasItsOwnKey() throws {
        let selector = try PollSelector<Int>()
        let handles = (0..<3).map { _ in Handle() }
        for (index, handle) in handles.enumerated() {
            try selector.register(handle, events: .read, data: index)
        }
        for handle in handles { handle.close() }
        for (index, handle) in handles.enumerated().reversed() {
            #expect(try selector.unregister(handle).data == index)
        }
        #expect(try selector.get_map().isEmpty)
    }

    @Test func anObjectRegisteredByNumberIsLostWithItsDescriptor() throws {
        let selector = try PollSelector<String>()
        let handle = Handle()
        let fd = handle.fileDescriptor
        try selector.register(fd, events: .read, data: "a")
        handle.close()
        #expect(throws: SelectorError.invalidFileDescriptor) { try selector.unregister(handle) }
        #expect(try selector.unregister(fd).data == "a")
    }

    // MARK: close

    @Test func everythingAfterCloseIsRefused() throws {
        let selector = try EpollSelector<Void>()
        let (handle, other) = (Handle(), Handle())
        try selector.register(handle, events: .read)
        selector.close()
        selector.close()
        #expect(throws: SelectorError.closed) { try selector.register(other, events: .read) }
        #expect(throws: SelectorError.closed) { try selector.register(handle, events: []) }
        #expect(throws: SelectorError.closed) { try selector.modify(handle, events: .read) }
        #expect(throws: SelectorError.closed) { try selector.unregister(handle) }
        #expect(throws: SelectorError.closed) { try selector.unregister(Int32(-1)) }
        #expect(throws: SelectorError.closed) { try selector.get_key(handle) }
        #expect(throws: SelectorError.closed) { try selector.get_map() }
        #expect(throws: SelectorError.closed) { try selector.fileno() }
        #expect(throws: SelectorError.closed) { try selector.select() }
        #expect(throws: SelectorError.closed) { try selector.select(timeout: .zero) }
    }

    @Test func closeLeavesRegisteredObjectsOpen() throws {
        let selector = try EpollSelector<Void>()
        let handle = Handle()
        try selector.register(handle, events: .read)
        selector.close()
        #expect(fcntl(handle.fileDescriptor, F_GETFD) >= 0)
    }

    @Test func closeLetsGoOfObjectsAndData() throws {
        let selector = try PollSelector<Handle>()
        weak var (object, data): (Handle?, Handle?)
        do {
            let (first, second) = (Handle(), Handle())
            (object, data) = (first, second)
            try selector.register(first, events: .read, data: second)
        }
        #expect(object != nil && data != nil)
        selector.close()
        #expect(object == nil && data == nil)
    }

    // MARK: The selectors

    @Test func eachSelectorHasTheBackendOfItsName() throws {
        #expect(try EpollSelector<Void>().backend == "epoll")
        #expect(try PollSelector<Void>().backend == "poll")
        #expect(try SelectSelector<Void>().backend == "select")
    }

    @Test func theSelectorsOfOtherSystemsSayWhatIsMissing() throws {
        let errors = [
            (
                #expect(throws: SelectorError.self) { try KqueueSelector<Void>() },
                "kqueue (this system has no kqueue)"
            ),
            (
                #expect(throws: SelectorError.self) { try DevpollSelector<Void>() },
                "devpoll (open /dev/poll: No such file or directory)"
            ),
        ]
        for (error, reason) in errors {
            guard case .backend(let code, let message) = error else {
                Issue.record("\(String(describing: error)) is not about the backend")
                continue
            }
            #expect(code == ENOTSUP)
            #expect(message.contains(reason))
            #expect(message.contains("available: epoll, poll, select"))
        }
    }

    @Test func onlyEpollHasADescriptorOfItsOwn() throws {
        let selector = try EpollSelector<Void>()
        let fd = try selector.fileno()
        #expect(fcntl(fd, F_GETFD) & FD_CLOEXEC != 0)
        #expect(try selector.fileno() == fd)
        #expect(throws: SelectorError.system(ENOTSUP)) { try PollSelector<Void>().fileno() }
        #expect(throws: SelectorError.system(ENOTSUP)) { try SelectSelector<Void>().fileno() }
    }

    private static func has(_ backend: String) -> Bool {
        SelectorRegistry.backends.contains { $0.name == backend && $0.isAvailable }
    }

    @Test(.enabled(if: has("kqueue"), "this system has no kqueue"))
    func aKqueueHasADescriptor() throws {
        let selector = try KqueueSelector<Void>()
        let fd = try selector.fileno()
        #expect(fcntl(fd, F_GETFD) & FD_CLOEXEC != 0)
        #expect(try selector.fileno() == fd)
        try selector.wakeup()
        var look = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        #expect(poll(&look, 1, 0) == 1)
    }

    @Test(.enabled(if: has("devpoll"), "this system has no /dev/poll"))
    func aDevpollHasNone() throws {
        let selector = try DevpollSelector<Void>()
        #expect(selector.backend == "devpoll")
        #expect(throws: SelectorError.system(ENOTSUP)) { try selector.fileno() }
    }

    // MARK: withSelector

    @Test func withSelectorClosesOnReturn() throws {
        let selector = try PollSelector<Void>()
        let result = withSelector(selector) { inner in
            #expect(inner === selector)
            #expect(inner.backend == "poll")
            return 7
        }
        #expect(result == 7)
        #expect(throws: SelectorError.closed) { try selector.get_map() }
    }

    @Test func withSelectorClosesWhenTheBodyThrowsAndKeepsTheErrorsType() throws {
        struct Oops: Error, Equatable { let number: Int }
        let selector = try PollSelector<Void>()
        var caught: Oops?
        do throws(Oops) {
            try withSelector(selector) { _ throws(Oops) in throw Oops(number: 3) }
        } catch {
            caught = error
        }
        #expect(caught == Oops(number: 3))
        #expect(throws: SelectorError.closed) { try selector.get_map() }
    }

    @Test func withSelectorAcceptsAClosedSelector() throws {
        let selector = try PollSelector<Void>()
        withSelector(selector) { $0.close() }
        #expect(throws: SelectorError.closed) { try selector.select(timeout: .zero) }
    }

    // MARK: Data

    @Test func nothingNeedBeAttached() throws {
        let selector = try PollSelector<Void>()
        let handle = Handle()
        #expect(try selector.register(handle, events: .read).events == .read)
        #expect(try selector.modify(handle, events: .write).events == .write)
        #expect(try selector.get_key(handle).events == .write)
    }

    @Test func optionalDataIsNilUnlessGiven() throws {
        let selector = try PollSelector<String?>()
        let (a, b) = (Handle(), Handle())
        #expect(try selector.register(a, events: .read).data == nil)
        #expect(try selector.register(b, events: .read, data: "b").data == "b")
        #expect(try selector.modify(b, events: .write).data == nil)
        #expect(try selector.modify(a, events: .read, data: "a").data == "a")
        #expect(try selector.get_map().map(\.data) == ["a", nil])
    }

    // MARK: select

    @Test func selectReturnsTheKeyThatWasRegistered() throws {
        let selector = try PollSelector<String>()
        let handle = Handle()
        try selector.register(handle, events: [.read, .write], data: "a")
        let ready = try selector.select()
        #expect(ready.count == 1)
        #expect(ready.first?.key.fileObject as? Handle === handle)
        #expect(ready.first?.key.fd == handle.fileDescriptor)
        #expect(ready.first?.key.events == [.read, .write])
        #expect(ready.first?.key.data == "a")
        #expect(ready.first?.events == .write)
    }

    @Test func selectReplacesTheContentsOfAnArrayInPlace() throws {
        let selector = try PollSelector<Int>()
        let handles = (0..<4).map { _ in Handle() }
        for (index, handle) in handles.enumerated() {
            try selector.register(handle, events: .write, data: index)
        }
        var ready: [ReadyEvent<Int>] = []
        try selector.select(into: &ready)
        #expect(ready.map(\.key.data).sorted() == [0, 1, 2, 3])
        let (place, capacity) = (ready.withUnsafeBufferPointer(\.baseAddress), ready.capacity)
        try selector.unregister(handles[2])
        try selector.select(into: &ready)
        #expect(ready.map(\.key.data).sorted() == [0, 1, 3])
        for handle in [0, 1, 3] { try selector.unregister(handles[handle]) }
        try selector.select(into: &ready, timeout: .zero)
        #expect(ready.isEmpty)
        #expect(ready.capacity == capacity)
        try selector.register(handles[2], events: .write, data: 2)
        try selector.select(into: &ready)
        #expect(ready.map(\.key.data) == [2])
        #expect(ready.withUnsafeBufferPointer(\.baseAddress) == place)
    }

    @Test func selectThatThrowsLeavesTheArrayAsItWas() throws {
        let selector = try PollSelector<Int>()
        let handle = Handle()
        try selector.register(handle, events: .write, data: 1)
        var ready: [ReadyEvent<Int>] = []
        try selector.select(into: &ready)
        selector.close()
        #expect(throws: SelectorError.closed) { try selector.select(into: &ready) }
        #expect(ready.map(\.key.data) == [1])
    }

    @Test func selectIntoAnArrayTellsTheCause() throws {
        let selector = try PollSelector<Void>()
        let handle = Handle()
        try selector.register(handle, events: .read)
        var ready: [ReadyEvent<Void>] = []
        handle.peer.write()
        try selector.select(into: &ready)
        #expect(ready.map(\.events) == [.read])
        #expect(ready.map(\.detail) == [[]])
        handle.read()
        handle.peer.close()
        try selector.select(into: &ready)
        #expect(ready.map(\.events) == [.read])
        #expect(ready.map(\.detail) == [[.hangup, .readHangup]])
    }
}

/// A socket as a class: closed, it has no descriptor any more.
final class Handle: FileObject, @unchecked Sendable {
    private let socket: Descriptor
    /// The other end.
    let peer: Descriptor
    private var isOpen = true

    init() {
        (socket, peer) = Descriptor.socketPair()
    }

    var fileDescriptor: Int32 { isOpen ? socket.fd : -1 }

    func read() {
        socket.read()
    }

    func close() {
        socket.close()
        isOpen = false
    }
}

/// A structure with a descriptor: it has no identity.
private struct Record: FileObject {
    var fileDescriptor: Int32
    private var owner: Handle?

    init(fileDescriptor: Int32) {
        self.fileDescriptor = fileDescriptor
    }

    init(other: Handle) {
        fileDescriptor = other.fileDescriptor
        owner = other
    }
}
