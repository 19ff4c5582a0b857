#if Server && SQLite
public import ArtifactStore
internal import ClusterMembership
public import ClusterRole
internal import ClusterTransport
public import DeviceRegistry
internal import Foundation
public import HTTPHandling
internal import HummingbirdHosting
internal import Logging
public import ManagerConsole
public import NotificationDispatch
public import OperationQueue
internal import SQLiteStore
public import ServiceLifecycle

/// A whole manager on the embedded store: opened, used from code, and run as one service.
///
/// ```swift
/// let manager = try await ManagerNode.open(configuration)
/// _ = try await manager.publisher.publish("/srv/site", to: "site")
/// _ = try await manager.operations.enqueue(
///     EnqueueRequest(OperationCode(rawValue: "reload"), to: .group("tills")))
/// try await manager.run()          // or add it to the application's ServiceGroup
/// ```
///
/// Opening it takes the lock of its file and begins a new epoch, so every writer here was minted for
/// that epoch. ``run()`` serves the admin API and the link, sends wake-ups, closes what expired and runs
/// periodic tasks, until graceful shutdown; then it revokes its writers and closes the store. An
/// application that serves HTTP itself mounts ``adminAPI`` and ``link`` and runs ``background`` instead
/// of the node.
public final class ManagerNode: Service {
    public let configuration: ManagerConfiguration
    /// Enqueues and cancels operations.
    public let operations: OperationEnqueuer
    /// Reads activities and executions.
    public let activities: ActivityBrowser
    /// Reads what happened to activities and executions.
    public let events: OperationEvents
    /// Subscribes URLs to events; `nil` without ``ManagerConfiguration/webhooks``.
    public let webhooks: WebhookAdministration?
    /// Reads devices and groups.
    public let devices: DeviceDirectory
    /// Changes devices and groups.
    public let administration: DeviceAdministration
    /// Publishes releases.
    public let publisher: ArtifactPublisher
    /// The directories that are published by themselves or when told.
    public let publishTasks: [PublishTask]
    /// Root records and pointers, which workers go by.
    public let trust: ReleaseTrust
    /// Rolls releases out in waves.
    public let rollouts: ReleaseRollouts
    /// The public half of the key that signs releases: what workers trust.
    public let publicKey: ReleasePublicKey
    /// Reports and fetches for devices in process, straight on the store: for products with a device
    /// protocol of their own.
    public let exchange: DeviceExchange
    /// Keeps periodic tasks.
    public let tasks: PeriodicTaskRunner
    /// Hands out policies and keeps devices to them.
    public let policies: PolicyMonitor
    /// The admin API; mount it at `/admin/v1`.
    public let adminAPI: AdminEndpoint
    /// The status page; mount it at `/`.
    public let statusPage: StatusPage
    /// What workers dial; mount it at `/link/v1`.
    public let link: any HTTPHandler

    /// The channels a combined node deploys itself; empty without ``ManagerConfiguration/channels``.
    public let artifacts: ArtifactSet

    private let store: EmbeddedStore
    private let capability: WriteCapability
    private let members: ClusterMembersWriter
    private let dispatcher: WakeDispatcher
    private let webhookDispatcher: WebhookDispatcher?
    private let contacts: ContactBatcher
    private let retention: RetentionTask

    /// Opens the node's directory and everything in it. Nothing runs or listens yet.
    ///
    /// - Throws: ``ManagerConfigurationError``; `SQLiteStorageError` with `locked` naming the process
    ///   that has the directory.
    public static func open(_ configuration: ManagerConfiguration) async throws -> ManagerNode {
        try configuration.validate()
        let files = NodeDirectory(configuration.directory)
        try files.make()
        let secrets = try SecretBox(
            key: try files.key("secrets-key", random: configuration.random)
        )
        let store = try await EmbeddedStore.open(
            path: files.path("store.db"),
            node: configuration.node,
            secrets: secrets,
            random: configuration.random
        )
        do {
            return try await ManagerNode(configuration, files: files, store: store)
        } catch {
            try? await store.close()
            throw error
        }
    }

