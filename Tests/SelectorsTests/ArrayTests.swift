import Selectors
import TestSupport
import Testing

/// How `select(into:)` replaces what an array holds.
@Suite(.timeLimit(.minutes(1))) struct ArrayTests {
    /// Regular files are always ready.
    let files = (0..<4).map { _ in Descriptor.temporaryFile() }

    @Test func anArrayTakesMoreAndFewer() throws {
        let selector = try DefaultSelector<Int>()
        var ready: [ReadyEvent<Int>] = []
        for counts in [[0, 1, 2], [3], [], [0, 1, 2, 3], [1, 2]] {
            for fd in selector.keys.map(\.fd) { try selector.unregister(fd) }
            for index in counts {
                try selector.register(files[index].fd, events: .read, data: index)
            }
            try selector.select(into: &ready, timeout: .zero)
            #expect(ready.map(\.key.data).sorted() == counts)
            #expect(ready.allSatisfy { $0.key.fd == files[$0.key.data].fd && $0.events == .read })
        }
    }

    @Test func aCopyKeepsItsEvents() throws {
        let selector = try DefaultSelector<Int>()
        var ready: [ReadyEvent<Int>] = []
        try selector.register(files[0].fd, events: .read, data: 1)
        try selector.select(into: &ready)
        let copy = ready
        try selector.modify(files[0].fd, events: .write, data: 2)
        try selector.select(into: &ready)
        #expect(copy.map(\.key.data) == [1])
        #expect(ready.map(\.key.data) == [2])
        #expect(ready.map(\.events) == [.write])
    }

    /// A file object that uses the selector when it goes.
    private final class Log: FileObject {
        let fileDescriptor: Int32
        private let selector: DefaultSelector<Int>
        init(_ fd: Int32, _ selector: DefaultSelector<Int>) {
            (fileDescriptor, self.selector) = (fd, selector)
        }
        deinit { _ = selector.keys.contains(fileDescriptor) }
    }

    @Test func objectsLiveAsLongAsAnEventHasThem() throws {
        let selector = try DefaultSelector<Int>()
        var ready: [ReadyEvent<Int>] = []
        weak var log: Log?
        do {
            let strong = Log(files[0].fd, selector)
            log = strong
            try selector.register(strong, events: .read, data: 0)
        }
        try selector.register(files[1].fd, events: .read, data: 1)
        for _ in 0..<3 { try selector.select(into: &ready) }
        #expect(ready.count == 2)
        // Elements without an object are overwritten by one with it, and the reverse.
        try selector.unregister(files[0].fd)
        #expect(log != nil)
        try selector.select(into: &ready)
        #expect(ready.map(\.key.data) == [1])
        #expect(log == nil)
        try selector.register(Log(files[0].fd, selector), events: .read, data: 0)
        for _ in 0..<2 { try selector.select(into: &ready) }
        #expect(ready.first { $0.key.data == 0 }?.key.fileObject is Log)
        try selector.unregister(files[0].fd)
        ready = []
    }
}
