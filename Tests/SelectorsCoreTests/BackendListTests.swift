import Testing

@testable import SelectorsCore

/// What a list holds, taken apart; `nil` where a name is empty.
private func parse(_ text: some Collection<UInt8>) -> (wanted: [[UInt8]], excluded: [[UInt8]])? {
    Array(text).withUnsafeBytes { bytes in
        var list = BackendList(bytes)
        var (wanted, excluded): ([[UInt8]], [[UInt8]]) = ([], [])
        while let name = list.next() {
            if name.bytes.isEmpty { return nil }
            if name.isExcluded {
                excluded.append(Array(name.bytes))
            } else {
                wanted.append(Array(name.bytes))
            }
        }
        return (wanted, excluded)
    }
}

/// The grammar of the lists that choose a backend.
@Suite struct BackendListTests {
    @Test func noListHasNoNames() {
        var list = BackendList(nil)
        #expect(list.next().map { _ in true } == nil)
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
        let list = try #require(parse(text.utf8))
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
        #expect(try #require(parse(text.utf8)).wanted == [Array(name.utf8)])
    }

    @Test func blanksAreDroppedAroundEachNameOfAList() throws {
        let list = try #require(parse(" a ,\tb\t, -c ,\t-d".utf8))
        #expect(list.wanted == [Array("a".utf8), Array("b".utf8)])
        #expect(list.excluded == [Array("c".utf8), Array("d".utf8)])
    }

    @Test(arguments: [
        "", " ", "\t", ",", "a,", ",a", "a,,b", "a, ,b", "a,\t", "-", " - ", "a,-", "-,a", "-a,",
    ])
    func anEmptyNameSpoilsTheWholeList(text: String) {
        #expect(parse(text.utf8) == nil)
    }

    @Test func namesAreBytesOfAnyValue() throws {
        let name: [UInt8] = (0...255).filter { ![0x2C, 0x2D].contains($0) }
        let wanted = try #require(parse([0x80] + name + [0x2C, 0x2D, 0xFF, 0xC3]))
        #expect(wanted.wanted == [[0x80] + name])
        #expect(wanted.excluded == [[0xFF, 0xC3]])
    }

    @Test func caseIsKept() throws {
        #expect(try #require(parse("Poll,-EPOLL".utf8)).wanted == [Array("Poll".utf8)])
        #expect(try #require(parse("Poll,-EPOLL".utf8)).excluded == [Array("EPOLL".utf8)])
    }
}
