import CSelectorsPlatform
import CSelectors

/// Waits with a table of C functions from a program or a plug-in.
///
/// A result that breaks the rules of `selectors_plugin.h` becomes `EPROTO`.
struct PluginBackend: ~Copyable, Facility {
    private let ops: UnsafePointer<sel_backend_ops>
    private var instance: UnsafeMutableRawPointer?

    /// Opens an instance; the table is complete and is never freed.
    static func make(_ ops: UnsafePointer<sel_backend_ops>) throws(SystemError) -> Backend {
        let instance = try open(ops)
        do throws(SystemError) {
            return .plugin(try .make(PluginBackend(ops, instance)))
        } catch {
            close(ops, instance)
            throw error
        }
    }

    private init(_ ops: UnsafePointer<sel_backend_ops>, _ instance: UnsafeMutableRawPointer?) {
        self.ops = ops
        self.instance = instance
    }

    private static func open(
        _ ops: UnsafePointer<sel_backend_ops>
    ) throws(SystemError) -> UnsafeMutableRawPointer? {
        var instance: UnsafeMutableRawPointer?
        try callChecked(ops, "open", upTo: 0) { ops.pointee.open.unsafelyUnwrapped(&instance) }
        return instance
    }

    private static func close(
        _ ops: UnsafePointer<sel_backend_ops>, _ instance: UnsafeMutableRawPointer?
    ) {
        let saved = platform_errno()
        let cancellation = platform_forbid_cancellation()
        ops.pointee.close.unsafelyUnwrapped(instance)
        platform_allow_cancellation(cancellation)
        platform_set_errno(saved)
    }

    func add(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        try check(platform_check_open(fd))
        do throws(SystemError) {
            try callChecked(ops, "add", upTo: 0) {
                ops.pointee.add.unsafelyUnwrapped(instance, fd, mask, token)
            }
        } catch {
            // These errors are about registrations, which a backend does not know.
            guard error.code == EEXIST || error.code == ENOENT else { throw error }
            throw LastError.recordBreach(by: ops.pointee.name, "add", 0 &- error.code)
        }
    }

    func modify(_ fd: Int32, mask: UInt32, token: UInt64) throws(SystemError) {
        try callChecked(ops, "modify", upTo: 0) {
            ops.pointee.modify.unsafelyUnwrapped(instance, fd, mask, token)
        }
    }

    func remove(_ fd: Int32) throws(SystemError) {
        try callChecked(ops, "remove", upTo: 0) {
            ops.pointee.remove.unsafelyUnwrapped(instance, fd)
        }
    }

    mutating func reset(afterFork: Bool, place: PlaceDescriptor) throws(SystemError) {
        if let reset = ops.pointee.reset {
            try callChecked(ops, "reset", upTo: 0) { reset(instance, afterFork ? 1 : 0) }
        } else {
            let fresh = try PluginBackend.open(ops)
            close()
            instance = fresh
        }
    }

    func wait(
        into events: UnsafeMutablePointer<BackendEvent>, max: Int32, timeout: Int64,
        signals: UnsafePointer<sigset_t>?
    ) throws(SystemError) -> Int32 {
        try callChecked(ops, "wait", upTo: max) {
            ops.pointee.wait.unsafelyUnwrapped(instance, events, max, timeout, signals)
        }
    }

    func fileno() throws(SystemError) -> Int32? {
        guard ops.pointee.capabilities & UInt32(SEL_CAN_FILENO) != 0 else { return nil }
        return try callChecked(ops, "fileno", upTo: .max) {
            ops.pointee.fileno.unsafelyUnwrapped(instance)
        }
    }

    func closeAfterFork() {
        ops.pointee.forked?(instance)
    }

    func close() {
        PluginBackend.close(ops, instance)
    }
}

/// Calls a plug-in's function and returns its result, which must not exceed `limit`.
@discardableResult
private func callChecked(
    _ ops: UnsafePointer<sel_backend_ops>, _ function: StaticString, upTo limit: Int32,
    _ call: () -> Int32
) throws(SystemError) -> Int32 {
    let saved = platform_errno()
    let cancellation = platform_forbid_cancellation()
    let result = call()
    platform_allow_cancellation(cancellation)
    platform_set_errno(saved)
    if result > limit || result < -4095 || result == -EPROTO {
        throw LastError.recordBreach(by: ops.pointee.name, function, result)
    }
    return try check(result)
}
