/// Whatever has a file descriptor, and so can be registered.
///
/// An `Int32` is its own descriptor. A class that conforms is still found by its identity after it
/// was closed, so that it can be unregistered then.
///
/// It goes to whichever thread calls `select`, hence `Sendable`.
public protocol FileObject: Sendable {
    /// The descriptor, or a negative number once the object is closed.
    var fileDescriptor: Int32 { get }
}

extension Int32: FileObject {
    /// The number itself.
    @inlinable public var fileDescriptor: Int32 { self }
}

/// Holds a file object that is more than a number.
@usableFromInline
final class FileObjectBox: Sendable {
    @usableFromInline let fileObject: any FileObject

    @inlinable
    init(_ fileObject: some FileObject) {
        self.fileObject = fileObject
    }

    /// `nil` for a number.
    @inlinable
    static func of(_ fileObject: some FileObject) -> FileObjectBox? {
        fileObject is Int32 ? nil : FileObjectBox(fileObject)
    }
}
