internal import ArtifactStore
internal import ClusterMembership
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import Synchronization

/// The store of a simulation: every in-memory driver on one ledger, on a machine of its own that can
/// be cut off and paused, as a database server is.
struct SimulatedStore: Sendable {
    let ledger: InMemoryLedger
    let devices: InMemoryDeviceStorage
    let operations: InMemoryOperationStorage
    let releases: InMemoryReleaseStorage
    let leases: InMemoryLeaseStore
    let node: SimulatedNode

    init(node: SimulatedNode, random: SeededRandomSource) {
        let ledger = InMemoryLedger(history: HistoryID(from: random))
        devices = InMemoryDeviceStorage(ledger: ledger)
        operations = InMemoryOperationStorage(ledger: ledger, devices: devices)
        releases = InMemoryReleaseStorage(ledger: ledger)
        leases = InMemoryLeaseStore(ledger: ledger, clock: node.clock)
        self.ledger = ledger
        self.node = node
    }
}

/// Carries a manager's calls to the store: over the network, past the store's own errors, and past the
/// witness.
struct StoreConnection: CallCarrier {
    let life: SimulatedLife
    let world: SimulatedCluster
    /// The writer's; `nil` for reads and for the lease, which has no epoch yet.
    let epoch: Epoch?

    func carry<Result: Sendable>(
        _ method: DriverMethod,
        _ call: () async throws -> Result
    ) async throws -> Result {
        let (node, store, witness) = (life.node, world.store, world.witness)
        try await node.point(of: life)
        return try await node.network.carry(
            "store",
            from: node.id,
            to: store.node.id,
            clock: node.clock,
            within: .seconds(2)
        ) {
            guard store.node.isRunning else { throw SimulatedFault(.unreachable) }
            let fails = node.random.happens(world.storeErrors)
            let isAfter = node.random.happens(0.5)
            if fails, !isAfter {
                node.trace.note("the store refused", at: node.id, 0, isFault: true)
                throw SimulatedFault(.diskError)
            }
            let before = store.ledger.revision.number
            let result = try await call()
            // A write that has nothing to do any more is accepted or not, like all others.
            let isWrite =
                Self.guarded.contains(method) || store.ledger.revision.number > before
            if let epoch, isWrite {
                witness.onWrite(by: node.id, epoch: epoch, current: store.ledger.epoch)
            }
            try await look(at: result)
            if fails {
                node.trace.note("the store's answer failed", at: node.id, 0, isFault: true)
                throw SimulatedFault(.diskError)
            }
            return result
        }
    }

    /// What compares the epoch.
    private static let guarded: Set<DriverMethod> = [
        .enqueue, .change, .command, .cancelAll, .fireTimers, .apply, .clearUploads,
        "appendRelease", "recordRelease",
    ]

    private func look<Result>(at result: Result) async throws {
        let (store, witness) = (world.store, world.witness)
        if let receipt = result as? ApplyReceipt { witness.onApplied(receipt) }
        if let receipt = result as? EnqueueReceipt,
            let activity = try await store.operations.activity(
                receipt.activity,
                tenant: .standard
            )
        {
            witness.onEnqueued(activity.operation)
        }
    }
}

/// A `ReleaseStorage` whose calls go through a ``FaultScript``.
struct CarriedReleaseStorage: ReleaseStorage {
    let base: any ReleaseStorage
    let script: FaultScript

    func append(
        _ release: PublishedRelease,
        after previous: ReleaseNumber?,
        epoch: Epoch
    ) async throws -> Revision {
        try await script.around("appendRelease") {
            try await base.append(release, after: previous, epoch: epoch)
        }
    }

    func latest(of channel: ChannelName, tenant: TenantID) async throws -> StoredRelease? {
        try await script.around("latestRelease") {
            try await base.latest(of: channel, tenant: tenant)
        }
    }

    func releases(
        of channel: ChannelName,
        tenant: TenantID,
        before: ReleaseNumber?,
        limit: Int
    ) async throws -> [StoredRelease] {
        try await script.around("releases") {
            try await base.releases(of: channel, tenant: tenant, before: before, limit: limit)
        }
    }

    func channels(
        of tenant: TenantID,
        after: ChannelName?,
        limit: Int
    ) async throws -> [ChannelName] {
        try await script.around("channels") {
            try await base.channels(of: tenant, after: after, limit: limit)
        }
    }

    func record(
        _ acknowledgement: AppliedRelease,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Revision {
        try await script.around("recordRelease") {
            try await base.record(acknowledgement, tenant: tenant, epoch: epoch)
        }
    }

    func acknowledgements(
        of channel: ChannelName,
        tenant: TenantID
    ) async throws -> [AppliedRelease] {
        try await script.around("acknowledgements") {
            try await base.acknowledgements(of: channel, tenant: tenant)
        }
    }
}
