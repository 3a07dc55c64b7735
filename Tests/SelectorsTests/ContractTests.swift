import CSelectors
import Foundation
import Synchronization
import TestSupport
import Testing

private let read = UInt32(SEL_READ)
private let write = UInt32(SEL_WRITE)
private let both = read | write
private let millisecond: Int64 = 1_000_000

/// The one contract of every backend, through both faces.
@Suite struct ContractTests {
    // MARK: Arguments and bookkeeping

    @Test(arguments: Subject.all)
    func masksThatNameNothingOrTooMuchAreRefused(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, _b) = Descriptor.socketPair()
        for mask in [0, 0x10, 0x20, 0x40, 0x44, read | 0x8, 0x100, 0x8000_0000] as [UInt32] {
            #expect(throws: Failure(EINVAL)) { try selector.register(a.fd, mask) }
        }
        try selector.register(a.fd, read, data: 5)
        #expect(throws: Failure(EINVAL)) { try selector.modify(a.fd, 0, data: 6) }
        #expect(throws: Failure(EINVAL)) { try selector.modify(a.fd, 0x18, data: 6) }
        #expect(try selector.key(a.fd) == Key(fd: a.fd, events: read, data: 5))
        withExtendedLifetime(_b) {}
    }

    @Test(arguments: Subject.all)
    func negativeDescriptorsAreRefused(_ subject: Subject) throws {
        let selector = try subject.open()
        #expect(throws: Failure(EINVAL)) { try selector.register(-1, read) }
        #expect(throws: Failure(EINVAL)) { try selector.modify(-1, read) }
        #expect(throws: Failure(EINVAL)) { try selector.unregister(.min) }
        #expect(throws: Failure(EINVAL)) { try selector.key(-7) }
    }

    @Test(arguments: Subject.all)
    func closedDescriptorsAreNotRegistered(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, _) = Descriptor.pipe()
        a.close()
        #expect(throws: Failure(EBADF)) { try selector.register(a.fd, read) }
        #expect(throws: Failure(EBADF)) { try selector.register(.max, read) }
        #expect(try selector.map().isEmpty)
        #expect(try selector.select(0).isEmpty)
    }

    @Test(arguments: Subject.all)
    func registeringTwiceIsRefused(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, _b) = Descriptor.socketPair()
        try selector.register(a.fd, read, data: 1)
        #expect(throws: Failure(EEXIST)) { try selector.register(a.fd, write, data: 2) }
        #expect(try selector.key(a.fd) == Key(fd: a.fd, events: read, data: 1))
        withExtendedLifetime(_b) {}
    }

    @Test(arguments: Subject.all)
    func unknownDescriptorsAreNotFound(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, _b) = Descriptor.socketPair()
        for _ in 0..<2 {
            #expect(throws: Failure(ENOENT)) { try selector.modify(a.fd, read) }
            #expect(throws: Failure(ENOENT)) { try selector.unregister(a.fd) }
            #expect(throws: Failure(ENOENT)) { try selector.key(a.fd) }
            try selector.register(a.fd, read)
            try selector.unregister(a.fd)
        }
        withExtendedLifetime(_b) {}
    }

    @Test(arguments: Subject.all)
    func theMapKeepsTheOrderOfRegistration(_ subject: Subject) throws {
        let selector = try subject.open()
        let pairs = (0..<4).map { _ in Descriptor.socketPair() }
        let fds = pairs.map(\.0.fd)
        for index in [2, 0, 3, 1] { try selector.register(fds[index], read, data: index) }
        try selector.modify(fds[0], both, data: 0)
        #expect(try selector.map().map(\.data) == [2, 0, 3, 1])
        try selector.unregister(fds[3])
        #expect(try selector.map().map(\.data) == [2, 0, 1])
        try selector.unregister(fds[2])
        try selector.register(fds[2], write, data: 2)
        #expect(try selector.map().map(\.data) == [0, 1, 2])
        #expect(try selector.map().map(\.events) == [both, read, write])
    }

    // MARK: Readiness

    @Test(arguments: Subject.all)
    func readinessIsLevelTriggeredAndCutToWhatWasAsked(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, b) = Descriptor.socketPair()
        try selector.register(a.fd, read, data: 9)
        #expect(try selector.look() == [:])
        b.write()
        for _ in 0..<3 {
            #expect(
                try selector.select(0)
                    == [Event(key: Key(fd: a.fd, events: read, data: 9), events: read)])
        }
        a.read()
        #expect(try selector.look() == [:])
        try selector.modify(a.fd, both)
        #expect(try selector.look() == [a.fd: write])
        b.write()
        #expect(try selector.look() == [a.fd: both])
        try selector.modify(a.fd, write)
        #expect(try selector.look() == [a.fd: write])
    }

    @Test(arguments: Subject.all)
    func aChangeAndItsReversalCancelOut(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, _b) = Descriptor.socketPair()
        try selector.register(a.fd, read, data: 1)
        for _ in 0..<3 {
            try selector.modify(a.fd, both, data: 2)
            try selector.modify(a.fd, read, data: 3)
        }
        #expect(try selector.look() == [:])
        try selector.modify(a.fd, write, data: 4)
        try selector.unregister(a.fd)
        #expect(try selector.look() == [:])
        try selector.register(a.fd, write, data: 5)
        #expect(try selector.select(0).map(\.key.data) == [5])
        withExtendedLifetime(_b) {}
    }

    @Test(arguments: Subject.all)
    func aHangUpWakesWhatWasAskedAndTellsTheCause(_ subject: Subject) throws {
        for asked in [read, write, both] {
            let selector = try subject.open()
            let (a, b) = Descriptor.socketPair()
            try selector.register(a.fd, asked)
            b.close()
            // Another test may be starting a program, which for a moment has a copy of b.
            var event = try #require(try selector.select(-1).first)
            while event.detail == 0 { event = try #require(try selector.select(-1).first) }
            #expect(event.events == asked)
            #expect(event.detail & UInt32(SEL_HANGUP) != 0)
        }
    }

    @Test(arguments: Subject.all)
    func endOfFileOnAHalfClosedSocketIsReadable(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, b) = Descriptor.socketPair()
        try selector.register(a.fd, read)
        shutdown(b.fd, Int32(SHUT_WR))
        let event = try #require(try selector.select(-1).first)
        #expect(event.events == read)
        #expect(event.detail == UInt32(SEL_READ_HANGUP))
    }

    @Test(arguments: Subject.all)
    func aPipeWithoutReaderIsWritableWithAnError(_ subject: Subject) throws {
        let selector = try subject.open()
        let (reader, writer) = Descriptor.pipe()
        try selector.register(writer.fd, write)
        reader.close()
        let event = try #require(try selector.select(-1).first)
        #expect(event.events == write)
        #expect(event.detail == UInt32(SEL_ERROR))
    }

    @Test(arguments: Subject.all)
    func regularFilesDirectoriesAndNullAreAlwaysReady(_ subject: Subject) throws {
        let selector = try subject.open()
        let (file, null) = (Descriptor.temporaryFile(), Descriptor.open("/dev/null"))
        let directory = Descriptor.open("/", O_RDONLY)
        let (a, b) = Descriptor.socketPair()
        try selector.register(file.fd, both)
        try selector.register(null.fd, read)
        try selector.register(directory.fd, read)
        try selector.register(a.fd, read)
        #expect(try selector.select(-1).count == 3)
        b.write()
        #expect(
            try selector.look() == [file.fd: both, null.fd: read, directory.fd: read, a.fd: read])
        try selector.modify(file.fd, write)
        #expect(try selector.look()[file.fd] == write)
        for fd in [file.fd, null.fd, directory.fd] { try selector.unregister(fd) }
        #expect(try selector.look() == [a.fd: read])
    }

    // MARK: Closed, reused, duplicated

    @Test(arguments: Subject.all)
    func aClosedDescriptorBlindsNobodyAndIsReportedOnceTouched(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, b) = Descriptor.socketPair()
        let (closed, _c) = Descriptor.socketPair()
        try selector.register(closed.fd, read)
        try selector.register(a.fd, read)
        closed.close()
        b.write()
        #expect(try selector.look()[a.fd] == read)
        try selector.modify(closed.fd, both)
        for _ in 0..<2 {
            let events = try selector.select(0)
            #expect(events.map(\.key.fd).sorted() == [a.fd, closed.fd].sorted())
            let event = try #require(events.first { $0.key.fd == closed.fd })
            #expect(event.events == both)
            #expect(event.detail == UInt32(SEL_INVALID))
        }
        try selector.unregister(closed.fd)
        #expect(try selector.look() == [a.fd: read])
        withExtendedLifetime(_c) {}
    }

    @Test(arguments: Subject.all)
    func unregisterAfterCloseAndReuse(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, _b) = Descriptor.socketPair()
        try selector.register(a.fd, read, data: 1)
        a.close()
        let (c, d) = Descriptor.socketPair()
        a.replace(with: c)
        #expect(try selector.unregister(a.fd).data == 1)
        try selector.register(a.fd, read, data: 2)
        #expect(try selector.look() == [:])
        d.write()
        #expect(try selector.select(0).map(\.key.data) == [2])
        withExtendedLifetime(_b) {}
    }

    @Test(arguments: Subject.all)
    func aModifiedNumberThatWasReusedIsWatchedAsTheNewFile(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, _b) = Descriptor.socketPair()
        try selector.register(a.fd, read)
        a.close()
        let (c, d) = Descriptor.socketPair()
        a.replace(with: c)
        try selector.modify(a.fd, both)
        #expect(try selector.look() == [a.fd: write])
        d.write()
        #expect(try selector.look() == [a.fd: both])
        withExtendedLifetime(_b) {}
    }

    @Test(arguments: Subject.all)
    func aDuplicateThatLivesOnIsNeverHeardOfAgain(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, b) = Descriptor.socketPair()
        let duplicate = Descriptor(dup(a.fd))
        try selector.register(a.fd, read, data: 1)
        b.write()
        #expect(try selector.select(0).map(\.key.data) == [1])
        a.close()
        try selector.unregister(a.fd)
        let (idle, _i) = Descriptor.socketPair()
        a.replace(with: idle)
        try selector.register(a.fd, read, data: 2)
        let before = now(CLOCK_THREAD_CPUTIME_ID)
        let (taken, events) = try timed { try selector.select(100 * millisecond) }
        #expect(events == [])
        #expect(taken >= 100 * millisecond)
        #expect(now(CLOCK_THREAD_CPUTIME_ID) - before < taken / 2)
        withExtendedLifetime((duplicate, _i)) {}
    }

    // MARK: Time

    @Test(arguments: Subject.all)
    func aTimeoutIsNeverCutShort(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, _b) = Descriptor.socketPair()
        for isEmpty in [true, false] {
            if !isEmpty { try selector.register(a.fd, read) }
            for timeout in [1, 1500, 100_000, 1_000_001, 20_000_000] as [Int64] {
                let (taken, events) = try timed { try selector.select(timeout) }
                #expect(events == [])
                #expect(taken >= timeout)
                #expect(taken < timeout + 5_000 * millisecond)
            }
        }
        withExtendedLifetime(_b) {}
    }

    @Test(arguments: Subject.all)
    func theLongestTimeoutEndsWithAnEvent(_ subject: Subject) throws {
        let selector = try subject.open()
        let (a, b) = Descriptor.socketPair()
        try selector.register(a.fd, read)
        b.write()
        #expect(try selector.select(.max).count == 1)
        a.read()
        let writer = Thread {
            b.write()
        }
        writer.start()
        #expect(try selector.select(.max).count == 1)
        a.read()
    }

    @Test(arguments: Subject.all)
    func signalsDoNotEndAWait(_ subject: Subject) throws {
        let selector = try subject.open()
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in
            let saved = errno
            interruptions.add(1, ordering: .relaxed)
            errno = saved
        }
        sigaction(SIGUSR1, &action, nil)
        // Threads that run tests may have all signals blocked.
        var (signals, blocked) = (sigset_t(), sigset_t())
        sigaddset(&signals, SIGUSR1)
        pthread_sigmask(SIG_UNBLOCK, &signals, &blocked)
        defer { pthread_sigmask(SIG_SETMASK, &blocked, nil) }
        let waiter = pthread_self()
        let isDone = DispatchSemaphore(value: 0)
        let hasEnded = DispatchSemaphore(value: 0)
        let sender = Thread {
            while isDone.wait(timeout: .now() + .milliseconds(1)) == .timedOut {
                pthread_kill(waiter, SIGUSR1)
            }
            hasEnded.signal()
        }
        let before = interruptions.load(ordering: .relaxed)
        sender.start()
        let (taken, events) = try timed { try selector.select(100 * millisecond) }
        #expect(events == [])
        isDone.signal()
        hasEnded.wait()
        #expect(interruptions.load(ordering: .relaxed) > before)
        #expect(taken >= 100 * millisecond)
        #expect(taken < 5_000 * millisecond)
    }

    // MARK: Many

    @Test(arguments: Subject.all)
    func hundredsOfDescriptorsAreWatched(_ subject: Subject) throws {
        let selector = try subject.open()
        let pairs = (0..<600).map { _ in Descriptor.socketPair(keepingNumbers: true) }
        for (index, pair) in pairs.enumerated() {
            try selector.register(pair.0.fd, read, data: index)
        }
        #expect(try selector.select(0) == [])
        let chosen = stride(from: 3, to: pairs.count, by: 37)
        for index in chosen { pairs[index].1.write() }
        #expect(try selector.select(0).map(\.key.data).sorted() == Array(chosen))
        for pair in pairs { pair.1.write() }
        #expect(try selector.select(-1).count == pairs.count)
        for pair in pairs.reversed() { try selector.unregister(pair.0.fd) }
        #expect(try selector.select(0) == [])
        #expect(try selector.map() == [])
    }

    @Test(arguments: Subject.all)
    func twoSelectorsAreIndependent(_ subject: Subject) throws {
        let (first, second) = (try subject.open(), try subject.open())
        let (a, b) = Descriptor.socketPair()
        try first.register(a.fd, read, data: 1)
        try second.register(a.fd, write, data: 2)
        b.write()
        #expect(try first.select(0).map(\.events) == [read])
        #expect(try second.select(0).map(\.events) == [write])
        try first.unregister(a.fd)
        #expect(try second.look() == [a.fd: write])
    }

    // MARK: The selector's own descriptor

    @Test(arguments: Subject.all)
    func aSelectorCanBeWatchedByAnother(_ subject: Subject) throws {
        let inner = try subject.open()
        guard subject.can(.fileno) else {
            #expect(throws: Failure(ENOTSUP)) { try inner.fileno() }
            return
        }
        let outer = try subject.open()
        let (a, b) = Descriptor.socketPair()
        let fileno = try inner.fileno()
        #expect(fcntl(fileno, F_GETFD) & FD_CLOEXEC != 0)
        try inner.register(a.fd, read)
        try outer.register(fileno, read)
        #expect(try outer.look() == [:])
        b.write()
        #expect(try outer.look() == [fileno: read])
        a.read()
        #expect(try outer.look() == [:])
        try inner.modify(a.fd, write)
        #expect(try outer.look() == [fileno: read])
    }
}

/// Counted by a signal handler.
private let interruptions = Atomic<Int>(0)
