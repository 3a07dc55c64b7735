// The functions of selectors.h, which documents them: argument checks and conversion only.
// swift-format-ignore-file: AlwaysUseLowerCamelCase, AllPublicDeclarationsHaveDocumentation

import CSelectorsPlatform
import CSelectors
import SelectorsCore

@c(sel_open) @implementation
public func sel_open(
    _ out: UnsafeMutablePointer<OpaquePointer?>!, _ backend: UnsafePointer<CChar>!
) -> Int32 {
    guard let out else { return Explanation.fail(EINVAL, "out is NULL") }
    out.pointee = nil
    tellWritten(out, 1, MemoryLayout<OpaquePointer?>.size)
    do throws(SystemError) {
        out.pointee = OpaquePointer(try BackendRegistry.shared().open(backend).address)
        return 0
    } catch {
        // The registry has recorded a message.
        return 0 &- error.code
    }
}

@c(sel_close) @implementation
public func sel_close(_ selector: OpaquePointer!) -> Int32 {
    guard let selector else { return 0 }
    let core = core(selector)
    do throws(SystemError) {
        try core.close()
        core.deallocate()
        return 0
    } catch {
        return Explanation.fail(error)
    }
}

@c(sel_register) @implementation
public func sel_register(
    _ selector: OpaquePointer!, _ fd: Int32, _ events: UInt32, _ data: UnsafeMutableRawPointer!
) -> Int32 {
    if ThreadOrder.isTold { return registerInOrder(selector, fd, events, data) }
    return register(selector, fd, events, data)
}

@inline(__always)
private func register(
    _ selector: OpaquePointer?, _ fd: Int32, _ events: UInt32, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    with(selector, descriptor: fd) { core throws(SystemError) in
        try core.register(fd, events: events, data: data)
        return 0
    }
}

@inline(never)
private func registerInOrder(
    _ selector: OpaquePointer?, _ fd: Int32, _ events: UInt32, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    ThreadOrder.release(selector)
    return register(selector, fd, events, data)
}

@c(sel_modify) @implementation
public func sel_modify(
    _ selector: OpaquePointer!, _ fd: Int32, _ events: UInt32, _ data: UnsafeMutableRawPointer!
) -> Int32 {
    if ThreadOrder.isTold { return modifyInOrder(selector, fd, events, data) }
    return modify(selector, fd, events, data)
}

@inline(__always)
private func modify(
    _ selector: OpaquePointer?, _ fd: Int32, _ events: UInt32, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    with(selector, descriptor: fd) { core throws(SystemError) in
        try core.modify(fd, events: events, data: data)
        return 0
    }
}

@inline(never)
private func modifyInOrder(
    _ selector: OpaquePointer?, _ fd: Int32, _ events: UInt32, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    ThreadOrder.release(selector)
    return modify(selector, fd, events, data)
}

@c(sel_unregister) @implementation
public func sel_unregister(
    _ selector: OpaquePointer!, _ fd: Int32, _ old: UnsafeMutablePointer<sel_key>!
) -> Int32 {
    if ThreadOrder.isTold { return unregisterInOrder(selector, fd, old) }
    return unregister(selector, fd, old)
}

@inline(__always)
private func unregister(
    _ selector: OpaquePointer?, _ fd: Int32, _ old: UnsafeMutablePointer<sel_key>?
) -> Int32 {
    with(selector, descriptor: fd) { core throws(SystemError) in
        let key = try core.unregister(fd)
        if let old {
            old.pointee = key
            tellWritten(old, 1, MemoryLayout<sel_key>.size)
        }
        return 0
    }
}

@inline(never)
private func unregisterInOrder(
    _ selector: OpaquePointer?, _ fd: Int32, _ old: UnsafeMutablePointer<sel_key>?
) -> Int32 {
    ThreadOrder.release(selector)
    defer { ThreadOrder.acquire(selector) }
    return unregister(selector, fd, old)
}

