import CSelectors
import Foundation
import Selectors
import Synchronization
import TestSupport
import Testing

/// The backends that there are, and those that a program adds.
@Suite struct RegistryTests {
    /// The backends that take part in the choice: without those that tests have added.
    private var ranked: [BackendInfo] { SelectorRegistry.backends.filter { $0.rank > 0 } }

    // MARK: What is built in

    @Test func theBuiltInBackendsAreListedByRank() {
        #expect(ranked.map(\.name) == ["epoll", "kqueue", "devpoll", "poll", "select"])
        #expect(ranked.map(\.rank) == [300, 300, 250, 200, 100])
    }

    @Test func epollPollAndSelectCanBeUsed() {
        #expect(ranked.filter(\.isAvailable).map(\.name) == ["epoll", "poll", "select"])
        for backend in ranked { #expect(backend.isAvailable == (backend.reason == nil)) }
    }

    @Test func theMissingBackendsSayWhatTheSystemLacks() {
        let reasons = Dictionary(uniqueKeysWithValues: ranked.map { ($0.name, $0.reason ?? "") })
        #expect(reasons["kqueue"] == "this system has no kqueue")
        #expect(reasons["devpoll"] == "this system has no /dev/poll")
    }

    @Test func onlyEpollCanMoreThanTheContractAsks() {
        let capable = ranked.filter { !$0.capabilities.isEmpty }
        #expect(capable.map(\.name) == ["epoll"])
        #expect(capable.map(\.capabilities) == [[.fileno, .concurrent, .edge, .exclusive]])
    }

    @Test func theCFaceListsTheSame() {
        var infos = [sel_backend_info](repeating: sel_backend_info(), count: 1000)
        let count = sel_backends(&infos, 1000)
        let listed = infos.prefix(Int(count)).filter { $0.rank > 0 }
        #expect(listed.map { String(cString: $0.name) } == ranked.map(\.name))
        #expect(listed.map(\.rank) == ranked.map(\.rank))
        #expect(listed.map { $0.reason.map { String(cString: $0) } } == ranked.map(\.reason))
        #expect(listed.map(\.capabilities) == ranked.map(\.capabilities.rawValue))
    }

    @Test func theCFaceStoresNoMoreThanThereIsRoomFor() {
        var infos = [sel_backend_info](repeating: sel_backend_info(), count: 3)
        #expect(sel_backends(&infos, 2) >= 5)
        #expect(String(cString: infos[1].name) == "kqueue")
        #expect(infos[2].name == nil)
        #expect(sel_backends(nil, 0) >= 5)
        #expect(sel_backends(nil, 1) == -EINVAL)
        #expect(sel_backends(&infos, -1) == -EINVAL)
    }

    // MARK: A backend of one's own

    @Test func anAddedBackendServesASwiftSelector() throws {
        let own = try OwnBackend()
        let (a, b) = Descriptor.socketPair()
        let selector = try BaseSelector<Int>(backend: own.name)
        #expect(selector.backend == own.name)
        try selector.register(a.fd, events: .read, data: 1)
        #expect(try selector.select(timeout: .zero).isEmpty)
        b.write()
        #expect(try selector.select().map(\.key.data) == [1])
        try selector.modify(a.fd, events: [.read, .write], data: 2)
        #expect(try selector.select().map(\.events) == [[.read, .write]])
        try selector.unregister(a.fd)
        #expect(try selector.select(timeout: .zero).isEmpty)
        #expect(throws: SelectorError.system(ENOTSUP)) { try selector.fileno() }
    }

    @Test func anAddedBackendServesACSelector() throws {
        let own = try OwnBackend()
        let (a, b) = Descriptor.socketPair()
        var selector: OpaquePointer?
        try #require(sel_open(&selector, own.name) == 0)
        #expect(String(cString: sel_backend_name(selector)) == own.name)
        #expect(sel_register(selector, a.fd, UInt32(SEL_READ), nil) == 0)
        b.write()
        var event = sel_event()
        #expect(sel_select(selector, &event, 1, -1) == 1)
        #expect(event.key.fd == a.fd)
        #expect(event.events == UInt32(SEL_READ))
        #expect(sel_close(selector) == 0)
        #expect(own.counts == OwnBackend.Counts(made: 2, closed: 2))
    }

    @Test func anAddedBackendIsListedLastWithWhatItSaysOfItself() throws {
        let own = try OwnBackend(capabilities: .concurrent)
        let names = SelectorRegistry.backends.map(\.name)
        let place = try #require(names.firstIndex(of: own.name))
        #expect(place > names.firstIndex(of: "select")!)
        let info = SelectorRegistry.backends[place]
        #expect(info.rank == 0)
        #expect(info.capabilities == .concurrent)
        #expect(info.isAvailable)
    }

    @Test func rankZeroIsChosenByNameOnly() throws {
        let own = try OwnBackend()
        #expect(throws: SelectorError.self) {
            try BaseSelector<Void>(backend: "-epoll,-poll,-select")
        }
        #expect(try chosen("-epoll,-poll") == "select")
        #expect(try chosen(own.name) == own.name)
        #expect(try chosen("devpoll,\(own.name),poll") == own.name)
    }

