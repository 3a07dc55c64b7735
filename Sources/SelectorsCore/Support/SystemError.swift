/// An errno value from the system, or from the engine.
public struct SystemError: Error, Equatable, Sendable {
    /// The errno value, positive, such as `EBADF`.
    public let code: Int32

    /// Makes the error for an errno value.
    public init(_ code: Int32) {
        self.code = code
    }
}

/// Returns the result of a system call, or throws its error.
///
/// - Parameter result: A count or descriptor, or a negative errno value, as CSelectorsPlatform's
///   wrappers return it.
/// - Returns: The count or descriptor.
/// - Throws: The errno value.
@inline(__always)
@discardableResult
package func check(_ result: Int32) throws(SystemError) -> Int32 {
    if result < 0 { throw SystemError(0 &- result) }
    return result
}
