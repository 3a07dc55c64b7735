import CPlatform
import CSelectors

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
    /// Tells why the backend cannot be used here, before it is tried; `nil` if nothing is known.
    let excuse: String?

    /// Describes a backend.
    ///
    /// See the properties.
    public init(
        name: String, rank: Int32, capabilities: BackendCapabilities = [],
        make: @escaping @Sendable () throws(SystemError) -> any SelectorBackend
    ) {
        self.init(
            name: name, rank: rank, capabilities: capabilities, excuse: nil, make: make)
    }

    init(
        name: String, rank: Int32, capabilities: BackendCapabilities = [], excuse: String?,
        make: @escaping @Sendable () throws(SystemError) -> any SelectorBackend = {
            () throws(SystemError) in throw SystemError(ENOTSUP)
        }
    ) {
        self.name = name
        self.rank = rank
        self.capabilities = capabilities
        self.make = make
        self.excuse = excuse
    }
}

/// What the registry knows of a backend.
public struct BackendInfo: Sendable {
    /// The same in C, for `sel_backends`; its text lives forever.
    package nonisolated(unsafe) let cInfo: sel_backend_info

    /// What `SELECTORS_BACKEND` calls it.
    public var name: String { String(cString: cInfo.name) }
    /// Why it cannot be used here, or `nil` if it can.
    public var reason: String? { cInfo.reason.map { String(cString: $0) } }
    /// The highest one that can be used is the default; 0: chosen by name alone.
    public var rank: Int32 { cInfo.rank }
    /// What it can do beyond the contract.
    public var capabilities: BackendCapabilities {
        BackendCapabilities(rawValue: cInfo.capabilities)
    }
    /// Whether it can be used here.
    public var isAvailable: Bool { cInfo.reason == nil }
}

/// Why a backend could not be chosen or added.
public struct BackendError: Error, Sendable {
    /// An errno value: `EINVAL` (malformed list or descriptor), `ENOENT` (unknown name), `ENOTSUP`
    /// (none can be used here), `EEXIST` (the name is taken), or what the system answered.
    public let code: Int32
    /// What is wrong, with the names that there are.
    public let message: String
}

/// The backends of this process: built in and added, probed once, ranked.
///
/// Any thread may use it.
public enum SelectorRegistry {
    /// All backends, the best first, those that cannot be used here included.
    ///
    /// The first call tries each of them once.
    public static var backends: [BackendInfo] {
        shared.lock.withLock { shared.backends.map { BackendInfo(cInfo: shared.info($0)) } }
    }

    /// Adds a backend, for the rest of the process; it is tried when the registry is next used.
    ///
    /// - Throws: ``BackendError`` with `EEXIST` where the name is taken, `EINVAL` where name or rank
    ///   is not as ``BackendDescriptor`` says, `ENOMEM`.
    public static func add(_ descriptor: BackendDescriptor) throws(BackendError) {
        try shared.lock.withLock { () throws(BackendError) in try shared.add(descriptor) }
    }

    /// Opens a core on the backend that a list chooses; `sel_open` has the manual.
    package static func open(_ list: UnsafePointer<CChar>?) throws(BackendError) -> SelectorCore {
        try shared.lock.withLock { () throws(BackendError) in try shared.open(list) }
    }

    /// Guards the registry.
    ///
    /// A fork takes it, so that the child does not find it taken.
    static var lock: Lock { shared.lock }

    private static let shared = Backends()
}

/// The state behind ``SelectorRegistry``, guarded by its lock.
private final class Backends: @unchecked Sendable {
    let lock = Lock()
    /// In the order of rank, the first to be added first among equals.
    private(set) var backends: [Backend] = []

    final class Backend {
        let descriptor: BackendDescriptor
        let name: UnsafePointer<CChar>
        var verdict = Verdict.untried

        init(_ descriptor: BackendDescriptor, name: UnsafePointer<CChar>) {
            self.descriptor = descriptor
            self.name = name
        }

        func isCalled(_ wanted: BackendList.Name) -> Bool {
            descriptor.name.utf8.elementsEqual(wanted)
        }
    }

    enum Verdict {
        case untried
        case available
        case refused(UnsafePointer<CChar>)
    }

    init() {
        for descriptor in BackendDescriptor.builtIn {
            // Only a lack of memory can keep a built-in one out.
            try? add(descriptor)
        }
    }

    func add(_ descriptor: BackendDescriptor) throws(BackendError) {
        let name = descriptor.name
        guard Backends.isValid(name), descriptor.rank >= 0 else {
            throw BackendError(
                code: EINVAL,
                message: "backend " + quoted(Array(name.utf8)) + ": not a valid name or rank")
        }
        if backends.contains(where: { $0.isCalled(Array(name.utf8)) }) {
            throw BackendError(
                code: EEXIST, message: "backend " + quoted(Array(name.utf8)) + " exists already")
        }
        guard let copy = strdup(name) else { throw .system(ENOMEM) }
        let place = backends.firstIndex { $0.descriptor.rank < descriptor.rank } ?? backends.count
        backends.insert(Backend(descriptor, name: copy), at: place)
    }

