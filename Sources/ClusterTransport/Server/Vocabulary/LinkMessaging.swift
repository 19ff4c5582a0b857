#if Server
public import ClusterMembership
public import ClusterRole

/// What the link carries of messages and of the replicated state.
public struct LinkMessaging: Sendable {
    /// The coordinator's end of messages.
    public var messenger: ClusterMessenger
    /// The replicated state as this manager knows it; of one signal with ``messenger``.
    public var state: SharedState

    public init(messenger: ClusterMessenger, state: SharedState) {
        self.messenger = messenger
        self.state = state
    }
}

/// What a worker gets when it asks for its messages.
///
/// Its binary form: the page of messages, then one byte whether a delta of the state follows, and that.
public struct LinkMessagePage: Hashable, Sendable {
    /// The coordinator's.
    public var epoch: Epoch
    public var page: MessagePage
    /// What the worker's copy of the replicated state lacks; `nil` if nothing.
    public var state: SharedStateDelta?

    public init(epoch: Epoch, page: MessagePage, state: SharedStateDelta?) {
        self.epoch = epoch
        self.page = page
        self.state = state
    }

    /// The bytes that travel.
    public func encoded() -> [UInt8] {
        var bytes = MessageCoding.encode(page, epoch: epoch)
        bytes.append(state == nil ? 0 : 1)
        if let state { bytes += SharedStateCoding.encode(state) }
        return bytes
    }

    /// Reads what ``encoded()`` wrote.
    ///
    /// - Throws: `ClusterRoleError` with code `malformed`.
    public init(decoding bytes: [UInt8]) throws(ClusterRoleError) {
        var reader = ByteReader(bytes)
        (page, epoch) = try MessageCoding.decodePage(&reader)
        state = try reader.readBool() ? try SharedStateCoding.decode(&reader) : nil
        try reader.expectEnd()
    }
}
#endif
