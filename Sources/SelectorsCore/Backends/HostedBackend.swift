import CSelectorsPlatform
import CSelectors

/// A backend of the registry as a plug-in drives it: the other way round than ``PluginBackend``.
final class HostedBackend {
    private let backend: any SelectorBackend

    private init(_ backend: any SelectorBackend) {
        self.backend = backend
    }

    /// What every plug-in gets; it lives forever.
    nonisolated(unsafe) static let host: UnsafePointer<sel_plugin_host> = {
        let host = UnsafeMutablePointer<sel_plugin_host>.allocate(capacity: 1)
        host.initialize(
            to: sel_plugin_host(
                abi: UInt32(SEL_PLUGIN_ABI),
                size: UInt32(MemoryLayout<sel_plugin_host>.size),
                open_backend: { list, ops, instance in
                    guard let ops, let instance else { return -EINVAL }
                    do throws(SystemError) {
                        let (backend, opened) = try BackendRegistry.shared.openBare(
                            list, isPluginAsking: true)
                        ops.pointee = backend.hostedOps
                        let box = HostedBackend(opened)
                        instance.pointee = Unmanaged.passRetained(box).toOpaque()
                        return 0
                    } catch {
                        return 0 &- error.code
                    }
                }))
        return UnsafePointer(host)
    }()

    /// The table of functions for a backend of that description; it lives forever.
    static func makeOps(
        name: UnsafePointer<CChar>, rank: Int32, capabilities: BackendCapabilities
    ) -> UnsafePointer<sel_backend_ops> {
        let ops = UnsafeMutablePointer<sel_backend_ops>.allocate(capacity: 1)
        ops.initialize(
            to: sel_backend_ops(
                abi: UInt32(SEL_PLUGIN_ABI),
                size: UInt32(MemoryLayout<sel_backend_ops>.size),
                name: name, rank: rank, capabilities: capabilities.rawValue,
                probe: nil,
                // An instance comes from the host alone.
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
                        try backend.reset(afterFork: afterFork != 0)
                        return 0
                    }
                },
                close: { instance in
                    guard let instance else { return }
                    let box = Unmanaged<HostedBackend>.fromOpaque(instance)
                    box._withUnsafeGuaranteedRef { $0.backend.close() }
                    box.release()
                }))
        return UnsafePointer(ops)
    }

    private static func call(
        _ instance: UnsafeMutableRawPointer?,
        _ body: (any SelectorBackend) throws(SystemError) -> Int32
    ) -> Int32 {
        guard let instance else { return -EINVAL }
        return Unmanaged<HostedBackend>.fromOpaque(instance)._withUnsafeGuaranteedRef { box in
            do throws(SystemError) {
                return try body(box.backend)
            } catch {
                return 0 &- error.code
            }
        }
    }
}
