import CSelectorsPlatform

/// Tells ThreadSanitizer, helgrind and drd how this library orders threads.
///
/// What happens before a call that registers, modifies, unregisters or wakes happens before what
/// follows a wait. The tools cannot see this: the library is not built with a sanitizer, and they do
/// not know its lock.
package enum ThreadOrder {
    /// Whether the program runs under one of them, or contains MemorySanitizer, which is told what a
    /// wait has written.
    ///
    /// Determined when the library is loaded, so that a call only reads a variable.
    nonisolated(unsafe) package private(set) static var isTold = false

    static func find() {
        if platform_is_watched() != 0 { isTold = true }
    }

    @inline(never)
    package static func release(_ selector: OpaquePointer?) {
        if let selector { platform_release(UnsafeMutableRawPointer(selector)) }
    }

    @inline(never)
    package static func acquire(_ selector: OpaquePointer?) {
        if let selector { platform_acquire(UnsafeMutableRawPointer(selector)) }
    }
}
