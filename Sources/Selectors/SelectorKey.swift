/// A registration: what `register` was told.
///
/// The C type is `sel_key`.
public struct SelectorKey<Data> {
    /// What was registered, unless that is the descriptor: so a key is copied at little cost.
    @usableFromInline let box: FileObjectBox?
    /// Its descriptor at the time of registration.
    public let fd: Int32
    /// What it is watched for.
    public let events: EventMask
    /// What was attached to it.
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
    /// What it is ready for: never empty, never more than `key.events`.
    public let events: EventMask
    /// Why it is ready beyond the usual; mostly empty.
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
