import CSelectorsPlatform

/// Tells ThreadSanitizer how this library orders threads.
///
/// What happens before a call that registers, modifies, unregisters or wakes happens before what
/// follows a wait. ThreadSanitizer cannot see this if the library was not built with it.
package enum ThreadOrder {
    /// Whether the program contains ThreadSanitizer.
    ///
    /// Determined when the library is loaded, so that a call only reads a variable.
    nonisolated(unsafe) package private(set) static var isTold = false

    static func find() {
        if platform_tells_order() != 0 { isTold = true }
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
