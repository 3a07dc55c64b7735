import Testing

@testable import SelectorsCore

/// The grammar of the lists that choose a backend.
@Suite struct BackendListTests {
    @Test func theListWithoutNamesLeavesTheChoiceToTheRanks() {
        let list = BackendList()
        #expect(list.wanted.isEmpty)
        #expect(list.excluded.isEmpty)
    }

    @Test(arguments: [
        ("poll", ["poll"], []),
        ("b,a,c", ["b", "a", "c"], []),
        ("a,a", ["a", "a"], []),
        ("-a", [], ["a"]),
        ("-b,-a", [], ["b", "a"]),
        ("a,-b,c,-d", ["a", "c"], ["b", "d"]),
        ("a,-a", ["a"], ["a"]),
        // Only the first sign of a name excludes.
        ("--a", [], ["-a"]),
        ("a-b-", ["a-b-"], []),
    ])
    func namesKeepTheirOrder(text: String, wanted: [String], excluded: [String]) throws {
        let list = try #require(BackendList(text.utf8))
        #expect(list.wanted == wanted.map { Array($0.utf8) })
        #expect(list.excluded == excluded.map { Array($0.utf8) })
    }

    @Test(arguments: [
        (" a", "a"), ("a ", "a"), ("\ta\t", "a"), (" \t a \t ", "a"),
        // A blank within a name, and white space of other kinds, belong to it.
        ("a b", "a b"), (" a \t b ", "a \t b"), ("a\n", "a\n"), ("\ra", "\ra"),
        ("\u{A0}a", "\u{A0}a"),
    ])
    func blanksAroundANameAreDropped(text: String, name: String) throws {
        #expect(try #require(BackendList(text.utf8)).wanted == [Array(name.utf8)])
    }

    @Test func blanksAreDroppedAroundEachNameOfAList() throws {
        let list = try #require(BackendList(" a ,\tb\t, -c ,\t-d".utf8))
        #expect(list.wanted == [Array("a".utf8), Array("b".utf8)])
        #expect(list.excluded == [Array("c".utf8), Array("d".utf8)])
    }

    @Test(arguments: [
        "", " ", "\t", ",", "a,", ",a", "a,,b", "a, ,b", "a,\t", "-", " - ", "a,-", "-,a", "-a,",
    ])
    func anEmptyNameSpoilsTheWholeList(text: String) {
        #expect(BackendList(text.utf8) == nil)
    }

    @Test func namesAreBytesOfAnyValue() throws {
        let name: [UInt8] = (0...255).filter { ![0x2C, 0x2D].contains($0) }
        let wanted = try #require(BackendList([0x80] + name + [0x2C, 0x2D, 0xFF, 0xC3]))
        #expect(wanted.wanted == [[0x80] + name])
        #expect(wanted.excluded == [[0xFF, 0xC3]])
    }

    @Test func caseIsKept() throws {
        #expect(try #require(BackendList("Poll,-EPOLL".utf8)).wanted == [Array("Poll".utf8)])
        #expect(try #require(BackendList("Poll,-EPOLL".utf8)).excluded == [Array("EPOLL".utf8)])
    }
}
