import CSelectorsPlatform

/// What exists once in the process.
///
/// It is made when the library is loaded, so that no call and no fork ever meets it half made. Nothing
/// global of this library is made later.
struct Globals: ~Copyable {
    var registry: BackendRegistry.State
    var forks: Forks.State
    /// What every plug-in gets.
    var host: sel_plugin_host

    /// Where it is; `nil` where there was no memory when the library was loaded.
    ///
    /// It is the only global variable beside ``LastError``'s keys and ``ThreadOrder``'s; all need no code to
    /// have a value.
    nonisolated(unsafe) fileprivate(set) static var shared: UnsafeMutablePointer<Globals>? = nil
    /// Why it was not made.
    nonisolated(unsafe) fileprivate static var failure: Int32 = ENOMEM

    /// It, or the reason why it was not made.
    static func get() throws(SystemError) -> UnsafeMutablePointer<Globals> {
        guard let shared else { throw SystemError(failure) }
        return shared
    }

    fileprivate static func make() {
        ThreadOrder.find()
        LastError.makeKeys()
        let gateSize = Gate.stateSize
        guard let memory = platform_map(2 * gateSize + MemoryLayout<Globals>.stride) else { return }
        let start = memory + Int(PLATFORM_WIPED)
        let globals = (start + 2 * gateSize).bindMemory(to: Globals.self, capacity: 1)
        globals.initialize(
            to: Globals(
                registry: BackendRegistry.State(gate: Gate.make(at: start)),
                forks: Forks.State(gate: Gate.make(at: start + gateSize)),
                host: HostedBackend.makeHost()))
        guard BackendRegistry(&globals.pointee.registry).addBuiltIn() else { return }
        let result = Forks.listen()
        if result != 0 {
            failure = result
            return
        }
        shared = globals
    }
}

/// Runs when the library is loaded, before the program's own constructors, also where it is part of
/// the program: so the handlers of a fork that it registers are the last to prepare one, and no lock
/// of the program is asked for once the library's are taken.
@section(".init_array.00101") @used
private let load: @convention(c) () -> Void = { Globals.make() }

/// Runs when the library is unloaded, as part of a module, and when the process exits: no thread that
/// ends later is to call what may be gone.
@section(".fini_array.00101") @used
private let unload: @convention(c) () -> Void = { LastError.deleteKeys() }
