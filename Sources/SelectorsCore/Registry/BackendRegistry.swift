import CSelectorsPlatform
import CSelectors

/// The backends of this process: built in and added, probed once, ranked.
///
/// Any thread may use it. What fails leaves its words in ``LastError``.
package final class BackendRegistry: @unchecked Sendable {
    package static let shared = BackendRegistry()

    /// Guards what follows.
    ///
    /// A fork takes it, so that the child does not find it taken.
    let lock = Lock()
    /// The first in the order of rank; among equals that is the first to be added.
    private var best: Backend?
    /// Those that are not listed any more.
    private var retired: Backend?
    /// Whether `SELECTORS_PLUGINS` was looked at.
    var hasLoadedPlugins = false
    /// How many backends are being opened by one another.
    private var depth = 0
    /// The library whose function is being asked for a table; it may load others, or itself.
    var asked: Asked?

    /// A library, and the one that has loaded it.
    final class Asked {
        let handle: UnsafeMutableRawPointer
        let before: Asked?

        init(_ handle: UnsafeMutableRawPointer, before: Asked?) {
            self.handle = handle
            self.before = before
        }

        /// Tells whether this is the library, or one of those before.
        func includes(_ handle: UnsafeMutableRawPointer) -> Bool {
            self.handle == handle || before?.includes(handle) == true
        }
    }

    /// One backend.
    package final class Backend {
        package typealias Make = @Sendable () throws(SystemError) -> any SelectorBackend

        /// It lives forever.
        let name: UnsafePointer<CChar>
        let rank: Int32
        let capabilities: BackendCapabilities
        let make: Make
        /// Its C functions, if it is made of them.
        var ops: UnsafePointer<sel_backend_ops>?
        /// The path of the library that it came with, and the loader's handle.
        var origin: UnsafePointer<CChar>?
        var handle: UnsafeMutableRawPointer?
        /// The table by which plug-ins drive it.
        private(set) lazy var hostedOps = HostedBackend.makeOps(
            name: name, rank: rank, capabilities: capabilities)
        var verdict = Verdict.untried
        /// The one after it in the order of rank.
        fileprivate(set) var next: Backend?

        enum Verdict {
            case untried
            /// It is being tried, and asks the library itself.
            case underTrial
            case available
            /// The text lives forever.
            case refused(UnsafePointer<CChar>)
        }

        fileprivate init(
            _ name: UnsafePointer<CChar>, rank: Int32, capabilities: BackendCapabilities,
            make: @escaping Make
        ) {
            self.name = name
            self.rank = rank
            self.capabilities = capabilities
            self.make = make
        }

        /// Why it cannot be used here, or `nil`.
        ///
        /// It is tried until that is known: made, and asked to wait.
        fileprivate var reason: UnsafePointer<CChar>? {
            if case .untried = verdict {
                verdict = .underTrial
                verdict = probe()
            } else if case .underTrial = verdict {
                return StaticString("it is being tried").cString
            }
            if case .refused(let reason) = verdict { return reason }
            return nil
        }

        /// Tells whether this stands for a library that could not be added.
        fileprivate func isRefused(_ path: UnsafePointer<CChar>) -> Bool {
            guard ops == nil, let origin else { return false }
            return strcmp(origin, path) == 0
        }

        private func probe() -> Verdict {
            if let ask = ops?.pointee.probe {
                let saved = platform_errno()
                defer { platform_set_errno(saved) }
                var reason: UnsafePointer<CChar>?
                let result = ask(&reason)
                if result == 0 { return .available }
                if result < 0 && result >= -4095 {
                    return verdict(on: 0 &- result, because: reason)
                }
                let breach = LastError.recordBreach(by: name, "probe", result)
                return verdict(on: breach.code, because: nil)
            }
            do throws(SystemError) {
                let instance = try make()
                defer { instance.close() }
                var event = BackendEvent()
                _ = try instance.wait(into: &event, max: 1, timeout: 0, signals: nil)
                return .available
            } catch {
                return verdict(on: error.code, because: nil)
            }
        }

        private func verdict(
            on code: Int32, because reason: UnsafePointer<CChar>?
        ) -> Verdict {
            switch code {
            // A signal, or what the process lacks now, says nothing about the system.
            case EINTR, ENOMEM, EMFILE, ENFILE: return .untried
            default:
                var words = LastError.words(of: code)
                if let reason, reason.pointee != 0 { words = reason }
                return .refused(Words.copyLine(words).map { UnsafePointer($0) } ?? name)
            }
        }
    }

    private init() {
        addBuiltIn()
    }

    /// Adds a backend, for the rest of the process; it is tried when it is first asked for.
    ///
    /// - Throws: `EEXIST` where the name is taken, `EINVAL` where the name is not made of 1 to 32
    ///   of the characters `a-z`, `0-9`, `_`, `-`, the first one a letter, or the rank is negative;
    ///   `ENOMEM`.
    @discardableResult
    package func add(
        _ name: UnsafePointer<CChar>, rank: Int32, capabilities: BackendCapabilities,
        make: @escaping Backend.Make
    ) throws(SystemError) -> Backend {
        lock.lock()
        defer { lock.unlock() }
        let bytes = UnsafeRawBufferPointer(start: name, count: strlen(name))
        guard BackendRegistry.isValid(bytes), rank >= 0 else {
            throw LastError.record(EINVAL) {
                $0.append("backend ")
                $0.append(quoting: bytes)
                $0.append(
                    rank < 0
                        ? ": its rank is negative"
                        : ": a name is 1 to 32 of a-z, 0-9, _ and -, a letter first")
            }
        }
        if find(BackendList.Name(bytes: bytes, isExcluded: false)) != nil {
            throw LastError.record(EEXIST) {
                $0.append("backend ")
                $0.append(quoting: bytes)
                $0.append(" exists already")
            }
        }
        guard let copy = platform_strdup(name) else { throw LastError.record(SystemError(ENOMEM)) }
        return insert(copy, rank: rank, capabilities: capabilities, make: make)
    }

    /// Puts a new backend, whose name is valid and lives forever, in its place.
    @discardableResult
    func insert(
        _ name: UnsafePointer<CChar>, rank: Int32, capabilities: BackendCapabilities,
        make: @escaping Backend.Make
    ) -> Backend {
        let backend = Backend(name, rank: rank, capabilities: capabilities, make: make)
        insert(backend)
        return backend
    }

    /// Lists what could not be added, under its path, and for which reason.
    func addRefused(_ path: UnsafePointer<CChar>, because reason: UnsafePointer<CChar>) {
        let old = first { $0.isRefused(path) }
        if let words = old?.reason, strcmp(words, reason) == 0 { return }
        if old != nil { removeRefused(path) }
        guard let path = platform_strdup(path), let reason = platform_strdup(reason) else { return }
        let backend = Backend(path, rank: 0, capabilities: []) { () throws(SystemError) in
            throw SystemError(ENOTSUP)
        }
        backend.origin = UnsafePointer(path)
        backend.verdict = .refused(reason)
        insert(backend)
    }

    /// Lists a path no more, whose texts somebody may still have.
    func removeRefused(_ path: UnsafePointer<CChar>) {
        var place: Backend?
        var next = best
        while let backend = next {
            next = backend.next
            if backend.isRefused(path) {
                if let place { place.next = next } else { best = next }
                backend.next = retired
                retired = backend
                return
            }
            place = backend
        }
    }

    private func insert(_ backend: Backend) {
        guard var place = best, place.rank >= backend.rank else {
            backend.next = best
            best = backend
            return
        }
        while let next = place.next, next.rank >= backend.rank { place = next }
        backend.next = place.next
        place.next = backend
    }

    private static func isValid(_ name: UnsafeRawBufferPointer) -> Bool {
        guard (1...32).contains(name.count), isLetter(name[0]) else { return false }
        for index in 1..<name.count {
            let byte = name[index]
            let isDigit = byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
            guard
                isLetter(byte) || isDigit || byte == UInt8(ascii: "_")
                    || byte == UInt8(ascii: "-")
            else { return false }
        }
        return true
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z")
    }

    /// Describes up to `max` backends, the best first, and returns how many there are.
    ///
    /// Each that was not tried yet is tried.
    package func describe(_ infos: UnsafeMutablePointer<sel_backend_info>?, max: Int32) -> Int32 {
        loadNamedPlugins()
        lock.lock()
        defer { lock.unlock() }
        var (count, next): (Int32, Backend?) = (0, best)
        while let backend = next {
            if let infos, count < max {
                infos[Int(count)] = sel_backend_info(
                    name: backend.name, reason: backend.reason, origin: backend.origin,
                    rank: backend.rank, capabilities: backend.capabilities.rawValue)
            }
            count += 1
            next = backend.next
        }
        return count
    }

    // MARK: The choice

    /// Opens a core on the backend that a list chooses; `sel_open` has the manual.
    package func open(_ list: UnsafePointer<CChar>?) throws(SystemError) -> SelectorCore {
        let (backend, instance) = try openBare(list)
        do throws(SystemError) {
            return try SelectorCore.open(
                backend: instance, name: backend.name, capabilities: backend.capabilities)
        } catch {
            throw LastError.record(error)
        }
    }

    /// Opens an instance of the backend that a list chooses, with no core around it.
    ///
    /// A plug-in that asks without a list gets the best one, whatever the environment says, for that
    /// may name the plug-in itself.
    func openBare(
        _ list: UnsafePointer<CChar>?, isPluginAsking: Bool = false
    ) throws(SystemError) -> (Backend, any SelectorBackend) {
        loadNamedPlugins()
        lock.lock()
        defer { lock.unlock() }
        // A backend may open another one, but not itself.
        guard depth < 8 else { throw LastError.record(SystemError(ELOOP)) }
        depth += 1
        defer { depth -= 1 }
        let variable = StaticString("SELECTORS_BACKEND")
        let backend: Backend
        if let list {
            backend = try choose(Choice(list, origin: "backend "))
        } else if !isPluginAsking, let list = platform_environment(variable.cString),
            list.pointee != 0
        {
            backend = try choose(Choice(list, origin: "SELECTORS_BACKEND="))
        } else {
            backend = try choose(Choice(nil, origin: "backend"))
        }
        do throws(SystemError) {
            return (backend, try backend.make())
        } catch {
            throw LastError.record(error)
        }
    }

    /// A list, and how a message calls it.
    private struct Choice {
        let origin: StaticString
        let text: UnsafeRawBufferPointer?

        init(_ list: UnsafePointer<CChar>?, origin: StaticString) {
            self.origin = origin
            text = list.map { UnsafeRawBufferPointer(start: $0, count: strlen($0)) }
        }

        var names: BackendList { BackendList(text) }
    }

    private func choose(_ choice: Choice) throws(SystemError) -> Backend {
        let names = choice.names
        if names.first(where: { $0.bytes.count == 0 }) != nil {
            throw refusal(EINVAL, of: choice) { $0.append("a name in the list is empty") }
        }
        if let unknown = names.first(where: { find($0) == nil }) {
            throw refusal(ENOENT, of: choice) {
                $0.append("there is no backend ")
                $0.append(quoting: unknown.bytes)
            }
        }
        if let backend = bestChoice(names) { return backend }
        throw refusal(ENOTSUP, of: choice) { $0.append("no such backend can be used here") }
    }

    /// The first backend of a list whose names all exist that can be used, or `nil`.
    private func bestChoice(_ names: BackendList) -> Backend? {
        if names.first(where: { !$0.isExcluded }) != nil {
            var rest = names
            while let name = rest.next() {
                if !name.isExcluded, let backend = find(name), isUsable(backend, names) {
                    return backend
                }
            }
            return nil
        }
        return first { $0.rank > 0 && isUsable($0, names) }
    }

    private func isUsable(_ backend: Backend, _ names: BackendList) -> Bool {
        names.first { $0.isExcluded && $0.matches(backend.name) } == nil && backend.reason == nil
    }

    private func find(_ name: BackendList.Name) -> Backend? {
        first { name.matches($0.name) }
    }

    /// The best backend for which something holds.
    func first(where holds: (Backend) -> Bool) -> Backend? {
        var next = best
        while let backend = next {
            if holds(backend) { return backend }
            next = backend.next
        }
        return nil
    }

    /// Tells what is wrong with a list, and which backends there are, and why some cannot be used.
    private func refusal(
        _ code: Int32, of choice: Choice, _ complaint: (inout Words) -> Void
    ) -> SystemError {
        LastError.record(code) { words in
            words.append(choice.origin)
            if let text = choice.text { words.append(quoting: text) }
            words.append(": ")
            complaint(&words)
            words.append("; available: ")
            var count = 0
            var next = best
            while let backend = next {
                next = backend.next
                if backend.reason != nil { continue }
                if count > 0 { words.append(", ") }
                words.append(text: backend.name)
                count += 1
            }
            count = 0
            next = best
            while let backend = next {
                next = backend.next
                guard let reason = backend.reason else { continue }
                words.append(count > 0 ? ", " : "; not available: ")
                words.append(text: backend.name)
                words.append(" (")
                words.append(text: reason)
                words.append(")")
                count += 1
            }
        }
    }
}
