import CSelectors
import Foundation
import Selectors
import TestSupport
import Testing

/// Backends that are tables of C functions, and the libraries that bring them.
@Suite struct PluginTests {
    /// A table whose backend never has anything to report.
    private static func table(_ name: UnsafePointer<CChar>?) -> sel_backend_ops {
        sel_backend_ops(
            abi: UInt32(SEL_PLUGIN_ABI), size: UInt32(MemoryLayout<sel_backend_ops>.size),
            name: name, rank: 0, capabilities: 0, probe: nil, open: { _ in 0 },
            add: { _, _, _, _ in 0 }, modify: { _, _, _, _ in 0 }, remove: { _, _ in 0 },
            wait: { _, _, _, _, _ in 0 }, fileno: nil, reset: nil, close: { _ in },
            forked: nil)
    }

    /// Adds a changed table, and gives what C answers, and in which words.
    private func add(
        _ name: String?, _ change: @Sendable (inout sel_backend_ops) -> Void = { _ in }
    ) -> (code: Int32, words: String) {
        let copy = name.map { strdup($0) } ?? nil
        defer { free(copy) }
        var ops = PluginTests.table(copy)
        change(&ops)
        return (sel_add_backend(&ops), String(cString: sel_last_error()))
    }

    @Test func aTableOfFunctionsServesBothFaces() throws {
        #expect(add("c-table").code == 0)
        let selector = try BaseSelector<Int>(backend: "c-table")
        let (a, _b) = Descriptor.socketPair()
        try selector.register(a.fd, events: .write, data: 1)
        #expect(try selector.select(timeout: .zero).isEmpty)
        #expect(selector.backend == "c-table")
        var handle: OpaquePointer?
        #expect(sel_open(&handle, "c-table") == 0)
        #expect(sel_close(handle) == 0)
        withExtendedLifetime(_b) {}
    }

    /// A change that makes a table a wrong one, or what it answers.
    struct Fault: Sendable {
        let code: Int32
        let words: String
        let make: @Sendable (inout sel_backend_ops) -> Void

        init(
            _ code: Int32, _ words: String,
            _ make: @escaping @Sendable (inout sel_backend_ops) -> Void
        ) {
            self.code = code
            self.words = words
            self.make = make
        }
    }

    @Test(arguments: [
        Fault(EINVAL, "no name") { $0.name = nil },
        Fault(ENOTSUP, "another version") { $0.abi = 99 },
        Fault(EINVAL, "too small") { $0.size = 8 },
        Fault(EINVAL, "its rank is negative") { $0.rank = -1 },
        Fault(EINVAL, "unknown capabilities") { $0.capabilities = 0x8000_0000 },
        Fault(EINVAL, "no function open") { $0.open = nil },
        Fault(EINVAL, "no function add") { $0.add = nil },
        Fault(EINVAL, "no function modify") { $0.modify = nil },
        Fault(EINVAL, "no function remove") { $0.remove = nil },
        Fault(EINVAL, "no function wait") { $0.wait = nil },
        Fault(EINVAL, "no function close") { $0.close = nil },
        Fault(EINVAL, "no function fileno") { $0.capabilities = UInt32(SEL_CAN_FILENO) },
    ])
    func aTableThatIsNotAsDescribedIsRefused(fault: Fault) {
        let refusal = add("c-wrong", fault.make)
        #expect(refusal.code == -fault.code)
        #expect(refusal.words.contains(fault.words), "\(refusal.words)")
        #expect(!SelectorRegistry.backends.contains { $0.name == "c-wrong" })
    }

    @Test func aNameThatIsTakenIsRefused() {
        #expect(add("epoll").code == -EEXIST)
        #expect(add("od\u{1}d").code == -EINVAL)
        #expect(sel_add_backend(nil) == -EINVAL)
    }

    @Test(arguments: [
        Fault(EPROTO, "c-positive") { $0.add = { _, _, _, _ in 7 } },
        Fault(EPROTO, "c-absurd") { $0.add = { _, _, _, _ in .min } },
        Fault(EPROTO, "c-exists") { $0.add = { _, _, _, _ in -EEXIST } },
    ])
    func anAnswerAgainstTheRulesIsAnError(fault: Fault) throws {
        #expect(add(fault.words, fault.make).code == 0)
        // The wake-up is the first that is added.
        let error = try #require(
            #expect(throws: SelectorError.self) { try BaseSelector<Void>(backend: fault.words) })
        #expect(error.errno == fault.code)
        let words = "the backend has answered against the rules: \(fault.words), add() = "
        #expect("\(error)".hasPrefix(words))
    }

    @Test(arguments: [
        Fault(EPROTO, "c-many") { $0.wait = { _, _, max, _, _ in max + 1 } },
        Fault(EPROTO, "c-negative") { $0.wait = { _, _, _, _, _ in -5000 } },
    ])
    func aWaitThatAnswersNonsenseIsNotTrusted(fault: Fault) throws {
        #expect(add(fault.words, fault.make).code == 0)
        let info = try #require(SelectorRegistry.backends.first { $0.name == fault.words })
        let words = "the backend has answered against the rules: \(fault.words), wait() = "
        #expect(try #require(info.reason).hasPrefix(words))
    }

    @Test func whatWasNeverAskedForIsDropped() throws {
        let code = add("c-stranger") {
            $0.wait = { _, events, _, _, _ in
                events![0] = sel_backend_event(mask: UInt32(POLLIN), token: 12_345_678)
                return 1
            }
        }.code
        #expect(code == 0)
        let selector = try BaseSelector<Void>(backend: "c-stranger")
        #expect(try selector.select(timeout: .milliseconds(5)).isEmpty)
    }

    @Test func aProbeTellsWhyTheBackendCannotBeUsed() throws {
        let code = add("c-probe") {
            $0.probe = { reason in
                reason?.pointee = StaticString("not on a Monday").withUTF8Buffer {
                    UnsafeRawPointer($0.baseAddress!).assumingMemoryBound(to: CChar.self)
                }
                return -ENOSYS
            }
        }.code
        #expect(code == 0)
        let info = try #require(SelectorRegistry.backends.first { $0.name == "c-probe" })
        #expect(info.reason == "not on a Monday")
        #expect(throws: SelectorError.self) { try BaseSelector<Void>(backend: "c-probe") }
    }

    @Test(arguments: [
        ("no-slash.so", EINVAL, "no slash"), ("/nowhere/x.so", ELIBACC, "cannot open"),
        ("/etc/passwd", ELIBACC, "ELF header"),
    ])
    func aPlugInThatCannotBeLoadedIsListedWithTheReason(
        path: String, code: Int32, words: String
    ) throws {
        let error = try #require(
            #expect(throws: BackendError.self) { try SelectorRegistry.loadPlugin(path) })
        #expect(error.code == code)
        #expect(error.message.contains(words) && error.message.contains(path))
        #expect(sel_load_plugin(path) == -code)
        let listed = SelectorRegistry.backends.filter { $0.origin == path }
        #expect(listed.count == 1)
        #expect(listed.first?.isAvailable == false)
        #expect(listed.first?.reason?.contains(words) == true)
    }
}
