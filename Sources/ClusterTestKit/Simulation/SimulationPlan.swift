public import ArtifactStore
public import ClusterMembership
public import ClusterRole
public import OperationQueue

/// What a simulation consists of, and what happens to it.
public struct SimulationPlan: Sendable {
    /// How many managers compete for the lease.
    public var managers = 3
    public var workers = 5
    public var devices = 200
    /// After so many events everything is made well again, and must agree.
    public var events = 2_000
    /// How long it may take until it does.
    public var patience = Duration.seconds(1_200)
    /// The lease's three times.
    public var lease = LeaseTiming.standard
    /// Faults that the seed draws.
    public var faults = SimulationFaults()
    /// Faults of one particular story.
    public var script: [SimulationStep] = []
    /// What is published while it runs; `nil` for nothing.
    public var releases: SimulatedReleases?
    /// Your code, and drivers of yours, instead of the ones that do nothing special.
    public var parts = SimulationParts()
    /// Looked at after each event: a sentence says that it does not hold. It must not wait.
    public var invariants: [(SimulationInvariant, @Sendable () -> String?)] = []

    // How busy it is.

    /// How many devices come at the same time.
    public var concurrentDevices = 8
    /// How long one waits before the next comes in its place.
    public var exchangeInterval = Duration.milliseconds(200)...(.seconds(2))
    public var enqueueInterval = Duration.milliseconds(300)...(.seconds(3))
    public var publishInterval = Duration.seconds(5)...(.seconds(20))
    public var requestInterval = Duration.milliseconds(500)...(.seconds(4))
    /// How often a worker asks for news of operations.
    public var linkPolls = Duration.milliseconds(1_500)
    /// How often it asks for news of releases.
    public var releasePolls = Duration.seconds(6)
    /// Rows a page of a replica has, at most.
    public var pageRows = 500

    public init() {}

    /// The names of the nodes, as a script uses them: `manager-1`…, `worker-1`…, `store`, `devices`,
    /// `administrators`.
    public static func manager(_ number: Int) -> NodeID { NodeID(rawValue: "manager-\(number)") }
    /// See ``manager(_:)``.
    public static func worker(_ number: Int) -> NodeID { NodeID(rawValue: "worker-\(number)") }
    public static let store: NodeID = "store"
    public static let devices: NodeID = "devices"
    public static let administrators: NodeID = "administrators"
}

/// Code that takes part in a simulation: a product's own, or a driver that is put to the test. Each is
/// asked for once a life of a process, on its node.
public struct SimulationParts: Sendable {
    /// Loads releases on a worker.
    public var deployer: @Sendable (NodeID) -> any Deployer = { _ in DirectoryDeployer() }
    /// A request to a worker, answered from its active release. What it throws is a failure of
    /// ``SimulationInvariant/atomicActivation``.
    public var request: @Sendable (SimulatedRequest) async throws -> Void = { _ in }
    /// Wraps the store of leases.
    public var leases: @Sendable (any LeaseStore) -> any LeaseStore = { $0 }
    /// Wraps the store of operations that a coordinator writes to.
    public var operations:
        @Sendable (any OperationStorage, InMemoryLedger) -> any OperationStorage = { base, _ in
            base
        }
    /// Wraps what a worker reads.
    public var reader: @Sendable (any PendingWorkReader) -> any PendingWorkReader = { $0 }
    /// Wraps where a worker puts what devices report.
    public var inbox: @Sendable (any DeviceInbox) -> any DeviceInbox = { $0 }

    public init() {}
}

/// A request that a simulated worker serves.
public struct SimulatedRequest: Sendable {
    /// What is active; it stays as it is until the request is over.
    public let release: ActiveRelease
    /// The worker's process.
    public let life: SimulatedLife

    /// Lets other things happen meanwhile, as a slow client does.
    public func wait(for duration: Duration) async throws {
        try await life.node.clock.sleep(for: duration)
    }
}
