import CSelectorsPlatform
import CSelectors

/// How the registry makes a backend.
enum BackendMaker {
    case epoll, kqueue, devpoll, poll, select
    /// With the functions of a plug-in's table, which is never freed.
    case plugin(UnsafePointer<sel_backend_ops>)
    /// With the closure of a Swift program; the object is never released.
    case custom(CustomMaker)
    /// Cannot be made; the entry is only listed, with the reason.
    case none

    func makeBackend() throws(SystemError) -> Backend {
        switch self {
        case .epoll: try EpollBackend.make()
        case .kqueue: try KqueueBackend.make()
        case .devpoll: try DevpollBackend.make()
        case .poll: try PollBackend.make()
        case .select: try SelectBackend.make()
        case .plugin(let ops): try PluginBackend.make(ops)
        case .custom(let maker): try CustomBackend.make(try maker.make())
        case .none: throw SystemError(ENOTSUP)
        }
    }

    /// The system calls that an error message names if opening the backend fails, or waiting
    /// fails.
    var calls: (opening: StaticString, waiting: StaticString) {
        switch self {
        case .epoll: ("epoll_create1", "epoll_wait")
        case .kqueue: ("kqueue", "kevent")
        case .devpoll: ("open /dev/poll", "DP_POLL")
        case .poll: ("", "poll")
        case .select: ("", "pselect, select")
        case .plugin, .custom, .none: ("", "")
        }
    }
}

/// The closure with which a Swift program makes its own backends.
final class CustomMaker: Sendable {
    let make: @Sendable () throws(SystemError) -> any SelectorBackend

    init(_ make: @escaping @Sendable () throws(SystemError) -> any SelectorBackend) {
        self.make = make
    }
}

/// One entry of the registry, never freed.
struct BackendEntry {
    struct State: ~Copyable {
        /// Never freed.
        let name: UnsafePointer<CChar>
        let rank: Int32
        let capabilities: BackendCapabilities
        let maker: BackendMaker
        /// The path of the plug-in that provided it, and the dynamic loader's handle.
        var origin: UnsafePointer<CChar>?
        var handle: UnsafeMutableRawPointer?
        /// The table through which plug-ins call it; `nil` until a plug-in requests it.
        var hostedOps: UnsafePointer<sel_backend_ops>?
        var verdict = Verdict.untried
        /// The next entry in rank order.
        var next: BackendEntry?

        init(
            _ name: UnsafePointer<CChar>, rank: Int32, capabilities: BackendCapabilities,
            maker: BackendMaker
        ) {
            self.name = name
            self.rank = rank
            self.capabilities = capabilities
            self.maker = maker
        }
    }

    enum Verdict {
        case untried
        /// The probe is running. It may call this library again.
        case underTrial
        case available
        /// The text is never freed.
        case unavailable(UnsafePointer<CChar>)
    }

    let state: UnsafeMutablePointer<State>

    static func make(
        _ name: UnsafePointer<CChar>, rank: Int32, capabilities: BackendCapabilities,
        maker: BackendMaker
    ) throws(SystemError) -> BackendEntry {
        BackendEntry(
            state: try .make(State(name, rank: rank, capabilities: capabilities, maker: maker)))
    }

    var name: UnsafePointer<CChar> { state.pointee.name }
    var rank: Int32 { state.pointee.rank }
    var capabilities: BackendCapabilities { state.pointee.capabilities }
    var next: BackendEntry? { state.pointee.next }

    /// The system call that an error message names if opening fails.
    var openingCall: StaticString { state.pointee.maker.calls.opening }

    @inline(never)
    func makeBackend() throws(SystemError) -> Backend {
        try state.pointee.maker.makeBackend()
    }

    /// Why the backend cannot be used here, or `nil` if it can.
    ///
    /// The first call probes the backend: it calls the plug-in's `probe`, or opens an instance and
    /// waits once with a timeout of 0. A temporary failure is not kept.
    var reason: UnsafePointer<CChar>? {
        if case .untried = state.pointee.verdict {
            state.pointee.verdict = .underTrial
            state.pointee.verdict = probe()
        } else if case .underTrial = state.pointee.verdict {
            return StaticString("it is being tried").cString
        }
        if case .unavailable(let reason) = state.pointee.verdict { return reason }
        return nil
    }

    /// Returns whether this entry stands for a plug-in that could not be added.
    func isRejected(_ path: UnsafePointer<CChar>) -> Bool {
        guard case .none = state.pointee.maker, let origin = state.pointee.origin else {
            return false
        }
        return strcmp(origin, path) == 0
    }

    @inline(never)
    private func probe() -> Verdict {
        if case .plugin(let ops) = state.pointee.maker, let ask = ops.pointee.probe {
            let saved = platform_errno()
            defer { platform_set_errno(saved) }
            var reason: UnsafePointer<CChar>?
            let cancellation = platform_forbid_cancellation()
            let result = ask(&reason)
            platform_allow_cancellation(cancellation)
            if result == 0 { return .available }
            if result < 0 && result >= -4095 {
                return verdict(on: 0 &- result, because: reason)
            }
            let breach = LastError.recordBreach(by: name, "probe", result)
            return verdict(on: breach.code, because: nil)
        }
        var call = openingCall
        do throws(SystemError) {
            let backend = try makeBackend()
            defer { backend.close() }
            call = state.pointee.maker.calls.waiting
            var event = BackendEvent()
            _ = try backend.wait(into: &event, max: 1, timeout: 0, signals: nil)
            return .available
        } catch {
            return verdict(on: error.code, of: call)
        }
    }

    /// The verdict after a required system call has failed.
    private func verdict(on code: Int32, of call: StaticString) -> Verdict {
        guard call.utf8CodeUnitCount > 0, let memory = platform_calloc(1, Words.size) else {
            return verdict(on: code, because: nil)
        }
        defer { free(memory) }
        let text = memory.bindMemory(to: CChar.self, capacity: Words.size)
        var words = Words(at: text)
        words.append(call)
        words.append(": ")
        words.append(text: LastError.words(of: code))
        return verdict(on: code, because: text)
    }

    private func verdict(on code: Int32, because reason: UnsafePointer<CChar>?) -> Verdict {
        switch code {
        // A signal or a resource shortage says nothing about the system: probe again later.
        case EINTR, ENOMEM, EMFILE, ENFILE: return .untried
        default:
            var words = LastError.words(of: code)
            if let reason, reason.pointee != 0 { words = reason }
            return .unavailable(Words.copyLine(words).map { UnsafePointer($0) } ?? name)
        }
    }
}
