// The calls that take a file object, once more for a plain file descriptor: with these an integer
// literal can be written, as in `register(0, events: .read)`.

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

    /// Changes what a registered file descriptor is watched for, and its data; returns the new key.
    ///
    /// See ``modify(_:events:data:)-(FileObject,_,_)``.
    @discardableResult
    @inlinable
    public final func modify(
        _ fd: Int32, events: EventMask, data: Data
    ) throws(SelectorError) -> SelectorKey<Data> {
        try modify(descriptor(fd), events: events, data: data)
    }

    /// Changes the data of a registered file descriptor, and nothing else; returns the new key.
    ///
    /// See ``modify(_:data:)-(FileObject,_)``.
    @discardableResult
    @inlinable
    public final func modify(_ fd: Int32, data: Data) throws(SelectorError) -> SelectorKey<Data> {
        try modify(descriptor(fd), data: data)
    }

    /// Forgets a file descriptor and returns its key; it may be closed by now.
    ///
    /// See ``unregister(_:)-(FileObject)``.
    @discardableResult
    @inlinable
    public final func unregister(_ fd: Int32) throws(SelectorError) -> SelectorKey<Data> {
        try unregister(descriptor(fd))
    }

    /// Returns the key of a registered file descriptor, which may be closed by now.
    ///
    /// See ``key(of:)-(FileObject)``.
    @inlinable
    public final func key(of fd: Int32) throws(SelectorError) -> SelectorKey<Data> {
        try key(of: descriptor(fd))
    }

    /// The descriptor as the overload for file objects takes it.
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

    /// Changes what a registered file descriptor is watched for.
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

    /// Changes what a registered file descriptor is watched for; its data becomes `nil`.
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

    /// Tells whether a file descriptor is registered.
    ///
    /// - Complexity: O(1).
    public func contains(_ fd: Int32) -> Bool {
        self[fd] != nil
    }
}
