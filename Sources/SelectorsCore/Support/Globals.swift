import CSelectorsPlatform

/// The global state of the library.
///
/// It is created when the library is loaded, so that no call and no fork sees it half-initialised.
/// Nothing global is created later.
struct Globals: ~Copyable {
    var registry: BackendRegistry.State
    var forks: Forks.State
    /// The functions that every plug-in receives.
    var host: sel_plugin_host

    /// The global state; `nil` if it could not be created when the library was loaded.
    ///
    /// The other global variables are ``LastError``'s keys and ``ThreadOrder``'s flag. None of
    /// them needs code to initialise it.
    nonisolated(unsafe) fileprivate(set) static var shared: UnsafeMutablePointer<Globals>? = nil
    /// The errno value if it could not be created.
    nonisolated(unsafe) fileprivate static var failure: Int32 = ENOMEM

    /// Returns the global state, or throws the reason why it could not be created.
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

/// Runs when the library is loaded, before the program's own constructors, even if it is linked
/// statically.
///
/// So its fork handlers are registered first, and run last before a fork: once they hold the
/// library's locks, no handler of the program takes another lock.
@used @c(platform_loaded)
private func loaded() {
    platform_emit_constructor()
    Globals.make()
}

/// Runs when the library is unloaded, as part of a module, and when the process exits.
///
/// A thread that ends later must not call a destructor that may be unmapped.
@used @c(platform_unloaded)
private func unloaded() { LastError.deleteKeys() }
