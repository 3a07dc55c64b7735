import CSelectorsPlatform

/// Tells ThreadSanitizer, in a program that has it, helgrind and drd how this library orders threads: what
/// came before a call that registers, modifies, unregisters or wakes came before what follows a wait.
///
/// They cannot see it by themselves: the library is not built with the sanitizer, and its lock is none
/// that they know.
package enum ThreadOrder {
    /// Whether there is somebody to tell, MemorySanitizer included, which wants to know of the events: found
    /// out when the library is loaded, so that a call looks at nothing but a variable.
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