    private init(
        _ configuration: ManagerConfiguration,
        files: NodeDirectory,
        store: EmbeddedStore
    ) async throws {
        let (time, random) = (configuration.time, configuration.random)
        self.configuration = configuration
        self.store = store
        let lease = try await store.acquire(
            holder: configuration.node,
            duration: .seconds(15)
        )
        capability = WriteCapability(epoch: lease.epoch)
        operations = OperationEnqueuer(
            storage: store,
            capability: capability,
            clock: time,
            random: random,
            quotas: store
        )
        activities = ActivityBrowser(reader: store)
        let events = OperationEvents(reader: store, clock: time, hints: { store.hints() })
        self.events = events
        webhooks = configuration.webhooks.map { [capability] transport in
            WebhookAdministration(
                storage: store,
                events: events,
                transport: transport,
                capability: capability,
                clock: time,
                random: random
            )
        }
        webhookDispatcher = configuration.webhooks.map { [capability] transport in
            WebhookDispatcher(
                storage: store,
                events: events,
                transport: transport,
                capability: capability,
                clock: time,
                random: random
            )
        }
        let inbox = InProcessInbox(storage: store, capability: capability, clock: time)
        contacts = ContactBatcher(inbox: inbox, clock: time)
        exchange = DeviceExchange(
            storage: store,
            capability: capability,
            contacts: contacts,
            settings: DeviceExchange.Settings(
                clock: time,
                random: random,
                schedule: PollingSchedule(
                    defaultFrequency: configuration.pollingFrequency,
                    minimum: min(.seconds(1), configuration.pollingFrequency)
                )
            )
        )
        devices = DeviceDirectory(reader: store)
        administration = DeviceAdministration(
            storage: store,
            capability: capability,
            clock: time,
            random: random
        )
        let ownKey = try Ed25519Signer(file: files.path("signing-key"), random: random)
        let signer = configuration.signer ?? ownKey
        publicKey = signer.publicKey
        try files.write("\(signer.publicKey)\n", to: "signing-key.pub")
        trust = ReleaseTrust(
            roots: try RootRecords(directory: files.path("roots")),
            pointers: ReleasePointers(
                signers: [configuration.pointerSigner ?? ownKey],
                capability: capability,
                lifetime: configuration.pointerLifetime,
                time: time
            )
        )
        let objects = try TenantObjects(
            directory: files.path("objects"),
            first: configuration.tenant,
            random: random
        )
        var publishing = PublisherConfiguration()
        publishing.scratchDirectory = files.path("scratch")
        publishing.scanMemory = files.path("scans")
        publishing.time = time
        publishing.random = random
        publishing.cosigners = configuration.cosigners
        publishing.validators = configuration.publishValidators
        publisher = ArtifactPublisher(
            storage: store,
            objects: objects,
            signer: signer,
            capability: capability,
            configuration: publishing
        )
        let clusterMembers = ClusterMembers(registry: store)
        let workers = MemberReleaseNodes(members: clusterMembers)
        let maker = BundleMaker(storage: store, objects: objects, configuration: publishing)
        var syncing = SyncConfiguration(node: configuration.node, tenant: configuration.tenant)
        syncing.time = time
        syncing.random = random
        artifacts = ArtifactSet(
            channels: Set(configuration.channels.keys),
            deployers: [],
            own: configuration.channels,
            source: InProcessReleaseSource(
                storage: store,
                objects: objects.reader,
                capability: capability,
                maker: maker,
                trust: trust,
                offers: (
                    ReleaseOffers(releases: store, rollouts: store, nodes: workers),
                    configuration.node
                )
            ),
            directory: files.path("channels"),
            trusted: TrustedKeys(signer.publicKey),
            configuration: syncing
        )
        var watching = PublishTask.Settings()
        watching.mode = configuration.watchMode
        watching.time = time
        publishTasks = configuration.watched.sorted { $0.key < $1.key }.map {
            [publisher, watching] in
            PublishTask(
                $0.value,
                to: $0.key,
                tenant: configuration.tenant,
                publisher: publisher,
                settings: watching
            )
        }
        var rolling = ReleaseRollouts.Settings(clock: time)
        rolling.random = random
        rollouts = ReleaseRollouts(
            releases: store,
            storage: store,
            publisher: publisher,
            nodes: workers,
            capability: capability,
            settings: rolling
        )
        tasks = PeriodicTaskRunner(
            tasks: store,
            enqueuer: operations,
            capability: capability,
            settings: PeriodicTaskRunner.Settings(clock: time)
        )
        policies = PolicyMonitor(
            storage: store,
            tasks: store,
            enqueuer: operations,
            capability: capability,
            settings: PolicyMonitor.Settings(clock: time)
        )
        dispatcher = WakeDispatcher(
            storage: store,
            transports: configuration.transports,
            capability: capability,
            clock: time,
            random: random
        )
        members = clusterMembers.writer(for: capability, clock: time)

        var keeping = RetentionTask.Settings(clock: time)
        keeping.interval = configuration.retentionInterval
        retention = RetentionTask(
            storage: store,
            policy: configuration.retention,
            archive: try configuration.archiveDirectory.map {
                try DirectoryActivityArchive(directory: $0, clock: time)
            },
            capability: capability,
            settings: keeping
        )

        let tokens = InMemoryTokens(configuration.identities)
        let services = AdminServices(
            devices: AdminServices.Devices(directory: devices, administration: administration),
            operations: AdminServices.Operations(
                enqueuer: operations,
                activities: activities,
                tasks: store,
                events: events,
                webhooks: webhooks,
                policies: policies,
                explainer: ExecutionExplainer(operations: store, devices: store, clock: time)
            ),
            cluster: AdminServices.Cluster(
                node: configuration.node,
                role: .manager,
                capability: capability,
                members: clusterMembers,
                revisions: store,
                wakes: store
            ),
            releases: AdminServices.Releases(
                publisher: publisher,
                roots: try PublishRoots(configuration.publishRoots),
                tasks: publishTasks,
                trust: trust,
                operators: configuration.tenant,
                rollouts: rollouts
            ),
            keeping: try AdminServices.Keeping(configuration, store, retention, capability),
            time: time
        )
        adminAPI = try AdminEndpoint(services, authenticator: tokens)
        statusPage = try StatusPage(services, authenticator: tokens)
        var linking = LinkServices(
            replicas: store,
            operations: store,
            devices: store,
            enrolment: EnrolmentDesk(
                administration: administration,
                policy: configuration.enrolmentSecret.map {
                    SharedSecretPolicy(secret: $0) as any EnrolmentPolicy
                } ?? NobodyEnrols(),
                initiator: "device"
            ),
            hints: store,
            releases: store,
            objects: objects.reader,
            maker: maker,
            trust: trust,
            authority: { [capability, members] in
                LinkAuthority(capability: capability, members: members)
            }
        )
        linking.offers = ReleaseOffers(releases: store, rollouts: store, nodes: workers)
        link = try LinkEndpoint(services: linking, authenticator: tokens, time: time)
    }

