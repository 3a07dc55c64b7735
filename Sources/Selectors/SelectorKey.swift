/// A registration: what `register` was told.
///
/// The C type is `sel_key`.
public struct SelectorKey<Data> {
    /// The object that was registered.
    public let fileObject: any FileObject
    /// Its descriptor at the time of registration.
    public let fd: Int32
    /// What it is watched for.
    public let events: EventMask
    /// What was attached to it.
    public let data: Data
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
}

extension SelectorKey: Sendable where Data: Sendable {}
extension ReadyEvent: Sendable where Data: Sendable {}
