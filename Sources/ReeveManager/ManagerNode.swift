#if Server && SQLite
internal import ArtifactStore
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

    let releases: ManagerReleases
    let store: EmbeddedStore
    let capability: WriteCapability
    let heartbeats: ClusterMembersWriter
    let dispatcher: WakeDispatcher
    let webhookDispatcher: WebhookDispatcher?
    let contacts: ContactBatcher
    let retention: RetentionTask

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
        let members = ClusterMembers(registry: store)
        let releases = try ManagerReleases(
            configuration,
            files: files,
            store: store,
            members: members,
            capability: capability
        )
        self.releases = releases
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
        heartbeats = members.writer(for: capability, clock: time)

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
            cluster: .init(
                configuration,
                store,
                keeper: heartbeats,
                members: members,
                capability: capability
            ),
            releases: AdminServices.Releases(
                publisher: releases.publisher,
                roots: try PublishRoots(configuration.publishRoots),
                tasks: releases.publishTasks,
                trust: releases.trust,
                operators: configuration.tenant,
                rollouts: releases.rollouts
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
            objects: releases.objects.reader,
            maker: releases.maker,
            trust: releases.trust,
            authority: { [capability, heartbeats] in
                LinkAuthority(capability: capability, members: heartbeats)
            }
        )
        linking.offers = releases.offers
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

#endif