    private static func isValid(_ name: String) -> Bool {
        let letters = UInt8(ascii: "a")...UInt8(ascii: "z")
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        let signs = [UInt8(ascii: "_"), UInt8(ascii: "-")]
        guard let first = name.utf8.first, letters.contains(first), name.utf8.count <= 32 else {
            return false
        }
        return name.utf8.allSatisfy {
            letters.contains($0) || digits.contains($0) || signs.contains($0)
        }
    }

    /// Describes a backend, and tries it if that was not done yet.
    func info(_ backend: Backend) -> sel_backend_info {
        sel_backend_info(
            name: backend.name, reason: reason(against: backend), rank: backend.descriptor.rank,
            capabilities: backend.descriptor.capabilities.rawValue)
    }

    /// Why a backend cannot be used here, or `nil`.
    ///
    /// It is tried once: made, and asked to wait.
    private func reason(against backend: Backend) -> UnsafePointer<CChar>? {
        switch backend.verdict {
        case .available: return nil
        case .refused(let reason): return reason
        case .untried: break
        }
        if let reason = Backends.probe(backend.descriptor) {
            backend.verdict = .refused(UnsafePointer(strdup(reason)) ?? backend.name)
        } else {
            backend.verdict = .available
        }
        return self.reason(against: backend)
    }

    private static func probe(_ descriptor: BackendDescriptor) -> String? {
        if let excuse = descriptor.excuse { return excuse }
        do throws(SystemError) {
            let instance = try descriptor.make()
            defer { instance.close() }
            var event = BackendEvent()
            _ = try instance.wait(into: &event, max: 1, timeout: 0, signals: nil)
            return nil
        } catch {
            return String(cString: strerror(error.code))
        }
    }

    func open(_ list: UnsafePointer<CChar>?) throws(BackendError) -> SelectorCore {
        let variable = "SELECTORS_BACKEND"
        if let list { return try open(list, origin: "backend ") }
        if let list = platform_environment(variable), list.pointee != 0 {
            return try open(list, origin: variable + "=")
        }
        return try core(on: choose(BackendList(), origin: "backend"))
    }

    private func open(
        _ list: UnsafePointer<CChar>, origin: String
    ) throws(BackendError) -> SelectorCore {
        let bytes = UnsafeRawBufferPointer(start: list, count: strlen(list))
        let origin = origin + quoted(bytes)
        guard let names = BackendList(bytes) else {
            throw BackendError(
                code: EINVAL, message: origin + ": a name in the list is empty; " + choices())
        }
        return try core(on: choose(names, origin: origin))
    }

    private func core(on backend: Backend) throws(BackendError) -> SelectorCore {
        do throws(SystemError) {
            return try SelectorCore.open(
                backend: try backend.descriptor.make(), name: backend.name,
                capabilities: backend.descriptor.capabilities)
        } catch {
            throw .system(error.code)
        }
    }

    private func choose(
        _ names: BackendList, origin: String
    ) throws(BackendError) -> Backend {
        for name in names.wanted + names.excluded
        where !backends.contains(where: { $0.isCalled(name) }) {
            throw BackendError(
                code: ENOENT,
                message: origin + ": there is no backend " + quoted(name) + "; " + choices())
        }
        let allowed = backends.filter { backend in
            !names.excluded.contains { backend.isCalled($0) }
        }
        let candidates =
            names.wanted.isEmpty
            ? allowed.filter { $0.descriptor.rank > 0 }
            : names.wanted.compactMap { name in allowed.first { $0.isCalled(name) } }
        if let backend = candidates.first(where: { reason(against: $0) == nil }) { return backend }
        throw BackendError(
            code: ENOTSUP, message: origin + ": no such backend can be used here; " + choices())
    }

    /// Names all backends, and why some cannot be used here.
    private func choices() -> String {
        var available = ""
        var others = ""
        for backend in backends {
            if let reason = reason(against: backend) {
                others += (others.isEmpty ? "" : ", ") + backend.descriptor.name + " ("
                others += String(cString: reason) + ")"
            } else {
                available += (available.isEmpty ? "" : ", ") + backend.descriptor.name
            }
        }
        return "available: " + available + (others.isEmpty ? "" : "; not available: " + others)
    }
}

extension BackendError {
    /// The system's own words for an errno value.
    static func system(_ code: Int32) -> BackendError {
        BackendError(code: code, message: String(cString: strerror(code)))
    }
}

/// Text from outside in quotation marks, on one line and not too long.
private func quoted(_ bytes: some Collection<UInt8>) -> String {
    let limit = 64
    let printable = bytes.prefix(limit).map { byte in
        byte >= 0x20 && byte < 0x7F ? byte : UInt8(ascii: "?")
    }
    return "\"" + String(decoding: printable, as: UTF8.self)
        + (bytes.count > limit ? "...\"" : "\"")
}
