import CSelectors
import Glibc
import Selectors
import Testing

/// What masks, details and errors are, and how they are written.
@Suite struct ValueTests {
    @Test func masksNameTheirBits() {
        #expect("\(EventMask())" == "[]")
        #expect("\(EventMask.read)" == "[read]")
        #expect("\(EventMask.write)" == "[write]")
        #expect("\([.write, .read] as EventMask)" == "[read, write]")
        #expect("\(EventMask(rawValue: 0x81))" == "[read, 0x80]")
        #expect("\(EventMask(rawValue: 0xFFFF_FF88))" == "[readHangup, 0xfffffd88]")
        let everything = "[read, write, priority, edge, oneShot, exclusive]"
        #expect("\(EventMask(rawValue: 0x77))" == everything)
    }

    @Test func detailsNameTheirBits() {
        #expect("\(EventDetail())" == "[]")
        #expect(
            "\([.invalid, .error, .readHangup, .hangup] as EventDetail)"
                == "[hangup, readHangup, error, invalid]")
        #expect("\(EventDetail(rawValue: 0x1400))" == "[error, 0x1000]")
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
                "the events name nothing to wait for, or what cannot be waited for"
            ),
            (.invalidFileDescriptor, EINVAL, "the file object has no descriptor"),
            (.alreadyRegistered(7), EEXIST, "file descriptor 7 is registered already"),
            (.notRegistered(8), ENOENT, "file descriptor 8 is not registered"),
            (.closed, ECANCELED, "the selector is closed"),
            (.interrupted, EINTR, "a signal has interrupted the wait"),
            (.backend(code: ENOTSUP, message: "none"), ENOTSUP, "none"),
            (.system(ENOMEM), ENOMEM, "Cannot allocate memory"),
        ] as [(SelectorError, Int32, String)])
    func anErrorHasASentenceAndAnErrno(error: SelectorError, errno: Int32, sentence: String) {
        #expect(error.errno == errno)
        #expect("\(error)" == sentence)
    }
}
