public import ClusterRole

/// Takes what devices report straight into a store: for combined nodes, tests, and products with a
/// device protocol of their own.
public struct InProcessInbox: DeviceInbox {
    private let storage: any OperationStorage
    private let capability: WriteCapability
    private let clock: any TimeSource

    public init(
        storage: any OperationStorage,
        capability: WriteCapability,
        clock: any TimeSource = SystemTimeSource()
    ) {
        self.storage = storage
        self.capability = capability
        self.clock = clock
    }

    /// Applies the entries in one guarded write.
    ///
    /// - Throws: `ClusterRoleError` with code `revoked` or `fenced` once this node is no longer the
    ///   coordinator.
    public func accept(_ entries: [InboxEntry]) async throws {
        _ = try await storage.apply(
            entries.map { SpooledEntry(number: 0, entry: $0) },
            from: nil,
            epoch: capability.requireEpoch(),
            at: clock.now()
        )
    }
}
