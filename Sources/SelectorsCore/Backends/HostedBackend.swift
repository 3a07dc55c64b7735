import CSelectorsPlatform
import CSelectors

/// A backend of the registry that a plug-in calls: the reverse of ``PluginBackend``.
enum HostedBackend {
    /// The functions that every plug-in receives; never freed.
    static var host: UnsafePointer<sel_plugin_host>? {
        guard let globals = Globals.shared else { return nil }
        return withUnsafePointer(to: &globals.pointee.host) { $0 }
    }

    /// What ``host`` points to.
    static func makeHost() -> sel_plugin_host {
        sel_plugin_host(
            abi: UInt32(SEL_PLUGIN_ABI), size: UInt32(MemoryLayout<sel_plugin_host>.size),
            open_backend: { list, ops, instance in
                guard let ops, let instance else { return -EINVAL }
                do throws(SystemError) {
                    let (entry, backend) = try BackendRegistry.shared().openBare(
                        list, isPluginAsking: true)
                    do throws(SystemError) {
                        ops.pointee = try HostedBackend.hostedOps(of: entry)
                        instance.pointee = UnsafeMutableRawPointer(
                            try UnsafeMutablePointer<Backend>.make(backend))
                        return 0
                    } catch {
                        backend.close()
                        throw error
                    }
                } catch {
                    return 0 &- error.code
                }
            })
    }

    private static func hostedOps(
        of entry: BackendEntry
    ) throws(SystemError) -> UnsafePointer<sel_backend_ops> {
        if let ops = entry.state.pointee.hostedOps { return ops }
        let ops = try UnsafeMutablePointer.make(
            makeOps(name: entry.name, rank: entry.rank, capabilities: entry.capabilities))
        entry.state.pointee.hostedOps = UnsafePointer(ops)
        return UnsafePointer(ops)
    }

    /// The table of functions for a backend with the given description.
    private static func makeOps(
        name: UnsafePointer<CChar>, rank: Int32, capabilities: BackendCapabilities
    ) -> sel_backend_ops {
        sel_backend_ops(
            abi: UInt32(SEL_PLUGIN_ABI),
            size: UInt32(MemoryLayout<sel_backend_ops>.size),
            name: name, rank: rank, capabilities: capabilities.rawValue,
            probe: nil,
            // Only the host's `open_backend` opens instances.
            open: { _ in -ENOTSUP },
            add: { instance, fd, mask, token in
                HostedBackend.call(instance) { backend throws(SystemError) in
                    try backend.add(fd, mask: mask, token: token)
                    return 0
                }
            },
            modify: { instance, fd, mask, token in
                HostedBackend.call(instance) { backend throws(SystemError) in
                    try backend.modify(fd, mask: mask, token: token)
                    return 0
                }
            },
            remove: { instance, fd in
                HostedBackend.call(instance) { backend throws(SystemError) in
                    try backend.remove(fd)
                    return 0
                }
            },
            wait: { instance, events, max, timeout, signals in
                HostedBackend.call(instance) { backend throws(SystemError) in
                    guard let events, max >= 1 else { throw SystemError(EINVAL) }
                    return try backend.wait(
                        into: events, max: max, timeout: timeout, signals: signals)
                }
            },
            fileno: { instance in
                HostedBackend.call(instance) { backend throws(SystemError) in
                    guard let fileno = try backend.fileno() else {
                        throw SystemError(ENOTSUP)
                    }
                    return fileno
                }
            },
            reset: { instance, afterFork in
                HostedBackend.call(instance) { backend throws(SystemError) in
                    try backend.reset(
                        afterFork: afterFork != 0, place: PlaceDescriptor(table: nil))
                    return 0
                }
            },
            close: { instance in
                guard let instance else { return }
                let backend = instance.assumingMemoryBound(to: Backend.self)
                backend.pointee.close()
                backend.destroy()
            },
            forked: { instance in
                guard let instance else { return }
                instance.assumingMemoryBound(to: Backend.self).pointee.closeAfterFork()
            })
    }

    private static func call(
        _ instance: UnsafeMutableRawPointer?, _ body: (Backend) throws(SystemError) -> Int32
    ) -> Int32 {
        guard let instance else { return -EINVAL }
        do throws(SystemError) {
            return try body(instance.assumingMemoryBound(to: Backend.self).pointee)
        } catch {
            return 0 &- error.code
        }
    }
}
