/// An object with a file descriptor, which can be registered.
///
/// An `Int32` is its own descriptor. An instance of a class is found by identity after it was
/// closed, so that it can still be unregistered.
///
/// The thread that calls `select` receives it, hence `Sendable`. A class of the main actor conforms with a
/// `nonisolated let fileDescriptor: Int32`.
public protocol FileObject: Sendable {
    /// The descriptor, or a negative number once the object is closed.
    var fileDescriptor: Int32 { get }
}

extension Int32: FileObject {
    /// The number itself.
    @inlinable public var fileDescriptor: Int32 { self }
}

/// Holds a file object that is not an `Int32`.
@usableFromInline
final class FileObjectBox: Sendable {
    @usableFromInline let fileObject: any FileObject

    @inlinable
    init(_ fileObject: some FileObject) {
        self.fileObject = fileObject
    }

    /// Returns `nil` for an `Int32`.
    @inlinable
    static func of(_ fileObject: some FileObject) -> FileObjectBox? {
        fileObject is Int32 ? nil : FileObjectBox(fileObject)
    }
}
