public import ArtifactStore
public import ClusterMembership
public import ClusterRole
public import DeviceRegistry
public import NotificationDispatch
public import OperationQueue

/// The drivers of one empty store, as a conformance suite takes them.
///
/// A suite asks its factory for a new one for every step and closes it afterwards. Drivers that are
/// `nil` are capabilities the store does not have: the steps that need them are skipped, and the
/// ``ConformanceReport`` says so.
///
/// ```swift
/// let suite = OperationStorageConformance {
///     let store = try await MyStore.temporary()
///     var subject = StoreUnderTest(
///         devices: store.devices,
///         operations: store.operations,
///         newEpoch: { try await store.raiseEpoch() }
///     )
///     subject.wakes = store.wakes
///     subject.close = { try await store.close() }
///     return subject
/// }
/// print(try await suite.run())
/// ```
public struct StoreUnderTest: Sendable {
    public var devices: any DeviceStorage
    public var operations: any OperationStorage
    public var events: (any EventReader)?
    public var replicas: (any ReplicaSource)?
    public var wakes: (any WakeStorage)?
    public var webhooks: (any WebhookStorage)?
    public var log: (any RevisionLog)?
    public var members: (any MemberRegistry)?
    public var taskSlots: (any TaskSlotStorage)?
    public var tasks: (any PeriodicTaskStorage)?
    public var compliance: (any ComplianceStorage)?
    public var leases: (any LeaseStore)?
    public var retention: (any RetentionStorage)?
    public var quotas: (any QuotaStorage)?
    public var releases: (any ReleaseStorage)?
    public var rollouts: (any RolloutStorage)?
    public var messages: (any MessageLog)?
    public var sharedState: (any SharedStateStorage)?
    public var audit: (any AuditLog)?
    public var identities: (any IdentityStorage)?
    public var owners: (any OwnedDeviceReader)?

    /// Begins a new epoch and returns it. All drivers of this store know it when this returns, stay
    /// usable, and refuse guarded writes of every older one.
    public var newEpoch: @Sendable () async throws -> Epoch

    /// What the store can do that not every store can.
    public var capabilities: Set<StoreCapability> = []

    /// Moves the clock the lease store counts by; `nil` when a test cannot move it, and the steps about
    /// leases that run out are skipped.
    public var advanceLeaseClock: (@Sendable (Duration) async throws -> Void)?

    /// Closes the store and opens it again, as after a restart; `nil` for a store that keeps nothing.
    /// The old drivers are not used again, and the epoch may be a new one.
    public var reopen: (@Sendable () async throws -> StoreUnderTest)?

    /// Called once the step is over.
    public var close: @Sendable () async throws -> Void = {}

    /// - Parameters:
    ///   - devices: the devices of the store.
    ///   - operations: its operations; of one store with `devices`.
    ///   - newEpoch: see ``newEpoch``.
    public init(
        devices: any DeviceStorage,
        operations: any OperationStorage,
        newEpoch: @escaping @Sendable () async throws -> Epoch
    ) {
        self.devices = devices
        self.operations = operations
        self.newEpoch = newEpoch
    }
}

/// Makes an empty store for one step of a suite.
public typealias StoreFactory = @Sendable () async throws -> StoreUnderTest

/// What a store may declare beyond its drivers.
public enum StoreCapability: String, Hashable, Sendable, CaseIterable {
    /// Several holders compete for the lease. A store that belongs to one process does not have it.
    case competingLeaseHolders
}