    @Test func theProbeIsMadeOnceAndEachSelectorHasItsOwnInstance() throws {
        let own = try OwnBackend()
        #expect(own.counts == OwnBackend.Counts())
        for _ in 0..<3 { _ = SelectorRegistry.backends }
        #expect(own.counts == OwnBackend.Counts(made: 1, closed: 1))
        #expect(own.timeouts == [0])
        let first = try BaseSelector<Void>(backend: own.name)
        let second = try BaseSelector<Void>(backend: own.name)
        #expect(own.counts == OwnBackend.Counts(made: 3, closed: 1))
        first.close()
        first.close()
        #expect(own.counts == OwnBackend.Counts(made: 3, closed: 2))
        second.close()
        #expect(own.counts == OwnBackend.Counts(made: 3, closed: 3))
    }

    @Test func aBackendThatCannotBeMadeIsListedWithItsReasonAndTriedOnce() throws {
        let own = try OwnBackend(makeFails: { _ in ENODEV })
        let reason = String(cString: strerror(ENODEV))
        for _ in 0..<2 {
            let info = SelectorRegistry.backends.first { $0.name == own.name }
            #expect(info?.isAvailable == false)
            #expect(info?.reason == reason)
            let (code, message) = try refusal(own.name)
            #expect(code == ENOTSUP)
            #expect(message.contains("\"\(own.name)\""))
            #expect(message.contains("\(own.name) (\(reason))"))
            #expect(try chosen("\(own.name),poll") == "poll")
        }
        #expect(own.counts == OwnBackend.Counts(made: 1, closed: 0))
    }

    @Test func aBackendThatCannotWaitIsNotUsed() throws {
        let own = try OwnBackend(waitFails: ENOSYS)
        let info = SelectorRegistry.backends.first { $0.name == own.name }
        #expect(info?.reason == String(cString: strerror(ENOSYS)))
        #expect(try refusal(own.name).code == ENOTSUP)
        #expect(own.counts == OwnBackend.Counts(made: 1, closed: 1))
    }

    @Test func aFailureAfterTheProbeIsTheSystemsOwn() throws {
        let own = try OwnBackend(makeFails: { $0 == 2 ? EMFILE : nil })
        let (code, message) = try refusal(own.name)
        #expect(code == EMFILE)
        #expect(message == String(cString: strerror(EMFILE)))
        #expect(try chosen(own.name) == own.name)
    }

    // MARK: Names and ranks

    @Test(arguments: [
        "", "Own", "oWn", "9own", "-own", "_own", "o wn", "own,", "öwn", "own\n", "own\0",
        "own\u{7F}",
        String(repeating: "a", count: 33),
    ])
    func aNameOutsideTheAlphabetIsRefused(name: String) throws {
        let before = SelectorRegistry.backends.map(\.name).filter { $0 == name }
        #expect(try refusalToAdd(name, rank: 0).code == EINVAL)
        #expect(before.isEmpty)
        #expect(!SelectorRegistry.backends.contains { $0.name == name })
    }

    @Test func aRefusedNameIsQuotedOnOneLine() throws {
        #expect(try refusalToAdd("Own", rank: 0).message.contains("\"Own\""))
        #expect(try refusalToAdd("a\nb\u{1B}", rank: 0).message.contains("\"a?b?\""))
    }

    @Test func aNameMayHave32CharactersOfAllKinds() throws {
        let own = try OwnBackend(name: {
            ("x-y_\($0)-" + String(repeating: "z", count: 32)).prefix(32)
        })
        #expect(own.name.utf8.count == 32)
        #expect(try chosen(own.name) == own.name)
    }