    /// The node's right to write. Revoked when ``run()`` ends.
    public var epoch: Epoch { capability.epoch }

    /// Runs the whole node until graceful shutdown, then closes it. It runs once.
    public func run() async throws {
        let server = try ReeveServer(
            configuration: ReeveServerConfiguration(address: configuration.address),
            mounts: try mounts(),
            time: configuration.time,
            logger: configuration.logger
        )
        try await run([NodeComponent("http", roles: [.manager]) { server }])
    }

    /// The node without its HTTP server, for an application that mounts ``adminAPI`` and ``link`` in its
    /// own. It wakes devices, closes what expired, runs periodic tasks and watches members until graceful
    /// shutdown, then closes the node. It runs once, instead of ``run()``.
    ///
    /// ```swift
    /// app.addServices(manager.background)
    /// ```
    public var background: some Service { Background(node: self) }

    private struct Background: Service {
        let node: ManagerNode

        func run() async throws { try await node.run([]) }
    }

    private func run(_ more: [NodeComponent]) async throws {
        do {
            let node = try ReeveNode(
                id: configuration.node,
                profile: configuration.profile,
                components: configuration.components + components + more,
                logger: configuration.logger
            )
            try await scheduleInformation()
            try await node.run()
        } catch {
            try? await close()
            throw error
        }
        try await close()
    }