@c(sel_select) @implementation
public func sel_select(
    _ selector: OpaquePointer!, _ events: UnsafeMutablePointer<sel_event>!, _ max: Int32,
    _ timeout_ns: Int64
) -> Int32 {
    if ThreadOrder.isTold { return sel_pselect(selector, events, max, timeout_ns, nil) }
    guard let selector else { return refuseNull() }
    guard max >= 1 else { return refuseMax() }
    guard let events else { return refuseEvents() }
    return core(selector).select(into: events, max: max, timeout: timeout_ns)
}

@c(sel_pselect) @implementation
public func sel_pselect(
    _ selector: OpaquePointer!, _ events: UnsafeMutablePointer<sel_event>!, _ max: Int32,
    _ timeout_ns: Int64, _ mask: UnsafePointer<sigset_t>!
) -> Int32 {
    guard let selector else { return refuseNull() }
    guard max >= 1 else { return refuseMax() }
    guard let events else { return refuseEvents() }
    let count = SelectorCore.selectInFull(
        core(selector), into: events, max: max, timeout: timeout_ns, signals: mask)
    if ThreadOrder.isTold {
        ThreadOrder.acquire(selector)
        tellWritten(events, count, MemoryLayout<sel_event>.size)
    }
    return count
}

@c(sel_set_interruptible) @implementation
public func sel_set_interruptible(_ selector: OpaquePointer!, _ on: Int32) -> Int32 {
    with(selector) { core throws(SystemError) in
        try core.setInterruptible(on != 0)
        return 0
    }
}

@c(sel_wakeup) @implementation
public func sel_wakeup(_ selector: OpaquePointer!) -> Int32 {
    if ThreadOrder.isTold { return wakeupInOrder(selector) }
    return wakeup(selector)
}

@inline(never)
private func wakeupInOrder(_ selector: OpaquePointer?) -> Int32 {
    ThreadOrder.release(selector)
    return wakeup(selector)
}

@inline(__always)
private func wakeup(_ selector: OpaquePointer?) -> Int32 {
    guard let selector else { return -EINVAL }
    do throws(SystemError) {
        try core(selector).wakeup()
        return 0
    } catch {
        // The caller may be a signal handler: no message is recorded.
        return 0 &- error.code
    }
}

@c(sel_get_key) @implementation
public func sel_get_key(
    _ selector: OpaquePointer!, _ fd: Int32, _ key: UnsafeMutablePointer<sel_key>!
) -> Int32 {
    guard let key else { return Explanation.fail(EINVAL, "key is NULL") }
    return with(selector, descriptor: fd) { core throws(SystemError) in
        key.pointee = try core.key(of: fd)
        tellWritten(key, 1, MemoryLayout<sel_key>.size)
        if ThreadOrder.isTold { ThreadOrder.acquire(selector) }
        return 0
    }
}

@c(sel_get_map) @implementation
public func sel_get_map(
    _ selector: OpaquePointer!, _ keys: UnsafeMutablePointer<sel_key>!, _ max: Int32
) -> Int32 {
    guard max == 0 || (max > 0 && keys != nil) else {
        return Explanation.fail(EINVAL, "max is negative, or keys is NULL")
    }
    return with(selector) { core throws(SystemError) in
        let count = try core.copyKeys(to: keys, max: max)
        tellWritten(keys, min(count, max), MemoryLayout<sel_key>.size)
        if ThreadOrder.isTold { ThreadOrder.acquire(selector) }
        return count
    }
}

@c(sel_fileno) @implementation
public func sel_fileno(_ selector: OpaquePointer!) -> Int32 {
    with(selector) { core throws(SystemError) in
        do throws(SystemError) {
            return try core.fileno()
        } catch {
            guard error.code == ENOTSUP || error.code == ELOOP else { throw error }
            return error.code == ELOOP
                ? Explanation.fail(ELOOP, "selectors watch one another in too many levels")
                : Explanation.fail(ENOTSUP, "the backend has no descriptor")
        }
    }
}

