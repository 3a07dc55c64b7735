import CSelectors
import SelectorsCore

/// The backends of this process: built in and added, probed once, ranked.
///
/// Any thread may use it.
public enum SelectorRegistry {
    /// All backends, best first, including those that cannot be used here.
    ///
    /// The first call probes each of them once. The C function is `sel_backends`.
    public static var backends: [BackendInfo] {
        guard let registry = try? BackendRegistry.shared() else { return [] }
        var infos: [sel_backend_info] = []
        var count = Int(registry.describe(nil, max: 0))
        // Another thread may add a backend between the two calls.
        while count > infos.count {
            infos = Array(repeating: sel_backend_info(), count: count)
            count = Int(registry.describe(&infos, max: Int32(infos.count)))
        }
        return infos.map(BackendInfo.init)
    }

    /// Adds a backend for the rest of the process.
    ///
    /// It is probed on first use.
    ///
    /// - Throws: ``BackendError`` with `EEXIST` if the name is taken, `EINVAL` if the name or the
    ///   rank violates ``BackendDescriptor``, `ENOMEM`.
    public static func add(_ descriptor: BackendDescriptor) throws(BackendError) {
        // In C a name ends at a 0; the empty name is rejected.
        let name = descriptor.name.utf8.contains(0) ? "" : descriptor.name
        do throws(SystemError) {
            try name.utf8CString.withUnsafeBufferPointer { name throws(SystemError) in
                try BackendRegistry.shared().add(
                    name.baseAddress.unsafelyUnwrapped, rank: descriptor.rank,
                    capabilities: descriptor.capabilities, make: descriptor.make)
            }
        } catch {
            throw BackendError(error)
        }
    }

    /// Loads a plug-in, a shared library, and adds its backend, for the rest of the process.
    ///
    /// A rejected plug-in is listed under its path, with the reason.
    ///
    /// - Throws: ``BackendError`` with `EINVAL` if the path has no slash or the library has no
    ///   function `sel_plugin`, `ELIBACC` if it cannot be loaded, or the error of its rejected
    ///   table.
    ///
    /// The C function is `sel_load_plugin`. The manual is `selectors_plugin.h`.
    public static func loadPlugin(_ path: String) throws(BackendError) {
        do throws(SystemError) {
            try path.utf8CString.withUnsafeBufferPointer { path throws(SystemError) in
                try BackendRegistry.shared().load(path.baseAddress)
            }
        } catch {
            throw BackendError(error)
        }
    }
}

/// The description of a backend to add to ``SelectorRegistry``.
public struct BackendDescriptor: Sendable {
    /// Its name in `SELECTORS_BACKEND`: 1 to 32 of the characters `a-z`, `0-9`, `_`, `-`, with a
    /// letter first.
    public let name: String
    /// The usable backend with the highest rank is the default; 0: chosen by name only.
    ///
    /// The built-in ones have 300 (epoll, kqueue), 250 (devpoll), 200 (poll) and 100 (select).
    public let rank: Int32
    /// The optional features of the backend.
    public let capabilities: BackendCapabilities
    /// Makes a backend, for one selector.
    public let make: @Sendable () throws(SystemError) -> any SelectorBackend

    /// Describes a backend.
    ///
    /// See the properties.
    public init(
        name: String, rank: Int32, capabilities: BackendCapabilities = [],
        make: @escaping @Sendable () throws(SystemError) -> any SelectorBackend
    ) {
        self.name = name
        self.rank = rank
        self.capabilities = capabilities
        self.make = make
    }
}

/// A backend in the registry.
public struct BackendInfo: Sendable {
    /// Its name in `SELECTORS_BACKEND`.
    public let name: String
    /// Why it cannot be used here, or `nil` if it can.
    public let reason: String?
    /// The path of the plug-in that provided it, or `nil`.
    public let origin: String?
    /// The usable backend with the highest rank is the default; 0: chosen by name only.
    public let rank: Int32
    /// The optional features of the backend.
    public let capabilities: BackendCapabilities
    /// Whether it can be used here.
    public var isAvailable: Bool { reason == nil }

    init(_ info: sel_backend_info) {
        name = String(cString: info.name)
        reason = info.reason.map { String(cString: $0) }
        origin = info.origin.map { String(cString: $0) }
        rank = info.rank
        capabilities = BackendCapabilities(rawValue: info.capabilities)
    }
}

/// Why a backend could not be chosen or added.
public struct BackendError: Error, Sendable {
    /// An errno value: `EINVAL` (malformed list or descriptor), `ENOENT` (unknown name), `ENOTSUP`
    /// (none can be used here), `EEXIST` (the name is taken), or the system's error.
    public let code: Int32
    /// What is wrong, with the names of the backends.
    public let message: String

    /// Converts an error that the registry has just thrown in this thread, with its message.
    init(_ error: SystemError) {
        code = error.code
        message = String(cString: LastError.text)
    }
}
