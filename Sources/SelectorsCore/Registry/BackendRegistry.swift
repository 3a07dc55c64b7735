import CSelectorsPlatform
import CSelectors

/// The backends of this process: built in and added, probed once, ranked.
///
/// Any thread may use it. What fails leaves its words in ``LastError``.
package struct BackendRegistry {
    /// All of it is guarded by the gate's lock.
    struct State: ~Copyable {
        /// How often the thread that holds the gate has taken it: a backend's function may call back.
        var depth = 0
        let gate: Gate
        /// The first in the order of rank; among equals that is the first to be added.
        var best: BackendEntry?
        /// Those that are not listed any more.
        var retired: BackendEntry?
        /// How many of both stand for libraries that could not be added.
        var rejections = 0
        /// Whether `SELECTORS_PLUGINS` was looked at.
        var hasLoadedPlugins = false
        /// How many backends are being opened by one another.
        var opening = 0
        /// The library whose function is being asked for a table; it may load others, or itself.
        var asked: UnsafePointer<Asked>?

        init(gate: Gate) {
            self.gate = gate
        }
    }

    /// A library, and the one that has loaded it; on the stack of who asks it.
    struct Asked {
        let handle: UnsafeMutableRawPointer
        let before: UnsafePointer<Asked>?

        /// Tells whether this is the library, or one of those before.
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
    /// - Throws: Why it could not be made when the library was loaded: `ENOMEM`.
    package static func shared() throws(SystemError) -> BackendRegistry {
        do throws(SystemError) {
            return BackendRegistry(&(try Globals.get()).pointee.registry)
        } catch {
            throw LastError.record(error)
        }
    }

    /// Does something with the lock held, which the thread may have already.
    func withLock<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        if !state.pointee.gate.isOwned {
            // It fails in a child whose fork was not noticed, where nobody else is.
            try? state.pointee.gate.lock()
        }
        state.pointee.depth += 1
        defer {
            state.pointee.depth -= 1
            if state.pointee.depth == 0 { state.pointee.gate.unlock() }
        }
        return try body()
    }

    /// Adds a backend that is written in Swift, for the rest of the process; it is tried when it is
    /// first asked for.
    ///
    /// - Throws: `EEXIST` where the name is taken, `EINVAL` where the name is not made of 1 to 32
    ///   of the characters `a-z`, `0-9`, `_`, `-`, the first one a letter, or the rank is negative;
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

    /// Likewise, of any kind, with the lock held.
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

    /// Puts a new backend, whose name is valid and lives forever, in its place.
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

    /// How many rejections are listed or were: their texts live forever, and a program may try again and
    /// again.
    private static let mostRejections = 64

    /// Lists what could not be added, under its path, and for which reason; one of the first so many.
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

    /// Lists a path no more, whose texts somebody may still have.
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

    /// Describes up to `max` backends, the best first, and returns how many there are.
    ///
    /// Each that was not tried yet is tried.
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

    /// Opens a core on the backend that a list chooses; `sel_open` has the manual.
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

    /// Opens an instance of the backend that a list chooses, with no core around it.
    ///
    /// A plug-in that asks without a list gets the best one, whatever the environment says, for that
    /// may name the plug-in itself.
    func openBare(
        _ list: UnsafePointer<CChar>?, isPluginAsking: Bool = false
    ) throws(SystemError) -> (BackendEntry, Backend) {
        try LastError.prepare()
        loadNamedPlugins()
        return try withLock { () throws(SystemError) in
            // A backend may open another one, but not itself.
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

    /// The first backend of a list whose names all exist that can be used, or `nil`.
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

    /// The best backend for which something holds.
    func first(where holds: (BackendEntry) -> Bool) -> BackendEntry? {
        var next = state.pointee.best
        while let entry = next {
            if holds(entry) { return entry }
            next = entry.next
        }
        return nil
    }

    /// Tells what is wrong with a list, and which backends there are, and why some cannot be used.
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
