import CSelectors
import Foundation
import Selectors
import TestSupport
import Testing

private let read = UInt32(SEL_READ)
private let write = UInt32(SEL_WRITE)
private let priority = UInt32(SEL_PRIORITY)
private let edge = UInt32(SEL_EDGE)
private let oneShot = UInt32(SEL_ONESHOT)
private let exclusive = UInt32(SEL_EXCLUSIVE)

/// Delivery modes, on every backend and through both faces.
@Suite struct ModeTests {
    @Test(arguments: Subject.all)
    func aOneShotIsReportedOnceUntilItIsModified(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, b) = Descriptor.socketPair()
        let file = Descriptor.temporaryFile()
        b.write()
        try selector.register(a.fd, read | oneShot, data: 1)
        try selector.register(file.fd, write | oneShot)
        #expect(try selector.look() == [a.fd: read, file.fd: write])
        #expect(try selector.look() == [:])
        #expect(try selector.key(a.fd) == Key(fd: a.fd, events: read | oneShot, data: 1))
        try selector.modify(a.fd, read | oneShot, data: 2)
        let key = Key(fd: a.fd, events: read | oneShot, data: 2)
        #expect(try selector.select(0) == [Event(key: key, events: read)])
        #expect(try selector.look() == [:])
        try selector.modify(a.fd, read)
        for _ in 0..<2 { #expect(try selector.look() == [a.fd: read]) }
    }

    @Test(arguments: Subject.all)
    func aOneShotIsArmedWhileASelectIsBlocked(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, b) = Descriptor.socketPair()
        b.write()
        try selector.register(a.fd, read | oneShot)
        #expect(try selector.look() == [a.fd: read])
        let waiter = Worker { try selector.select(-1) }
        waiter.waitUntilAsleep()
        try selector.modify(a.fd, read | oneShot, data: 3)
        #expect(try waiter.join().map(\.key.data) == [3])
    }

    @Test(arguments: Subject.all)
    func modesThatTheBackendLacksAreRefused(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, b) = Descriptor.socketPair()
        b.write()
        try selector.register(b.fd, write, data: 1)
        for (mode, capability) in [
            (edge, BackendCapabilities.edge), (exclusive, BackendCapabilities.exclusive),
        ] {
            if subject.can(capability) {
                try selector.register(a.fd, read | mode)
                #expect(try selector.look()[a.fd] == read)
                try selector.modify(a.fd, read | write | mode)
                #expect(try selector.look()[a.fd] == read | write)
                try selector.unregister(a.fd)
            } else {
                #expect(throws: Failure(ENOTSUP)) { try selector.register(a.fd, read | mode) }
                #expect(throws: Failure(ENOTSUP)) { try selector.modify(b.fd, read | mode) }
            }
            #expect(throws: Failure(ENOENT)) { try selector.key(a.fd) }
            #expect(try selector.key(b.fd) == Key(fd: b.fd, events: write, data: 1))
        }
    }

    @Test(arguments: Subject.all.filter { $0.can(.edge) })
    func anEdgeIsReportedWhenSomethingNewComes(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, b) = Descriptor.socketPair()
        let file = Descriptor.temporaryFile()
        try selector.register(a.fd, read | edge)
        try selector.register(file.fd, read | edge)
        #expect(try selector.look() == [file.fd: read])
        for _ in 0..<2 {
            b.write()
            #expect(try selector.look() == [a.fd: read])
            #expect(try selector.look() == [:])
        }
    }

    @Test(arguments: Subject.all)
    func urgentDataAreReported(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, b) = Descriptor.connection()
        try selector.register(a.fd, priority)
        b.write()
        #expect(try selector.look() == [:])
        #expect(send(b.fd, "!", 1, Int32(MSG_OOB)) == 1)
        #expect(try selector.select(-1).map(\.events) == [priority])
        try selector.modify(a.fd, read | priority)
        #expect(try selector.look() == [a.fd: read | priority])
    }
}