    @Test func aNegativeRankIsRefused() throws {
        #expect(try refusalToAdd("negative-rank", rank: -1).code == EINVAL)
        #expect(try refusalToAdd("negative-rank", rank: .min).code == EINVAL)
        #expect(!SelectorRegistry.backends.contains { $0.name == "negative-rank" })
    }

    @Test func aTakenNameIsRefused() throws {
        let own = try OwnBackend()
        for name in ["epoll", "kqueue", "select", own.name] {
            let error = try refusalToAdd(name, rank: 0)
            #expect(error.code == EEXIST)
            #expect(error.message.contains("\"\(name)\""))
            #expect(SelectorRegistry.backends.filter { $0.name == name }.count == 1)
        }
    }

    // MARK: Lists

    @Test(arguments: [
        ("poll", "poll"),
        ("epoll,poll", "epoll"),
        ("poll,epoll", "poll"),
        (" select\t,\tpoll ", "select"),
        ("poll,poll", "poll"),
        // The first that can be used.
        ("devpoll,kqueue,select,epoll", "select"),
        // Exclusions, alone and in a list.
        ("-epoll", "poll"),
        ("-poll", "epoll"),
        ("-epoll,-poll", "select"),
        (" -epoll ,\t-poll", "select"),
        ("epoll,poll,-epoll", "poll"),
        ("-epoll,epoll,poll", "poll"),
        ("select,-epoll", "select"),
    ])
    func aListChooses(list: String, backend: String) throws {
        #expect(try chosen(list) == backend)
        var selector: OpaquePointer?
        #expect(sel_open(&selector, list) == 0)
        #expect(selector.map { String(cString: sel_backend_name($0)) } == backend)
        sel_close(selector)
    }

    @Test(arguments: [
        // A name is empty.
        ("", EINVAL), (" ", EINVAL), (",", EINVAL), ("poll,", EINVAL), (",poll", EINVAL),
        ("poll,,select", EINVAL), ("-", EINVAL), ("poll, - ", EINVAL),
        // A name is unknown, wherever it stands.
        ("nonsense", ENOENT), ("poll,nonsense", ENOENT), ("-nonsense", ENOENT),
        ("poll,-nonsense", ENOENT), ("POLL", ENOENT), ("pol", ENOENT), ("polls", ENOENT),
        ("--poll", ENOENT), ("poll;select", ENOENT), ("po ll", ENOENT), ("kqueue,nonsense", ENOENT),
        // Nothing that can be used is left.
        ("kqueue", ENOTSUP), ("devpoll,kqueue", ENOTSUP), ("poll,-poll", ENOTSUP),
        ("-epoll,-poll,-select", ENOTSUP), ("kqueue,-poll", ENOTSUP),
    ])
    func aListIsRefusedByBothFacesAlike(list: String, errno: Int32) throws {
        let (code, message) = try refusal(list)
        #expect(code == errno)
        #expect(message.contains("backend \"\(list)\": "))
        #expect(message.contains("available: epoll, poll, select"))
        #expect(message.contains("kqueue (this system has no kqueue)"))
        #expect(message.contains("devpoll (this system has no /dev/poll)"))
        var selector = OpaquePointer(bitPattern: 1)
        #expect(sel_open(&selector, list) == -errno)
        #expect(selector == nil)
        #expect(String(cString: sel_last_error()).hasPrefix("backend \"\(list)\": "))
    }

    @Test(arguments: ["nonsense", "poll,nonsense", "-nonsense,poll", "-poll, nonsense "])
    func theMessageNamesTheUnknownWord(list: String) throws {
        #expect(try refusal(list).message.contains("there is no backend \"nonsense\""))
    }

    @Test func oddBytesComeBackAsQuestionMarks() {
        let list: [CChar] = [0x61, -1, 0x0A, 0x1B, 0x7F, 0]
        var selector: OpaquePointer?
        #expect(sel_open(&selector, list) == -ENOENT)
        #expect(String(cString: sel_last_error()).contains("there is no backend \"a????\""))
    }

    @Test func aLongWordIsCut() throws {
        let (code, message) = try refusal(String(repeating: "a", count: 10_000))
        #expect(code == ENOENT)
        #expect(message.contains("\"" + String(repeating: "a", count: 64) + "...\""))
        #expect(!message.contains(String(repeating: "a", count: 65)))
    }