@c(sel_backend_name) @implementation
public func sel_backend_name(_ selector: OpaquePointer!) -> UnsafePointer<CChar>! {
    guard let selector else { return nil }
    return core(selector).backendName
}

@c(sel_capabilities) @implementation
public func sel_capabilities(_ selector: OpaquePointer!) -> UInt32 {
    guard let selector else { return 0 }
    return core(selector).capabilities.rawValue
}

@c(sel_backends) @implementation
public func sel_backends(_ infos: UnsafeMutablePointer<sel_backend_info>!, _ max: Int32) -> Int32 {
    guard max == 0 || (max > 0 && infos != nil) else {
        return Explanation.fail(EINVAL, "max is negative, or infos is NULL")
    }
    do throws(SystemError) {
        let count = try BackendRegistry.shared().describe(infos, max: max)
        tellWritten(infos, min(count, max), MemoryLayout<sel_backend_info>.size)
        return count
    } catch {
        return 0 &- error.code
    }
}

@c(sel_add_backend) @implementation
public func sel_add_backend(_ ops: UnsafePointer<sel_backend_ops>!) -> Int32 {
    do throws(SystemError) {
        try BackendRegistry.shared().add(ops)
        return 0
    } catch {
        // The registry has recorded a message.
        return 0 &- error.code
    }
}

@c(sel_load_plugin) @implementation
public func sel_load_plugin(_ path: UnsafePointer<CChar>!) -> Int32 {
    do throws(SystemError) {
        try BackendRegistry.shared().load(path)
        return 0
    } catch {
        return 0 &- error.code
    }
}

@c(sel_strerror) @implementation
public func sel_strerror(_ error: Int32) -> UnsafePointer<CChar>! {
    UnsafePointer(strerror(error < 0 ? 0 &- error : error))
}

@c(sel_last_error) @implementation
public func sel_last_error() -> UnsafePointer<CChar>! {
    LastError.text
}

@c(sel_version) @implementation
public func sel_version() -> UnsafePointer<CChar>! {
    platform_version()
}

/// Tells MemorySanitizer, in a program that has it, what was written for the caller.
@inline(never)
private func tellWritten(_ memory: UnsafeRawPointer?, _ count: Int32, _ size: Int) {
    if let memory, count > 0 { platform_tell_written(memory, Int(count) &* size) }
}

/// Calls the core behind a handle, and converts an error to the value that C returns.
@inline(__always)
private func with(
    _ selector: OpaquePointer?, _ body: (SelectorCore) throws(SystemError) -> Int32
) -> Int32 {
    guard let selector else { return refuseNull() }
    let core = core(selector)
    do throws(SystemError) {
        return try body(core)
    } catch {
        return Explanation.fail(error)
    }
}

/// Does the same for a call on a descriptor.
@inline(__always)
private func with(
    _ selector: OpaquePointer?, descriptor fd: Int32,
    _ body: (SelectorCore) throws(SystemError) -> Int32
) -> Int32 {
    guard let selector else { return refuseNull() }
    let core = core(selector)
    do throws(SystemError) {
        return try body(core)
    } catch {
        return Explanation.fail(error, descriptor: fd)
    }
}

/// The core behind a handle.
@inline(__always)
private func core(_ selector: OpaquePointer) -> SelectorCore {
    // SAFETY: the caller holds a handle from sel_open, so the core lives during the call.
    SelectorCore(UnsafeMutableRawPointer(selector))
}

@inline(never)
private func refuseNull() -> Int32 {
    Explanation.fail(EINVAL, "selector is NULL")
}

// A function for each, so that each check is a branch: to combine them costs more.
@inline(never)
private func refuseMax() -> Int32 {
    Explanation.fail(EINVAL, "max is less than 1")
}

@inline(never)
private func refuseEvents() -> Int32 {
    Explanation.fail(EINVAL, "events is NULL")
}
