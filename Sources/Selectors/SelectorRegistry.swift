import CSelectors
import SelectorsCore

/// The backends of this process: built in and added, probed once, ranked.
///
/// Any thread may use it.
public enum SelectorRegistry {
    /// All backends, the best first, those that cannot be used here included.
    ///
    /// The first call tries each of them once. The C function is `sel_backends`.
    public static var backends: [BackendInfo] {
        guard let registry = try? BackendRegistry.shared() else { return [] }
        var infos: [sel_backend_info] = []
        var count = Int(registry.describe(nil, max: 0))
        // Another thread may add one between the two looks.
        while count > infos.count {
            infos = Array(repeating: sel_backend_info(), count: count)
            count = Int(registry.describe(&infos, max: Int32(infos.count)))
        }
        return infos.map(BackendInfo.init)
    }

    /// Adds a backend, for the rest of the process; it is tried when it is first asked for.
    ///
    /// - Throws: ``BackendError`` with `EEXIST` where the name is taken, `EINVAL` where name or rank
    ///   is not as ``BackendDescriptor`` says, `ENOMEM`.
    public static func add(_ descriptor: BackendDescriptor) throws(BackendError) {
        // In C a name ends at a 0; the empty one is refused.
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
    /// One that is refused is listed under its path, with the reason.
    ///
    /// - Throws: ``BackendError`` with `EINVAL` where the path has no slash or the library no function
    ///   `sel_plugin`, `ELIBACC` where it cannot be loaded, or what its table is refused with.
    ///
    /// The C function is `sel_load_plugin`, and `selectors_plugin.h` the manual.
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

/// A backend as it is added to ``SelectorRegistry``.
public struct BackendDescriptor: Sendable {
    /// What `SELECTORS_BACKEND` calls it: 1 to 32 of the characters `a-z`, `0-9`, `_`, `-`; the
    /// first one is a letter.
    public let name: String
    /// The highest rank that can be used here is the default; 0: chosen by name alone.
    ///
    /// The built-in ones have 300 (epoll, kqueue), 250 (devpoll), 200 (poll) and 100 (select).
    public let rank: Int32
    /// What the backend can do beyond the contract.
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

/// What the registry knows of a backend.
public struct BackendInfo: Sendable {
    /// What `SELECTORS_BACKEND` calls it.
    public let name: String
    /// Why it cannot be used here, or `nil` if it can.
    public let reason: String?
    /// The path of the plug-in that it came with, or `nil`.
    public let origin: String?
    /// The highest one that can be used is the default; 0: chosen by name alone.
    public let rank: Int32
    /// What it can do beyond the contract.
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
    /// (none can be used here), `EEXIST` (the name is taken), or what the system answered.
    public let code: Int32
    /// What is wrong, with the names that there are.
    public let message: String

    /// Takes over what the registry has just thrown in this thread, with its words.
    init(_ error: SystemError) {
        code = error.code
        message = String(cString: LastError.text)
    }
}