    @Test func sel_openWantsAPlaceForTheSelector() {
        #expect(sel_open(nil, "poll") == -EINVAL)
    }

    /// Calls the registry's `add`, which must refuse.
    private func refusalToAdd(_ name: String, rank: Int32) throws -> BackendError {
        try #require(
            #expect(throws: BackendError.self) {
                try SelectorRegistry.add(
                    BackendDescriptor(name: name, rank: rank) { () throws(SystemError) in
                        throw SystemError(ENOSYS)
                    })
            })
    }
}

/// `SELECTORS_BACKEND`, and ranks that change the default.
///
/// Each test runs in a process of its own, so that nothing that reads the environment at the same
/// time, or opens the default, is disturbed.
@Suite struct EnvironmentTests {
    @Test func withoutTheVariableTheBestBackendIsUsed() async {
        await #expect(processExitsWith: .success) {
            unsetenv("SELECTORS_BACKEND")
            try #expect(DefaultSelector<Void>().backend == "epoll")
            try #expect(chosen(nil) == "epoll")
            try #expect(chosenByC(nil) == "epoll")
        }
    }

    @Test func theVariableChoosesTheDefault() async {
        await #expect(processExitsWith: .success) {
            for (list, backend) in [
                ("poll", "poll"), ("select,epoll", "select"), ("-epoll", "poll"),
                ("kqueue, select", "select"),
            ] {
                setenv("SELECTORS_BACKEND", list, 1)
                try #expect(DefaultSelector<Void>().backend == backend)
                try #expect(chosen(nil) == backend)
                try #expect(chosenByC(nil) == backend)
            }
        }
    }

    @Test func anEmptyVariableIsAsGoodAsNone() async {
        await #expect(processExitsWith: .success) {
            setenv("SELECTORS_BACKEND", "", 1)
            try #expect(DefaultSelector<Void>().backend == "epoll")
            try #expect(chosenByC(nil) == "epoll")
        }
    }

    @Test func theMessageNamesTheVariableTheWordAndTheChoices() async {
        await #expect(processExitsWith: .success) {
            for (list, errno, words) in [
                ("poll,nonsense", ENOENT, "there is no backend \"nonsense\""),
                (" ", EINVAL, "a name in the list is empty"),
                ("kqueue", ENOTSUP, "no such backend can be used here"),
            ] {
                setenv("SELECTORS_BACKEND", list, 1)
                let (code, message) = try refusal(nil)
                #expect(code == errno)
                #expect(message.hasPrefix("SELECTORS_BACKEND=\"\(list)\": \(words); "))
                #expect(message.contains("available: epoll, poll, select"))
                var selector = OpaquePointer(bitPattern: 1)
                #expect(sel_open(&selector, nil) == -errno)
                #expect(selector == nil)
                #expect(String(cString: sel_last_error()) == message)
            }
        }
    }

    @Test func anArgumentBeatsTheVariable() async {
        await #expect(processExitsWith: .success) {
            for list in ["poll", "nonsense", ","] {
                setenv("SELECTORS_BACKEND", list, 1)
                try #expect(EpollSelector<Void>().backend == "epoll")
                try #expect(chosen("select") == "select")
                try #expect(chosen("-poll") == "epoll")
                try #expect(chosenByC("select") == "select")
                try #expect(refusal("wrong").message.hasPrefix("backend \"wrong\": "))
            }
        }
    }

    @Test func theVariableMayNameAnAddedBackend() async {
        await #expect(processExitsWith: .success) {
            let own = try OwnBackend()
            setenv("SELECTORS_BACKEND", "\(own.name),poll", 1)
            try #expect(DefaultSelector<Void>().backend == own.name)
            try #expect(chosenByC(nil) == own.name)
        }
    }

    @Test func theHighestRankThatCanBeUsedIsTheDefault() async {
        await #expect(processExitsWith: .success) {
            unsetenv("SELECTORS_BACKEND")
            _ = try OwnBackend(rank: 300)
            try #expect(chosen(nil) == "epoll")
            let best = try OwnBackend(rank: 301)
            try #expect(chosen(nil) == best.name)
            try #expect(chosen("-\(best.name)") == "epoll")
            let broken = try OwnBackend(rank: .max, makeFails: { _ in EACCES })
            try #expect(chosen(nil) == best.name)
            try #expect(chosenByC(nil) == best.name)
            #expect(
                SelectorRegistry.backends.prefix(3).map(\.name) == [
                    broken.name, best.name, "epoll",
                ])
        }
    }
}

