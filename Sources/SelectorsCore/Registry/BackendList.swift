import CSelectorsPlatform

/// A list of backend names: `poll`, `uring,epoll`, `-epoll`, as `sel_open` documents it.
///
/// The list is parsed in place, without a copy. Names are compared as bytes.
struct BackendList {
    struct Name {
        /// The name without blanks and without the sign.
        let bytes: UnsafeRawBufferPointer
        /// Whether the name has a minus sign: the backend must not be chosen.
        let isExcluded: Bool

        /// Returns whether this is the given backend name.
        func matches(_ name: UnsafePointer<CChar>) -> Bool {
            guard strlen(name) == bytes.count else { return false }
            for index in 0..<bytes.count where UInt8(bitPattern: name[index]) != bytes[index] {
                return false
            }
            return true
        }
    }

    /// The unread rest; `nil` at the end.
    private var rest: UnsafeRawBufferPointer?

    /// Starts at the front of a list; `nil` is a list without names.
    init(_ text: UnsafeRawBufferPointer?) {
        rest = text
    }

    /// Reads the next name, which may be empty; `nil` at the end.
    mutating func next() -> Name? {
        guard let text = rest else { return nil }
        var end = 0
        while end < text.count && text[end] != UInt8(ascii: ",") { end += 1 }
        rest = end < text.count ? BackendList.part(of: text, from: end + 1, to: text.count) : nil
        let field = BackendList.trim(BackendList.part(of: text, from: 0, to: end))
        guard field.count > 0 && field[0] == UInt8(ascii: "-") else {
            return Name(bytes: field, isExcluded: false)
        }
        let name = BackendList.trim(BackendList.part(of: field, from: 1, to: field.count))
        return Name(bytes: name, isExcluded: true)
    }

    /// The first unread name that satisfies a predicate, or `nil`.
    func first(where holds: (Name) -> Bool) -> Name? {
        var names = self
        while let name = names.next() {
            if holds(name) { return name }
        }
        return nil
    }

    private static func trim(_ text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var (start, end) = (0, text.count)
        while start < end && isBlank(text[start]) { start += 1 }
        while end > start && isBlank(text[end - 1]) { end -= 1 }
        return part(of: text, from: start, to: end)
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")
    }

    private static func part(
        of text: UnsafeRawBufferPointer, from start: Int, to end: Int
    ) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: text.baseAddress.map { $0 + start }, count: end - start)
    }
}
