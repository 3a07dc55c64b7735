// The names of Python's `selectors` that differ from Swift's.

extension BaseSelector {
    // swift-format-ignore: AlwaysUseLowerCamelCase
    /// Returns the key of a registered file object: Python's name for ``key(of:)-(FileObject)``.
    ///
    /// - Throws: `.invalidFileDescriptor`, `.notRegistered`, `.closed`.
    public final func get_key(
        _ fileObject: some FileObject
    ) throws(SelectorError) -> SelectorKey<Data> {
        try key(of: fileObject)
    }

    // swift-format-ignore: AlwaysUseLowerCamelCase
    /// Returns the key of a registered file descriptor: Python's name for ``key(of:)-(Int32)``.
    ///
    /// - Throws: `.invalidFileDescriptor`, `.notRegistered`, `.closed`.
    public final func get_key(_ fd: Int32) throws(SelectorError) -> SelectorKey<Data> {
        try key(of: fd)
    }

    // swift-format-ignore: AlwaysUseLowerCamelCase
    /// Returns a live, read-only view of all registrations: Python's name for ``keys``.
    ///
    /// - Throws: `.closed`; ``keys`` is empty in this case.
    public final func get_map() throws(SelectorError) -> SelectorMap<Data> {
        try engine.checkOpen()
        return keys
    }
}
