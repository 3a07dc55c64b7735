/// A list of backend names: `poll`, `uring,epoll`, `-epoll`, as `sel_open` documents it.
///
/// Names are compared as bytes.
struct BackendList {
    typealias Name = [UInt8]

    /// The names that are to be tried, in order; empty: all, the best first.
    private(set) var wanted: [Name] = []
    /// The names that are not to be used.
    private(set) var excluded: [Name] = []

    /// The list that leaves the choice to the ranks.
    init() {}

    /// Takes a list apart; `nil` where a name is empty.
    init?(_ text: some Sequence<UInt8>) {
        for field in Array(text).split(
            separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        {
            let trimmed = BackendList.trim(field)
            let isExclusion = trimmed.first == UInt8(ascii: "-")
            let name = Name(isExclusion ? BackendList.trim(trimmed.dropFirst()) : trimmed)
            if name.isEmpty { return nil }
            if isExclusion { excluded.append(name) } else { wanted.append(name) }
        }
    }

    private static func trim(_ field: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let isBlank = { (byte: UInt8) in byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
        var rest = field.drop(while: isBlank)
        while let last = rest.last, isBlank(last) { rest.removeLast() }
        return rest
    }
}
