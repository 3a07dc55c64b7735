// The same calls as for file objects, for plain file descriptors: they accept an integer literal,
// as in `register(0, events: .read)`.

extension BaseSelector {
    /// Starts to watch a file descriptor for events, and returns its key.
    ///
    /// See ``register(_:events:data:)-(FileObject,_,_)``.
    @discardableResult
    @inlinable
    public final func register(
        _ fd: Int32, events: EventMask, data: Data
    ) throws(SelectorError) -> SelectorKey<Data> {
        try engine.validate(events)
        return try add(SelectorKey(nil, fd: fd, events: events, data: data))
    }

    /// Changes the events and the data of a registered file descriptor; returns the new key.
    ///
    /// See ``modify(_:events:data:)-(FileObject,_,_)``.
    @discardableResult
    @inlinable
    public final func modify(
        _ fd: Int32, events: EventMask, data: Data
    ) throws(SelectorError) -> SelectorKey<Data> {
        try modify(descriptor(fd), events: events, data: data)
    }

    /// Changes only the data of a registered file descriptor; returns the new key.
    ///
    /// See ``modify(_:data:)-(FileObject,_)``.
    @discardableResult
    @inlinable
    public final func modify(_ fd: Int32, data: Data) throws(SelectorError) -> SelectorKey<Data> {
        try modify(descriptor(fd), data: data)
    }

    /// Unregisters a file descriptor and returns its key; it may be closed already.
    ///
    /// See ``unregister(_:)-(FileObject)``.
    @discardableResult
    @inlinable
    public final func unregister(_ fd: Int32) throws(SelectorError) -> SelectorKey<Data> {
        try unregister(descriptor(fd))
    }

    /// Returns the key of a registered file descriptor, which may be closed already.
    ///
    /// See ``key(of:)-(FileObject)``.
    @inlinable
    public final func key(of fd: Int32) throws(SelectorError) -> SelectorKey<Data> {
        try key(of: descriptor(fd))
    }

    /// Converts the descriptor to the type that the overload for file objects takes.
    @inlinable
    final func descriptor(_ fd: Int32) -> some FileObject { fd }
}

extension BaseSelector where Data == Void {
    /// Starts to watch a file descriptor, with nothing attached.
    @discardableResult
    public func register(
        _ fd: Int32, events: EventMask
    ) throws(SelectorError) -> SelectorKey<Data> {
        try register(fd, events: events, data: ())
    }

    /// Changes the events of a registered file descriptor.
    @discardableResult
    public func modify(
        _ fd: Int32, events: EventMask
    ) throws(SelectorError) -> SelectorKey<Data> {
        try modify(fd, events: events, data: ())
    }
}

extension BaseSelector where Data: ExpressibleByNilLiteral {
    /// Starts to watch a file descriptor, with `nil` attached.
    @discardableResult
    public func register(
        _ fd: Int32, events: EventMask
    ) throws(SelectorError) -> SelectorKey<Data> {
        try register(fd, events: events, data: nil)
    }

    /// Changes the events of a registered file descriptor; its data becomes `nil`.
    @discardableResult
    public func modify(
        _ fd: Int32, events: EventMask
    ) throws(SelectorError) -> SelectorKey<Data> {
        try modify(fd, events: events, data: nil)
    }
}

extension SelectorMap {
    /// The key of a registered file descriptor, or `nil`.
    ///
    /// - Complexity: O(1).
    public subscript(fd: Int32) -> SelectorKey<Data>? {
        try? selector.key(of: fd)
    }

    /// Returns whether a file descriptor is registered.
    ///
    /// - Complexity: O(1).
    public func contains(_ fd: Int32) -> Bool {
        self[fd] != nil
    }
}
