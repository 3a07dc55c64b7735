// What Foundation asks for the text of an error whose type it does not know.
//
// It is a module of its own, so that who imports Selectors alone does not load Foundation: 10 MB and
// more on Linux.

@_exported import Selectors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension SelectorError: LocalizedError {
    /// The description: what was wrong with which argument, and what to do.
    public var errorDescription: String? { description }
}

extension BackendError: LocalizedError {
    /// The message.
    public var errorDescription: String? { message }
}
