#if Server && SQLite
internal import ArtifactStore
public import ClusterMembership
public import ClusterRole
internal import ClusterTransport
public import DeviceGateway
public import DeviceRegistry
internal import Foundation
public import HTTPHandling
internal import Logging
public import ManagerConsole
internal import NodeCertificates
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
    /// Reads the members of the cluster, this node among them.
    public let members: ClusterMembers
    /// Messages to members, the replicated state, commands to nodes.
    public let messaging: ManagerMessaging
    /// The admin API; mount it at `/admin/v1`.
    public let adminAPI: AdminEndpoint
    /// The status page; mount it at `/`.
    public let statusPage: StatusPage
    /// The user API; mount it at `/user/v1`. ``run()`` serves it with `ManagerAccess.public` only.
    public let userAPI: UserEndpoint
    /// Makes and revokes tokens.
    public let identities: IdentityAdministration
    /// Records who did what: for code of the process that works on the façades itself.
    public let audit: AuditTrail
    /// What workers dial; mount it at `/link/v1`.
    public let link: any HTTPHandler
    /// The device API, which a combined node serves beside the rest; mount it at `/device/v1`.
    public let deviceAPI: DeviceEndpoint

    let auditor: TrailAuditor
    let turnedAway: RecordedRefusals
    let credentials: CredentialSource?
    let releases: ManagerReleases
    let store: EmbeddedStore
    let capability: WriteCapability
    let heartbeats: ClusterMembersWriter
    let membership: LocalMember
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
        credentials = try configuration.openCredentials()
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
            settings: configuration.exchangeSettings
        )
        devices = DeviceDirectory(reader: store)
        administration = DeviceAdministration(
            storage: store,
            capability: capability,
            clock: time,
            random: random
        )
        let members = ClusterMembers(registry: store)
        self.members = members
        let releases = try ManagerReleases(
            configuration,
            files: files,
            store: store,
            members: members,
            credentials: credentials,
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

        let own = try configuration.ownMember()
        messaging = try await ManagerMessaging(
            configuration,
            own: own,
            files: files,
            store: store,
            members: members,
            capability: capability
        )
        membership = LocalMember(own, writer: heartbeats, clock: time, logger: configuration.logger)
        {
            [store, standing = messaging.standing] in
            LocalMember.Word(applied: try await store.currentRevision(), mode: standing.mode)
        }
        let access = ManagerAccessParts(configuration, store, capability)
        let tokens = access.authenticator
        auditor = access.auditor
        audit = access.trail
        identities = access.identities
        turnedAway = RecordedRefusals(
            auditor: access.auditor,
            own: configuration.refusals,
            logger: configuration.logger
        )
        var services = AdminServices(
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
                messaging: messaging,
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
            access: AdminServices.Access(
                trail: access.trail,
                identities: access.identities,
                operators: configuration.tenant
            ),
            time: time
        )
        if let source = credentials {
            services.cluster.certificate = { source.status.served }
        }
        adminAPI = try AdminEndpoint(services, authenticator: tokens)
        statusPage = try StatusPage(services, authenticator: tokens)
        let desk = EnrolmentDesk(
            administration: administration,
            policy: configuration.enrolmentSecret.map {
                SharedSecretPolicy(secret: $0) as any EnrolmentPolicy
            } ?? NobodyEnrols(),
            initiator: "device"
        )
        var gateway = DeviceGatewayConfiguration()
        gateway.tenant = configuration.tenant
        gateway.time = time
        deviceAPI = try DeviceEndpoint(
            exchange: exchange,
            authenticator: CredentialAuthenticator(reader: store),
            enrolment: desk,
            configuration: gateway
        )
        userAPI = try UserEndpoint(
            UserServices(
                devices: OwnedDevices(reader: store, owners: store),
                enqueuer: operations,
                activities: activities,
                operations: configuration.userOperations,
                liveness: configuration.liveness,
                auditor: access.auditor,
                time: time
            ),
            authenticator: tokens
        )
        var linking = LinkServices(
            replicas: store,
            operations: store,
            devices: store,
            enrolment: desk,
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
        linking.messaging = LinkMessaging(
            messenger: messaging.messenger,
            state: messaging.state
        )
        linking.care = releases.care
        link = try LinkEndpoint(
            services: linking,
            authenticator: access.nodes,
            requiresCertificates: credentials != nil,
            time: time,
            recorder: access.auditor
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
