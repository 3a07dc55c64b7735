import CSelectorsPlatform
import CSelectors

/// Backends that are tables of C functions, and the plug-ins that provide them.
extension BackendRegistry {
    /// Adds a backend; see `sel_add_backend`.
    package func add(_ ops: UnsafePointer<sel_backend_ops>?) throws(SystemError) {
        try LastError.prepare()
        _ = try withLock { () throws(SystemError) in try addTable(ops) }
    }

    private func addTable(
        _ ops: UnsafePointer<sel_backend_ops>?
    ) throws(SystemError) -> BackendEntry {
        guard let ops else { throw complaint(EINVAL, nil, "there is no table of functions") }
        // With another ABI the rest of the table may have another layout.
        guard ops.pointee.abi == UInt32(SEL_PLUGIN_ABI) else {
            throw complaint(
                ENOTSUP, nil, "it was made for another version of selectors_plugin.h, its ABI is",
                number: ops.pointee.abi)
        }
        guard ops.pointee.size >= platform_first_ops_size() else {
            throw complaint(
                EINVAL, nil, "the table of functions is too small, its size is",
                number: ops.pointee.size)
        }
        guard let name = ops.pointee.name else { throw complaint(EINVAL, nil, "it has no name") }
        let capabilities = BackendCapabilities(rawValue: ops.pointee.capabilities)
        guard BackendCapabilities.known.isSuperset(of: capabilities) else {
            throw complaint(EINVAL, name, "unknown capabilities")
        }
        if let function = missingFunction(ops.pointee) {
            throw complaint(EINVAL, name, "it has no function", function)
        }
        guard let memory = platform_calloc(1, MemoryLayout<sel_backend_ops>.stride) else {
            throw LastError.record(SystemError(ENOMEM))
        }
        let copy = memory.bindMemory(to: sel_backend_ops.self, capacity: 1)
        // Fields that an older table lacks stay 0; fields that a newer one adds are ignored.
        memcpy(memory, ops, min(Int(ops.pointee.size), MemoryLayout<sel_backend_ops>.size))
        do throws(SystemError) {
            // SAFETY: the copy is never freed once the entry owns it.
            let entry = try add(
                name, rank: ops.pointee.rank, capabilities: capabilities, maker: .plugin(copy))
            copy.pointee.name = entry.name
            return entry
        } catch {
            free(memory)
            throw error
        }
    }

    private func missingFunction(_ ops: sel_backend_ops) -> StaticString? {
        if ops.open == nil { return "open" }
        if ops.add == nil { return "add" }
        if ops.modify == nil { return "modify" }
        if ops.remove == nil { return "remove" }
        if ops.wait == nil { return "wait" }
        if ops.close == nil { return "close" }
        if ops.capabilities & UInt32(SEL_CAN_FILENO) != 0 {
            if ops.fileno == nil { return "fileno" }
            if ops.reset == nil { return "reset" }
        }
        return nil
    }

    private func complaint(
        _ code: Int32, _ name: UnsafePointer<CChar>?, _ text: StaticString,
        _ detail: StaticString? = nil, number: UInt32? = nil
    ) -> SystemError {
        LastError.record(code) {
            $0.append("backend")
            if let name {
                $0.append(" ")
                $0.append(quoting: UnsafeRawBufferPointer(start: name, count: strnlen(name, 65)))
            }
            $0.append(": ")
            $0.append(text)
            if let detail {
                $0.append(" ")
                $0.append(detail)
            }
            if let number {
                $0.append(" ")
                $0.append(number)
            }
        }
    }

    // MARK: Libraries

    /// Loads a plug-in; see `sel_load_plugin`.
    package func load(_ path: UnsafePointer<CChar>?) throws(SystemError) {
        try LastError.prepare()
        loadNamedPlugins()
        guard let path, path.pointee != 0 else {
            throw LastError.record(EINVAL) { $0.append("plug-in: there is no path") }
        }
        try loadPlugin(path)
    }