    /// What runs beside the HTTP server.
    private var components: [NodeComponent] {
        let expiry = ExpiryTask(
            storage: store,
            capability: capability,
            clock: configuration.time
        )
        let telling = webhookDispatcher.map { dispatcher in
            NodeComponent("webhooks", roles: [.manager]) { dispatcher }
        }
        let timers = ActivityTimers(
            storage: store,
            capability: capability,
            clock: configuration.time
        )
        let liveness = LivenessTask(
            storage: store,
            capability: capability,
            rule: configuration.liveness,
            clock: configuration.time
        )
        let groups = DynamicGroupTask(
            storage: store,
            capability: capability,
            clock: configuration.time
        )
        let publishing = publishTasks.map { task in
            NodeComponent(
                ComponentName(rawValue: "publish-\(task.channel)"),
                roles: [.manager]
            ) { task }
        }
        return [
            NodeComponent("contacts", roles: [.manager]) { [contacts] in contacts },
            NodeComponent("members", roles: [.manager]) { [members] in members },
            NodeComponent("wake-dispatch", roles: [.manager]) { [dispatcher] in dispatcher },
            NodeComponent("wake-hints", roles: [.manager]) { [store, dispatcher] in
                WakeHints(hints: store.hints(), dispatcher: dispatcher)
            },
            NodeComponent("retention", roles: [.manager]) { [retention] in retention },
            NodeComponent("expiry", roles: [.manager]) { expiry },
            NodeComponent("activity-timers", roles: [.manager]) { timers },
            NodeComponent("liveness", roles: [.manager]) { liveness },
            NodeComponent("dynamic-groups", roles: [.manager]) { groups },
            NodeComponent("periodic-tasks", roles: [.manager]) { [tasks] in tasks },
            NodeComponent("policies", roles: [.manager]) { [policies] in policies },
            NodeComponent("artifacts", roles: [.worker]) { [artifacts] in artifacts },
            NodeComponent("artifact-hints", roles: [.worker]) { [store, artifacts] in
                ReleaseHints(hints: store.hints(), artifacts: artifacts)
            },
            NodeComponent("rollouts", roles: [.manager]) { [rollouts] in
                ReleaseRolloutTask(rollouts)
            },
        ] + publishing + [telling].compactMap { $0 }
    }

    /// Writes a verified copy of the running store, beside its readers and writers.
    ///
    /// - Parameters:
    ///   - path: of the copy, in a directory that only the manager's user can read.
    ///   - replaces: whether a file there may be replaced.
    /// - Throws: `SQLiteStorageError`: `exists`, `full`, `io`, `corruptRow`, `corruptFile`.
    public func backup(to path: String, replaces: Bool = false) async throws -> StoredBackup {
        try await store.storedBackup(to: path, replaces: replaces, at: configuration.time.now())
    }

    /// Ends the right to write and gives the file back. Harmless when repeated.
    public func close() async throws {
        capability.revoke()
        try await store.close()
    }

    private func mounts() throws -> [HandlerMount] {
        var root = RouteTable()
        try HealthRoutes(checks: [
            ReadinessCheck("coordinator") { [capability] in
                capability.isRevoked ? "this node may no longer write" : nil
            }
        ]).add(to: &root)
        try root.mount(statusPage, at: "/")
        return [
            HandlerMount("/admin/v1", observed(adminAPI, "admin")),
            HandlerMount(LinkEndpoint.standardPrefix, observed(link, "link")),
            HandlerMount("/", observed(root, "console")),
        ]
    }

    private func observed(_ handler: any HTTPHandler, _ name: String) -> any HTTPHandler {
        ObservedHandler(handler, name: name, time: configuration.time)
    }

    private func scheduleInformation() async throws {
        guard let frequency = configuration.informationFrequency else { return }
        try await tasks.schedule(
            PeriodicTask(
                id: PeriodicTaskID(rawValue: "device-information"),
                frequency: frequency,
                satisfiedBy: .properties,
                begins: configuration.time.now()
            ),
            tenant: configuration.tenant
        )
    }
}

/// Without an enrolment secret no device is admitted.
private struct NobodyEnrols: EnrolmentPolicy {
    func decide(on request: EnrolmentRequest) async throws -> EnrolmentDecision {
        .refuse(reason: "This manager enrols no devices. Configure enrolment.secret.")
    }
}

/// Tells the dispatcher of each commit, so that a wake-up need not wait for its next look.
private struct WakeHints: Service {
    let hints: AsyncStream<Revision>
    let dispatcher: WakeDispatcher

    func run() async throws {
        for await _ in hints.cancelOnGracefulShutdown() { dispatcher.hint() }
    }
}

/// Tells a combined node's channels of each commit.
private struct ReleaseHints: Service {
    let hints: AsyncStream<Revision>
    let artifacts: ArtifactSet

    func run() async throws {
        for await _ in hints.cancelOnGracefulShutdown() { artifacts.hint() }
    }
}
#endif
