import CSelectors
import Selectors
import Testing

/// The backend that a list chooses.
func chosen(_ list: String?) throws -> String {
    try BaseSelector<Void>(backend: list).backend
}

/// The backend that a list chooses in C.
func chosenByC(_ list: String?) throws -> String {
    var selector: OpaquePointer?
    try #require(sel_open(&selector, list) == 0)
    defer { sel_close(selector) }
    return String(cString: sel_backend_name(selector))
}

/// What a list is refused with.
func refusal(_ list: String?) throws -> (code: Int32, message: String) {
    let error = try #require(
        #expect(throws: SelectorError.self) { try BaseSelector<Void>(backend: list) })
    guard case .backend(let code, let message) = error else { throw error }
    return (code, message)
}
