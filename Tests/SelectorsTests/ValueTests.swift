import CSelectors
import Foundation
import Selectors
import SelectorsFoundation
import TestSupport
import Testing

/// What masks, details and errors are, and how they are written.
@Suite struct ValueTests {
    @Test func masksNameTheirBits() {
        #expect("\(EventMask())" == "[]")
        #expect("\(EventMask.read)" == "[.read]")
        #expect("\(EventMask.write)" == "[.write]")
        #expect("\([.write, .read] as EventMask)" == "[.read, .write]")
        #expect("\(EventMask(rawValue: 0x81))" == "[.read, 0x80]")
        #expect("\(EventMask(rawValue: 0xFFFF_FF88))" == "[.readHangup, 0xfffffd88]")
        let everything = "[.read, .write, .priority, .edge, .oneShot, .exclusive]"
        #expect("\(EventMask(rawValue: 0x77))" == everything)
    }

    @Test func detailsNameTheirBits() {
        #expect("\(EventDetail())" == "[]")
        #expect(
            "\([.invalid, .error, .readHangup, .hangup] as EventDetail)"
                == "[.hangup, .readHangup, .error, .invalid]")
        #expect("\(EventDetail(rawValue: 0x1400))" == "[.error, 0x1000]")
    }

    @Test func masksHaveTheValuesOfC() {
        #expect(EventMask.read.rawValue == UInt32(SEL_READ))
        #expect(EventMask.write.rawValue == UInt32(SEL_WRITE))
        #expect(EventDetail.hangup.rawValue == UInt32(SEL_HANGUP))
        #expect(EventDetail.readHangup.rawValue == UInt32(SEL_READ_HANGUP))
        #expect(EventDetail.error.rawValue == UInt32(SEL_ERROR))
        #expect(EventDetail.invalid.rawValue == UInt32(SEL_INVALID))
        #expect(BackendCapabilities.fileno.rawValue == UInt32(SEL_CAN_FILENO))
        #expect(BackendCapabilities.concurrent.rawValue == UInt32(SEL_CAN_CONCURRENT))
        #expect(BackendCapabilities.edge.rawValue == UInt32(SEL_CAN_EDGE))
        #expect(BackendCapabilities.exclusive.rawValue == UInt32(SEL_CAN_EXCLUSIVE))
        #expect(EventMask.readHangup.rawValue == UInt32(SEL_READ_HANGUP))
        #expect(BackendCapabilities.readHangup.rawValue == UInt32(SEL_CAN_READ_HANGUP))
        #expect(BackendCapabilities.oneShot.rawValue == UInt32(SEL_CAN_ONESHOT))
        #expect(EventMask.priority.rawValue == UInt32(SEL_PRIORITY))
        #expect(EventMask.edge.rawValue == UInt32(SEL_EDGE))
        #expect(EventMask.oneShot.rawValue == UInt32(SEL_ONESHOT))
        #expect(EventMask.exclusive.rawValue == UInt32(SEL_EXCLUSIVE))
    }

    @Test(
        arguments: [
            (
                .invalidEvents, EINVAL,
                "events must contain .read, .write, .priority or .readHangup, no unknown bits, and"
                    + " .exclusive only without .priority and .readHangup"
            ),
            (
                .invalidFileDescriptor, EINVAL,
                "the file object has a negative file descriptor: pass an open one"
            ),
            (
                .alreadyRegistered(7), EEXIST,
                "file descriptor 7 is already registered: call modify, or share its AsyncFile"
            ),
            (
                .notRegistered(8), ENOENT,
                "file descriptor 8 is not registered, or its AsyncFile was unregistered"
            ),
            (
                .closed, ECANCELED,
                "the selector is closed, its executor was stopped, or it was in use at a fork"
            ),
            (.interrupted, EINTR, "a signal interrupted the wait: call select again"),
            (.backend(code: ENOTSUP, message: "none"), ENOTSUP, "none"),
            (.system(ENOMEM), ENOMEM, "Cannot allocate memory"),
            (
                .system(EMFILE), EMFILE,
                "Too many open files: raise RLIMIT_NOFILE, or close descriptors"
            ),
        ] as [(SelectorError, Int32, String)])
    func anErrorHasASentenceAndAnErrno(error: SelectorError, errno: Int32, sentence: String) {
        #expect(error.errno == errno)
        #expect("\(error)" == sentence)
        #expect(error.localizedDescription == sentence)
        // What is caught beside other errors, as Foundation describes it.
        let caught: any Error = error
        #expect(caught.localizedDescription == sentence)
    }

    @Test func aBackendErrorIsItsMessage() throws {
        let error = try #require(throws: BackendError.self) {
            try SelectorRegistry.loadPlugin("noslash")
        }
        let caught: any Error = error
        #expect("\(error)" == error.message)
        #expect(caught.localizedDescription == error.message)
    }

    @Test(arguments: [EBADF, ENOTSUP, ELOOP, EMFILE, ENFILE, ENOSPC, EINVAL, EDEADLK, EPROTO])
    func anErrnoThatSaysTooLittleIsExplained(code: Int32) {
        let text = String(cString: strerror(code)) + ": "
        #expect("\(SelectorError.system(code))".hasPrefix(text))
    }

    @Test func capabilitiesNameTheirBits() {
        #expect("\(BackendCapabilities())" == "[]")
        #expect(
            "\(BackendCapabilities(rawValue: 0x13F))"
                == "[.fileno, .concurrent, .edge, .exclusive, .oneShot, .readHangup, 0x100]")
    }

    /// A file object that is more than a number.
    private struct Log: FileObject {
        let fileDescriptor: Int32
    }

    @Test func keysEventsAndMapsPrintWhatTheyHold() throws {
        let selector = try DefaultSelector<String>()
        let (a, b) = Descriptor.socketPair()
        let key = try selector.register(a.fd, events: [.read, .write], data: "a")
        #expect("\(key)" == "SelectorKey(fd: \(a.fd), events: [.read, .write], data: a)")
        #expect("\(try selector.get_map())" == "[\(key)]")

        var ready: [ReadyEvent<String>] = []
        try selector.select(into: &ready)
        #expect(ready.map(\.description) == ["ReadyEvent(events: [.write], key: \(key))"])

        let other = try selector.register(Log(fileDescriptor: b.fd), events: .read, data: "b")
        #expect(
            "\(other)"
                == "SelectorKey(fd: \(b.fd), events: [.read], data: b, fileObject: \(other.fileObject))"
        )
        try selector.unregister(b.fd)
        b.close()
        // Another test may be starting a program, which for a moment has a copy of b.
        repeat {
            try selector.select(into: &ready)
        } while ready.first?.detail.contains(.hangup) != true
        let event = try #require(ready.first)
        #expect(
            "\(event)"
                == "ReadyEvent(events: [.read, .write], detail: \(event.detail), key: \(key))")
    }

    @Test func aBackendPrintsWhyItCannotBeUsed() throws {
        let backends = SelectorRegistry.backends
        let poll = try #require(backends.first { $0.name == "poll" })
        let kqueue = try #require(backends.first { $0.name == "kqueue" })
        let reason = try #require(kqueue.reason)
        #expect("\(poll)" == "poll: rank 200, capabilities [.readHangup]")
        #expect("\(kqueue)".hasSuffix(", not available: \(reason)"))
    }
}
