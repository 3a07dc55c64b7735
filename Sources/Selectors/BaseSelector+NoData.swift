extension BaseSelector where Data == Void {
    /// Starts to watch a file object, with nothing attached.
    @discardableResult
    public func register(
        _ fileObject: some FileObject, events: EventMask
    ) throws(SelectorError) -> SelectorKey<Data> {
        try register(fileObject, events: events, data: ())
    }

    /// Changes the events of a registered file object.
    @discardableResult
    public func modify(
        _ fileObject: some FileObject, events: EventMask
    ) throws(SelectorError) -> SelectorKey<Data> {
        try modify(fileObject, events: events, data: ())
    }
}

extension BaseSelector where Data: ExpressibleByNilLiteral {
    /// Starts to watch a file object, with `nil` attached.
    @discardableResult
    public func register(
        _ fileObject: some FileObject, events: EventMask
    ) throws(SelectorError) -> SelectorKey<Data> {
        try register(fileObject, events: events, data: nil)
    }

    /// Changes the events of a registered file object; its data becomes `nil`.
    @discardableResult
    public func modify(
        _ fileObject: some FileObject, events: EventMask
    ) throws(SelectorError) -> SelectorKey<Data> {
        try modify(fileObject, events: events, data: nil)
    }
}
