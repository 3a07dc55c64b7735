/// A registration, with the arguments of `register`.
///
/// The C type is `sel_key`.
public struct SelectorKey<Data> {
    /// The file object, or `nil` if it is the descriptor, so that a key is cheap to copy.
    @usableFromInline let box: FileObjectBox?
    /// The descriptor at the time of registration.
    public let fd: Int32
    /// The events for which it is watched.
    public let events: EventMask
    /// The attached data.
    public let data: Data

    /// The object that was registered.
    @inlinable public var fileObject: any FileObject { box?.fileObject ?? fd }

    @inlinable
    init(_ box: FileObjectBox?, fd: Int32, events: EventMask, data: Data) {
        self.box = box
        self.fd = fd
        self.events = events
        self.data = data
    }
}

/// A registered file object that is ready.
///
/// The C type is `sel_event`.
public struct ReadyEvent<Data> {
    /// The registration.
    public let key: SelectorKey<Data>
    /// The events for which it is ready: a subset of `key.events`, never empty.
    public let events: EventMask
    /// Additional causes; usually empty.
    public let detail: EventDetail

    @inlinable
    init(key: SelectorKey<Data>, events: EventMask, detail: EventDetail) {
        self.key = key
        self.events = events
        self.detail = detail
    }
}

extension SelectorKey: Sendable where Data: Sendable {}
extension ReadyEvent: Sendable where Data: Sendable {}