    /// Loads the plug-ins that `SELECTORS_PLUGINS` names, on the first call.
    ///
    /// A rejected plug-in is listed with the reason. The registry's lock is not held during
    /// loading: the dynamic loader has its own lock, and a thread that holds it may want the
    /// registry's lock in a library's constructor. So several threads may load at once; each goes
    /// through the whole list and skips known plug-ins.
    func loadNamedPlugins() {
        if withLock({ state.pointee.hasLoadedPlugins || state.pointee.asked != nil }) { return }
        defer { withLock { state.pointee.hasLoadedPlugins = true } }
        guard var rest = platform_environment(StaticString("SELECTORS_PLUGINS").cString) else {
            return
        }
        while rest.pointee != 0 {
            let length = strcspn(rest, StaticString(":").cString)
            if length > 0, let path = platform_strndup(rest, length) {
                try? loadPlugin(path)
                free(path)
            }
            rest += length + (rest[length] == 0 ? 0 : 1)
        }
    }

    private func loadPlugin(_ path: UnsafePointer<CChar>) throws(SystemError) {
        guard strchr(path, Int32(UInt8(ascii: "/"))) != nil else {
            throw rejected(path, EINVAL, StaticString("its path has no slash").cString)
        }
        guard platform_can_load() != 0 else {
            let reason = StaticString("this program is linked statically and cannot load it")
            throw rejected(path, ENOSYS, reason.cString)
        }
        var reason: UnsafePointer<CChar>?
        guard let handle = platform_load(path, &reason) else {
            throw rejected(path, ELIBACC, BackendRegistry.loaderWords(reason, about: path))
        }
        try withLock { () throws(SystemError) in try addPlugin(path, handle) }
    }

    /// Adds the backend of a library, unless it was added before or is being added.
    private func addPlugin(
        _ path: UnsafePointer<CChar>, _ handle: UnsafeMutableRawPointer
    ) throws(SystemError) {
        if first(where: { $0.state.pointee.handle == handle }) != nil { return removeRefused(path) }
        if state.pointee.asked?.pointee.includes(handle) == true { return }
        guard let entry = platform_find_entry(handle) else {
            throw rejected(path, EINVAL, StaticString("it has no function sel_plugin").cString)
        }
        guard let ops = requestTable(entry, of: handle) else {
            throw rejected(
                path, EINVAL, StaticString("its sel_plugin does not want to run").cString)
        }
        let origin = platform_strdup(path)
        do throws(SystemError) {
            guard let origin else { throw LastError.record(SystemError(ENOMEM)) }
            let entry = try addTable(ops)
            entry.state.pointee.handle = handle
            entry.state.pointee.origin = UnsafePointer(origin)
            removeRefused(path)
        } catch {
            free(origin)
            throw rejected(path, error.code, LastError.text)
        }
    }

    /// Calls the library's `sel_plugin` to get its table.
    private func requestTable(
        _ entry: sel_plugin_entry, of handle: UnsafeMutableRawPointer
    ) -> UnsafePointer<sel_backend_ops>? {
        let saved = platform_errno()
        let cancellation = platform_forbid_cancellation()
        let asked = Asked(handle: handle, before: state.pointee.asked)
        defer {
            state.pointee.asked = asked.before
            platform_allow_cancellation(cancellation)
            platform_set_errno(saved)
        }
        return withUnsafePointer(to: asked) {
            state.pointee.asked = $0
            return entry(HostedBackend.host)
        }
    }

    /// The dynamic loader's message, without the path that it may start with.
    private static func loaderWords(
        _ text: UnsafePointer<CChar>?, about path: UnsafePointer<CChar>
    ) -> UnsafePointer<CChar> {
        guard let text else { return StaticString("it cannot be loaded").cString }
        let length = strlen(path)
        let separator = StaticString(": ").cString
        let isSame = strncmp(text, path, length) == 0 && strncmp(text + length, separator, 2) == 0
        return isSame ? text + length + 2 : text
    }

    /// Lists a rejected plug-in under its path, and returns the error.
    private func rejected(
        _ path: UnsafePointer<CChar>, _ code: Int32, _ reason: UnsafePointer<CChar>
    ) -> SystemError {
        // The reason may be this thread's last error message, which is overwritten below.
        let copy = platform_strdup(reason)
        defer { free(copy) }
        let reason = UnsafePointer(copy)
        if let reason { withLock { addRefused(path, because: reason) } }
        return LastError.record(code) {
            $0.append("plug-in ")
            let bytes = UnsafeRawBufferPointer(start: path, count: strlen(path))
            $0.append(quoting: bytes, limit: Words.size / 2)
            $0.append(": ")
            $0.append(text: reason ?? StaticString("").cString)
        }
    }
}
