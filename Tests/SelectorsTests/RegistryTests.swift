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
        #expect(reasons["devpoll"] == "open /dev/poll: No such file or directory")
    }

    @Test func onlyEpollCanMoreThanTheContractAsks() {
        let capable = ranked.filter { !$0.capabilities.subtracting(.readHangup).isEmpty }
        #expect(capable.map(\.name) == ["epoll"])
        #expect(
            capable.map(\.capabilities) == [
                [.fileno, .concurrent, .edge, .exclusive, .oneShot, .readHangup]
            ])
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
        #expect(message.hasPrefix("RLIMIT_NOFILE allows no further descriptor"))
        #expect(message.contains(String(cString: strerror(EMFILE))))
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
        #expect(message.contains("devpoll (open /dev/poll: No such file or directory)"))
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
