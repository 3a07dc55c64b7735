import CSelectorsPlatform
import CSelectors

/// The backends of this process: built in and added, probed once, ranked.
///
/// Any thread may use it. A failed call leaves its message in ``LastError``.
package struct BackendRegistry {
    /// Guarded by the gate's lock.
    struct State: ~Copyable {
        /// The recursion depth of the lock: a backend's function may call the library again.
        var depth = 0
        let gate: Gate
        /// The first entry, by descending rank; entries of equal rank are in the order of
        /// addition.
        var best: BackendEntry?
        /// Entries that are no longer listed.
        var retired: BackendEntry?
        /// The number of entries for rejected plug-ins, in both lists.
        var rejections = 0
        /// Whether `SELECTORS_PLUGINS` was processed.
        var hasLoadedPlugins = false
        /// The nesting depth of backends that open one another.
        var opening = 0
        /// The library whose `sel_plugin` is running; it may load other libraries, or itself.
        var asked: UnsafePointer<Asked>?

        init(gate: Gate) {
            self.gate = gate
        }
    }

    /// A library whose `sel_plugin` is running, and the one that loaded it; on its caller's stack.
    struct Asked {
        let handle: UnsafeMutableRawPointer
        let before: UnsafePointer<Asked>?

        /// Returns whether the handle is that of this library or of an outer one.
        func includes(_ handle: UnsafeMutableRawPointer) -> Bool {
            self.handle == handle || before?.pointee.includes(handle) == true
        }
    }

    let state: UnsafeMutablePointer<State>

    init(_ state: UnsafeMutablePointer<State>) {
        self.state = state
    }

    /// The registry of the process.
    ///
    /// - Throws: The error that prevented its creation when the library was loaded: `ENOMEM`.
    package static func shared() throws(SystemError) -> BackendRegistry {
        do throws(SystemError) {
            return BackendRegistry(&(try Globals.get()).pointee.registry)
        } catch {
            throw LastError.record(error)
        }
    }

    /// Calls a closure with the lock held; the lock is recursive.
    func withLock<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        if !state.pointee.gate.isOwned {
            // It fails only in a child whose fork went unnoticed, which has no other thread.
            try? state.pointee.gate.lock()
        }
        state.pointee.depth += 1
        defer {
            state.pointee.depth -= 1
            if state.pointee.depth == 0 { state.pointee.gate.unlock() }
        }
        return try body()
    }

    /// Adds a backend that is written in Swift, for the rest of the process.
    ///
    /// It is probed on first use.
    ///
    /// - Throws: `EEXIST` if the name is taken; `EINVAL` if the name is not 1 to 32 of the
    ///   characters `a-z`, `0-9`, `_`, `-` with a letter first, or if the rank is negative;
    ///   `ENOMEM`.
    package func add(
        _ name: UnsafePointer<CChar>, rank: Int32, capabilities: BackendCapabilities,
        make: @escaping @Sendable () throws(SystemError) -> any SelectorBackend
    ) throws(SystemError) {
        try LastError.prepare()
        _ = try withLock { () throws(SystemError) in
            try add(name, rank: rank, capabilities: capabilities, maker: .custom(CustomMaker(make)))
        }
    }

    /// Adds a backend of any kind; the lock must be held.
    @discardableResult
    func add(
        _ name: UnsafePointer<CChar>, rank: Int32, capabilities: BackendCapabilities,
        maker: BackendMaker
    ) throws(SystemError) -> BackendEntry {
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
        do throws(SystemError) {
            return try insert(copy, rank: rank, capabilities: capabilities, maker: maker)
        } catch {
            free(copy)
            throw LastError.record(error)
        }
    }

    /// Inserts a new backend at its rank; the name must be valid and is never freed.
    @discardableResult
    func insert(
        _ name: UnsafePointer<CChar>, rank: Int32, capabilities: BackendCapabilities,
        maker: BackendMaker
    ) throws(SystemError) -> BackendEntry {
        let entry = try BackendEntry.make(
            name, rank: rank, capabilities: capabilities, maker: maker)
        insert(entry)
        return entry
    }

    /// The maximum number of entries for rejected plug-ins.
    ///
    /// Their texts are never freed, and a program may retry forever.
    private static let mostRejections = 64

    /// Lists a plug-in that could not be added, with the reason, unless the list is full.
    func addRefused(_ path: UnsafePointer<CChar>, because reason: UnsafePointer<CChar>) {
        let old = first { $0.isRejected(path) }
        if let words = old?.reason, strcmp(words, reason) == 0 { return }
        guard state.pointee.rejections < BackendRegistry.mostRejections else { return }
        if old != nil { removeRefused(path) }
        let (path, reason) = (platform_strdup(path), platform_strdup(reason))
        guard let path, let reason,
            let entry = try? BackendEntry.make(path, rank: 0, capabilities: [], maker: .none)
        else {
            free(path)
            free(reason)
            return
        }
        state.pointee.rejections += 1
        entry.state.pointee.origin = UnsafePointer(path)
        entry.state.pointee.verdict = .unavailable(reason)
        insert(entry)
    }

    /// Removes a rejected plug-in from the list, but keeps its texts, which may be in use.
    func removeRefused(_ path: UnsafePointer<CChar>) {
        var place: BackendEntry?
        var next = state.pointee.best
        while let entry = next {
            next = entry.next
            if entry.isRejected(path) {
                if let place { place.state.pointee.next = next } else { state.pointee.best = next }
                entry.state.pointee.next = state.pointee.retired
                state.pointee.retired = entry
                return
            }
            place = entry
        }
    }

    private func insert(_ entry: BackendEntry) {
        guard var place = state.pointee.best, place.rank >= entry.rank else {
            entry.state.pointee.next = state.pointee.best
            state.pointee.best = entry
            return
        }
        while let next = place.next, next.rank >= entry.rank { place = next }
        entry.state.pointee.next = place.next
        place.state.pointee.next = entry
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

    /// Describes up to `max` backends, best first, and returns the number of backends.
    ///
    /// Backends that were not probed yet are probed.
    package func describe(_ infos: UnsafeMutablePointer<sel_backend_info>?, max: Int32) -> Int32 {
        loadNamedPlugins()
        return withLock {
            var (count, next): (Int32, BackendEntry?) = (0, state.pointee.best)
            while let entry = next {
                if let infos, count < max {
                    infos[Int(count)] = sel_backend_info(
                        name: entry.name, reason: entry.reason,
                        origin: entry.state.pointee.origin, rank: entry.rank,
                        capabilities: entry.capabilities.rawValue)
                }
                count += 1
                next = entry.next
            }
            return count
        }
    }

    // MARK: The choice

    /// Opens a core on the backend that a list selects; see `sel_open`.
    package func open(_ list: UnsafePointer<CChar>?) throws(SystemError) -> SelectorCore {
        let generation = Forks.generation
        let (entry, backend) = try openBare(list)
        do throws(SystemError) {
            return try SelectorCore.open(
                backend: backend, name: entry.name, capabilities: entry.capabilities,
                since: generation)
        } catch {
            throw Explanation.record(
                error, opening: "eventfd and pipe2, or their watch, were refused")
        }
    }

    /// Opens an instance of the backend that a list selects, without a core.
    ///
    /// A plug-in that gives no list gets the best backend. `SELECTORS_BACKEND` is ignored then,
    /// because it may name the plug-in itself.
    func openBare(
        _ list: UnsafePointer<CChar>?, isPluginAsking: Bool = false
    ) throws(SystemError) -> (BackendEntry, Backend) {
        try LastError.prepare()
        loadNamedPlugins()
        return try withLock { () throws(SystemError) in
            // A backend may open another one, but a cycle must end.
            guard state.pointee.opening < 8 else { throw LastError.record(SystemError(ELOOP)) }
            state.pointee.opening += 1
            defer { state.pointee.opening -= 1 }
            let entry = try choose(choice(list, isPluginAsking: isPluginAsking))
            do throws(SystemError) {
                return (entry, try entry.makeBackend())
            } catch {
                throw Explanation.record(error, opening: entry.openingCall)
            }
        }
    }

    private func choice(_ list: UnsafePointer<CChar>?, isPluginAsking: Bool) -> Choice {
        if let list { return Choice(list, origin: "backend ") }
        let variable = StaticString("SELECTORS_BACKEND")
        if !isPluginAsking, let list = platform_environment(variable.cString), list.pointee != 0 {
            return Choice(list, origin: "SELECTORS_BACKEND=")
        }
        return Choice(nil, origin: "backend")
    }

    /// A list, and its origin as error messages name it.
    private struct Choice {
        let origin: StaticString
        let text: UnsafeRawBufferPointer?

        init(_ list: UnsafePointer<CChar>?, origin: StaticString) {
            self.origin = origin
            text = list.map { UnsafeRawBufferPointer(start: $0, count: strlen($0)) }
        }

        var names: BackendList { BackendList(text) }
    }

    private func choose(_ choice: Choice) throws(SystemError) -> BackendEntry {
        let names = choice.names
        if names.first(where: { $0.bytes.count == 0 }) != nil {
            throw choiceError(EINVAL, of: choice) { $0.append("a name in the list is empty") }
        }
        if let unknown = names.first(where: { find($0) == nil }) {
            throw choiceError(ENOENT, of: choice) {
                $0.append("there is no backend ")
                $0.append(quoting: unknown.bytes)
            }
        }
        if let entry = bestChoice(names) { return entry }
        throw choiceError(ENOTSUP, of: choice) { $0.append("none of these is available") }
    }

    /// The first usable backend of a list whose names all exist, or `nil`.
    private func bestChoice(_ names: BackendList) -> BackendEntry? {
        if names.first(where: { !$0.isExcluded }) != nil {
            var rest = names
            while let name = rest.next() {
                if !name.isExcluded, let entry = find(name), isUsable(entry, names) {
                    return entry
                }
            }
            return nil
        }
        return first { $0.rank > 0 && isUsable($0, names) }
    }

    @inline(never)
    private func isUsable(_ entry: BackendEntry, _ names: BackendList) -> Bool {
        names.first { $0.isExcluded && $0.matches(entry.name) } == nil && entry.reason == nil
    }

    @inline(never)
    private func find(_ name: BackendList.Name) -> BackendEntry? {
        first { name.matches($0.name) }
    }

    /// The best backend that satisfies a predicate, or `nil`.
    func first(where holds: (BackendEntry) -> Bool) -> BackendEntry? {
        var next = state.pointee.best
        while let entry = next {
            if holds(entry) { return entry }
            next = entry.next
        }
        return nil
    }

    /// Records what is wrong with a list, the available backends, and why others are unavailable.
    private func choiceError(
        _ code: Int32, of choice: Choice, _ complaint: (inout Words) -> Void
    ) -> SystemError {
        LastError.record(code) { words in
            words.append(choice.origin)
            if let text = choice.text { words.append(quoting: text) }
            words.append(": ")
            complaint(&words)
            words.append("; available: ")
            var count = 0
            var next = state.pointee.best
            while let entry = next {
                next = entry.next
                if entry.reason != nil { continue }
                if count > 0 { words.append(", ") }
                words.append(text: entry.name)
                count += 1
            }
            count = 0
            next = state.pointee.best
            while let entry = next {
                next = entry.next
                guard let reason = entry.reason else { continue }
                words.append(count > 0 ? ", " : "; not available: ")
                words.append(text: entry.name)
                words.append(" (")
                words.append(text: reason)
                words.append(")")
                count += 1
            }
        }
    }
}