/// The backend that a list chooses.
private func chosen(_ list: String?) throws -> String {
    try BaseSelector<Void>(backend: list).backend
}

/// The backend that a list chooses in C.
private func chosenByC(_ list: String?) throws -> String {
    var selector: OpaquePointer?
    try #require(sel_open(&selector, list) == 0)
    defer { sel_close(selector) }
    return String(cString: sel_backend_name(selector))
}

/// What a list is refused with.
private func refusal(_ list: String?) throws -> (code: Int32, message: String) {
    let error = try #require(
        #expect(throws: SelectorError.self) { try BaseSelector<Void>(backend: list) })
    guard case .backend(let code, let message) = error else { throw error }
    return (code, message)
}

/// A backend over poll(2) that was added to the registry under a name of its own, and what became
/// of it.
final class OwnBackend: Sendable {
    struct Counts: Equatable {
        var made = 0
        var closed = 0
    }

    private static let next = Atomic<Int>(1)

    let name: String
    private let log = Mutex((counts: Counts(), timeouts: [Int64]()))

    var counts: Counts { log.withLock { $0.counts } }
    /// What each wait was given, in nanoseconds.
    var timeouts: [Int64] { log.withLock { $0.timeouts } }

    /// Adds a backend: `name` makes a name of a number that is not used twice, `makeFails` tells what
    /// an attempt to make one fails with (the first is 1), `waitFails` what each wait fails with.
    init(
        name: (Int) -> any StringProtocol = { "own-\($0)" }, rank: Int32 = 0,
        capabilities: BackendCapabilities = [],
        makeFails: @escaping @Sendable (Int) -> Int32? = { _ in nil }, waitFails: Int32? = nil
    ) throws(BackendError) {
        self.name = String(name(OwnBackend.next.wrappingAdd(1, ordering: .relaxed).oldValue))
        let make: @Sendable () throws(SystemError) -> any SelectorBackend = {
            [self] () throws(SystemError) in
            let attempt = log.withLock { log in
                log.counts.made += 1
                return log.counts.made
            }
            if let code = makeFails(attempt) { throw SystemError(code) }
            return Instance(of: self, waitFails: waitFails)
        }
        try SelectorRegistry.add(
            BackendDescriptor(name: self.name, rank: rank, capabilities: capabilities, make: make))
    }

    private final class Instance: SelectorBackend {
        private let owner: OwnBackend
        private let waitFails: Int32?
        private var slots: [pollfd] = []
        private var tokens: [UInt64] = []

        init(of owner: OwnBackend, waitFails: Int32?) {
            self.owner = owner
            self.waitFails = waitFails
        }

        func add(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
            if fcntl(fd, F_GETFD) < 0 { throw SystemError(errno) }
            slots.append(pollfd(fd: fd, events: Int16(mask), revents: 0))
            tokens.append(token)
        }

        func modify(_ fd: Int32, mask: UInt32, token: UInt64) {
            guard let slot = slots.firstIndex(where: { $0.fd == fd }) else { return }
            slots[slot].events = Int16(mask)
            tokens[slot] = token
        }

        func remove(_ fd: Int32) {
            guard let slot = slots.firstIndex(where: { $0.fd == fd }) else { return }
            slots.remove(at: slot)
            tokens.remove(at: slot)
        }

        func reset(afterFork: Bool) {
            slots = []
            tokens = []
        }

        func wait(
            into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64,
            signals: UnsafePointer<sigset_t>?
        ) throws(SystemError) -> Int32 {
            owner.log.withLock { $0.timeouts.append(timeout) }
            if let waitFails { throw SystemError(waitFails) }
            let milliseconds = timeout <= 0 ? timeout.signum() : min(timeout / 1_000_000 + 1, 1000)
            if poll(&slots, nfds_t(slots.count), Int32(milliseconds)) < 0 {
                throw SystemError(errno)
            }
            var count = 0
            for (slot, token) in zip(slots, tokens) where slot.revents != 0 && count < max {
                events[count] = BackendEvent(
                    mask: UInt32(UInt16(bitPattern: slot.revents)), token: token)
                count += 1
            }
            return Int32(count)
        }

        func fileno() -> Int32? { nil }

        func close() {
            owner.log.withLock { $0.counts.closed += 1 }
        }
    }
}
