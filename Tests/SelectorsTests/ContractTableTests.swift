import Foundation
import Testing

/// The table of the contract's rows names tests that exist.
@Suite struct ContractTableTests {
    private static let root = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    @Test func theTableNamesTestsThatExist() throws {
        let table = try String(
            contentsOf: Self.root.appending(path: "Tests/CONTRACT.md"), encoding: .utf8)
        let rows = table.split(separator: "\n").filter { $0.hasPrefix("| ") }.dropFirst()
        #expect(rows.count > 30)
        let swift = try Self.text(of: "Tests", "swift")
        let c = try Self.text(of: "Tests/C", "c")
        for row in rows {
            let columns = row.split(separator: "|")
            try #require(columns.count == 3, "\(row)")
            let tests = columns[1].matches(of: /`(\w+)`/).map(\.1)
            let facts = columns[2].matches(of: /"([^"]+)"/).map(\.1)
            #expect(!tests.isEmpty || !facts.isEmpty, "\(row)")
            for test in tests { #expect(swift.contains("func \(test)("), "\(test)") }
            for fact in facts { #expect(c.contains("\"\(fact)\""), "\(fact)") }
        }
    }

    /// The contents of all files of a kind below a folder.
    private static func text(of folder: String, _ kind: String) throws -> String {
        let folder = root.appending(path: folder).path()
        let paths = try #require(FileManager.default.enumerator(atPath: folder))
        return try paths.compactMap { $0 as? String }.filter { $0.hasSuffix("." + kind) }
            .map { try String(contentsOfFile: folder + "/" + $0, encoding: .utf8) }.joined()
    }
}
