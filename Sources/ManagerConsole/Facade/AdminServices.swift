#if Server
public import ArtifactStore
public import ClusterMembership
public import ClusterRole
public import DeviceRegistry
public import NotificationDispatch
public import OperationQueue

/// What the console shows and changes: the façades of one manager.
///
/// The writing façades are minted from the coordinator's capability. When it is revoked they refuse,
/// and the console answers 503; a node that gains the lease again makes new services and a new
/// endpoint.
public struct AdminServices: Sendable {
    /// Devices and groups.
    public struct Devices: Sendable {
        public var directory: DeviceDirectory
        public var administration: DeviceAdministration
        /// From when on a silent device is shown as unreachable or inactive.
        public var liveness: LivenessRule

        public init(
            directory: DeviceDirectory,
            administration: DeviceAdministration,
            liveness: LivenessRule = LivenessRule()
        ) {
            self.directory = directory
            self.administration = administration
            self.liveness = liveness
        }
    }

    /// Operations, activities and periodic tasks.
    public struct Operations: Sendable {
        public var enqueuer: OperationEnqueuer
        public var activities: ActivityBrowser
        public var tasks: any PeriodicTaskStorage
        /// What happened; without it the routes of events are not there.
        public var events: OperationEvents?
        /// Who is told of it; without it the routes of webhooks are not there.
        public var webhooks: WebhookAdministration?
        /// `nil` for a product without policies: the routes of policies are then not there.
        public var policies: PolicyMonitor?
        /// Says why an execution stands where it stands; `nil` leaves that route out.
        public var explainer: ExecutionExplainer?
        /// Where the zones of maintenance windows are looked up.
        public var zones: any TimeZoneSource

        public init(
            enqueuer: OperationEnqueuer,
            activities: ActivityBrowser,
            tasks: any PeriodicTaskStorage,
            events: OperationEvents? = nil,
            webhooks: WebhookAdministration? = nil,
            policies: PolicyMonitor? = nil,
            explainer: ExecutionExplainer? = nil,
            zones: any TimeZoneSource = SystemTimeZones()
        ) {
            self.enqueuer = enqueuer
            self.activities = activities
            self.tasks = tasks
            self.events = events
            self.webhooks = webhooks
            self.policies = policies
            self.explainer = explainer
            self.zones = zones
        }
    }

    /// The cluster this node belongs to.
    public struct Cluster: Sendable {
        public var node: NodeID
        public var role: NodeRole
        public var capability: WriteCapability
        public var members: ClusterMembers
        public var revisions: any RevisionLog
        /// Counts of wake-ups; `nil` for a product that wakes nobody.
        public var wakes: (any WakeStorage)?
        /// Commands to nodes; without it their routes are not there.
        public var messaging: Messaging?
        /// The certificate the node shows, now; `nil` for a node without one.
        public var certificate: (@Sendable () -> ServedCertificate?)?
        /// The coordinator's writer of members, now; `nil` while this manager is not the coordinator.
        /// Without it the routes that change a node's mode are not there.
        public var keeper: (@Sendable () -> ClusterMembersWriter?)?
        /// Asks whether a node is there; without it the route is not there.
        public var probe: MemberProbe?
        /// The tenant whose administrators may drain and probe nodes: they serve every tenant.
        public var operators = TenantID.standard

        public init(
            node: NodeID,
            role: NodeRole,
            capability: WriteCapability,
            members: ClusterMembers,
            revisions: any RevisionLog,
            wakes: (any WakeStorage)? = nil,
            messaging: Messaging? = nil
        ) {
            self.node = node
            self.role = role
            self.capability = capability
            self.members = members
            self.revisions = revisions
            self.wakes = wakes
            self.messaging = messaging
        }
    }

    /// Channels and releases.
    public struct Releases: Sendable {
        public var publisher: any ReleaseWriter
        /// From where the admin API may publish; ``PublishRoots/none`` unless said.
        public var roots: PublishRoots
        /// The directories that are watched.
        public var tasks: [PublishTask]
        /// The root records workers are given; `nil` for a product that hands out none.
        public var trust: ReleaseTrust?
        /// The tenant whose administrators may install root records: they are every tenant's.
        public var operators: TenantID
        /// Rolls releases out in waves; without it the routes of rollouts are not there.
        public var rollouts: ReleaseRollouts?

        public init(
            publisher: any ReleaseWriter,
            roots: PublishRoots = .none,
            tasks: [PublishTask] = [],
            trust: ReleaseTrust? = nil,
            operators: TenantID = .standard,
            rollouts: ReleaseRollouts? = nil
        ) {
            self.publisher = publisher
            self.roots = roots
            self.tasks = tasks
            self.trust = trust
            self.operators = operators
            self.rollouts = rollouts
        }
    }

    public var devices: Devices
    public var operations: Operations
    public var cluster: Cluster
    /// `nil` for a product that deploys by other means: the routes of channels are then not there.
    public var releases: Releases?
    /// `nil` for a product that keeps its store by other means: the routes are then not there.
    public var keeping: Keeping?
    /// `nil` for a product that keeps no record: nothing is audited then, and the routes are not there.
    public var access: Access?
    public var time: any TimeSource

    public init(
        devices: Devices,
        operations: Operations,
        cluster: Cluster,
        releases: Releases? = nil,
        keeping: Keeping? = nil,
        access: Access? = nil,
        time: any TimeSource = SystemTimeSource()
    ) {
        self.devices = devices
        self.operations = operations
        self.cluster = cluster
        self.releases = releases
        self.keeping = keeping
        self.access = access
        self.time = time
    }
}

extension AdminServices.Cluster {
    /// The members. This node itself reads the store and so has applied its newest revision; its row in the
    /// registry is some seconds old.
    func nodes(at newest: Revision) async throws -> [Member] {
        try await members.all().map { member in
            guard member.node == node, member.state == .alive else { return member }
            var own = member
            own.applied = newest
            return own
        }
    }
}

extension AdminServices {
    /// How the cluster stands, as this node knows it.
    func status(of tenant: TenantID) async throws -> AdminMessages.StatusAnswer {
        let newest = try await cluster.revisions.current()
        let groups = try await devices.directory.groups(tenant: tenant)
        let members = try await cluster.nodes(at: newest)
        let liveness = try await devices.directory.livenessCounts(tenant: tenant)
        return AdminMessages.StatusAnswer(
            node: cluster.node.rawValue,
            role: cluster.role.rawValue,
            epoch: cluster.capability.isRevoked ? nil : cluster.capability.epoch.rawValue,
            revision: newest.description,
            devices: groups.first { $0.group == .everyone }?.members ?? 0,
            liveness: AdminMessages.LivenessView(
                active: liveness.active,
                unreachable: liveness.unreachable,
                inactive: liveness.inactive
            ),
            wakes: try await cluster.wakes?.counters(),
            audit: try await access?.trail.status(),
            certificate: cluster.certificate?(),
            nodes: members.map { AdminMessages.NodeStatus($0, newest: newest) }
        )
    }
}
#endif
