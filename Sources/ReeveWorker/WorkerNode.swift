#if Server && SQLite
public import ArtifactStore
internal import ClusterLink
public import ClusterMembership
internal import ClusterRole
internal import ClusterTransport
public import DeviceGateway
public import DeviceRegistry
internal import Foundation
internal import HTTPHandling
internal import HummingbirdHosting
internal import Logging
internal import NodeCertificates
public import OperationQueue
internal import SQLiteReplica
public import ServiceLifecycle

/// A whole worker: opened, used from code, and run as one service.
///
/// ```swift
/// var configuration = WorkerConfiguration(node: "worker-1", directory: "/var/lib/shop")
/// configuration.managers = ["http://10.0.0.2:8180"]
/// configuration.channels = ["site": SiteDeployer()]
/// let worker = try await WorkerNode.open(configuration)
/// try await worker.run()           // or add it to the application's ServiceGroup
/// ```
///
/// It holds readers only: nothing here enqueues, publishes or changes a device. With every manager
/// gone it goes on serving devices and releases from its own files, restarts included.
public final class WorkerNode: Service {
    public let configuration: WorkerConfiguration
    /// Reports and fetches for devices, in process.
    public let exchange: DeviceExchange
    /// Tells devices by their credentials.
    public let authenticator: any DeviceAuthenticator
    /// The device API; mount it at `/device/v1`.
    public let deviceAPI: DeviceEndpoint
    /// Messages of the coordinator, the replicated state, commands.
    public let messaging: WorkerMessaging

    private let credentials: CredentialSource?
    private let replica: WorkerReplica
    private let workerLink: WorkerLink
    private let contacts: ContactBatcher
    /// Every channel the node keeps, and how it stands.
    public let artifacts: ArtifactSet
    private let revisions: RevisionSignal
    private let peerReleases: HeldReleaseSource?
    private let health: [ReleaseHealthMonitor]

    /// Opens the node's directory: its replica, its spool and its releases. Nothing runs or listens yet.
    ///
    /// - Throws: ``WorkerConfigurationError``; `SQLiteStorageError` with `locked` naming the process
    ///   that has the directory.
    public static func open(_ configuration: WorkerConfiguration) async throws -> WorkerNode {
        try configuration.validate()
        try FileManager.default.createDirectory(
            atPath: configuration.directory + "/channels",
            withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700]
        )
        let node = try WorkerNode(configuration)
        do {
            try await node.messaging.restore()
        } catch {
            try? await node.replica.close()
            throw error
        }
        return node
    }

    private init(_ configuration: WorkerConfiguration) throws {
        let (time, random) = (configuration.time, configuration.random)
        self.configuration = configuration
        let credentials = try configuration.openCredentials()
        self.credentials = credentials
        let client = try LinkClient(
            node: configuration.node,
            configuration: LinkClientConfiguration(
                addresses: configuration.managers,
                token: credentials == nil ? configuration.token : "",
                credentials: credentials,
                discovery: configuration.discovery
            ),
            random: random,
            time: time
        )
        let secrets = try SecretBox(
            key: try Self.key(at: configuration.directory + "/secrets-key", random: random)
        )
        var replicaConfiguration = WorkerReplicaConfiguration()
        replicaConfiguration.spool.maximumBytes = configuration.spoolBytes
        let replica = try WorkerReplica(
            path: configuration.directory + "/replica.db",
            node: configuration.node,
            secrets: secrets,
            oracle: client,
            configuration: replicaConfiguration,
            time: time,
            random: random
        )
        self.replica = replica
        authenticator = replica
        let messaging = WorkerMessaging(configuration, client: client, replica: replica)
        self.messaging = messaging
        contacts = ContactBatcher(inbox: replica, clock: time)
        var exchanging = DeviceExchange.Settings(
            clock: time,
            random: random,
            schedule: PollingSchedule(
                defaultFrequency: configuration.pollingFrequency,
                minimum: min(.seconds(1), configuration.pollingFrequency)
            )
        )
        exchanging.limits.exchangesPerMinute = configuration.exchangesPerMinute
        exchanging.limits.waiters = max(0, configuration.waitingDevices)
        exchanging.limits.largeResultBytes = max(0, configuration.largeResultBytes)
        exchange = DeviceExchange(
            reader: replica,
            inbox: replica,
            contacts: contacts,
            settings: exchanging
        )
        var gateway = DeviceGatewayConfiguration()
        gateway.tenant = configuration.tenant
        gateway.age = { [replica] in replica.age }
        gateway.time = time
        deviceAPI = try DeviceEndpoint(
            exchange: exchange,
            authenticator: replica,
            enrolment: client,
            configuration: gateway
        )
        var syncing = configuration.syncing ?? SyncConfiguration(node: configuration.node)
        syncing.node = configuration.node
        syncing.tenant = configuration.tenant
        syncing.time = time
        syncing.random = random
        var sources: [any ReleaseSource] = [client]
        if !configuration.peers.isEmpty {
            sources.append(
                try LinkClient(
                    node: configuration.node,
                    configuration: LinkClientConfiguration(
                        addresses: configuration.peers,
                        token: configuration.peerToken
                    ),
                    random: random
                )
            )
        }
        if !configuration.imports.isEmpty {
            sources.append(ExportedReleaseSource(paths: configuration.imports))
        }
        artifacts = ArtifactSet(
            channels: Set(configuration.channels.keys).union(configuration.keptChannels),
            deployers: configuration.deployers,
            own: configuration.channels,
            source: sources.count == 1 ? client : FailoverReleaseSource(sources),
            directory: configuration.directory + "/channels",
            trusted: configuration.trusted,
            configuration: syncing
        )
        revisions = RevisionSignal(artifacts: artifacts)
        peerReleases =
            configuration.peerToken.isEmpty
            ? nil
            : try HeldReleaseSource(
                artifacts,
                tenant: configuration.tenant,
                directory: configuration.directory + "/held",
                random: random
            )
        let deployers = configuration.deployers
        health = artifacts.channels.map { [artifacts] channel in
            let own = configuration.channels[channel]
            return ReleaseHealthMonitor(
                node: configuration.node,
                tenant: configuration.tenant,
                active: { artifacts.sync(of: channel)?.active },
                check: { release in
                    let deployer = own ?? deployers.first { $0.kind == release.release.kind }
                    try await deployer?.checkHealth(of: release)
                },
                sink: client,
                interval: configuration.healthInterval,
                clock: time
            )
        }
        var linking = WorkerLinkConfiguration(
            address: configuration.advertised,
            version: configuration.abilities.softwareVersion?.description ?? "",
            properties: try ReleaseNodeProperties.make(
                labels: configuration.labels,
                capabilities: configuration.abilities.capabilities,
                channels: Set(configuration.channels.keys)
            )
        )
        linking.commandedMode = { messaging.standing.mode }
        linking.describe(configuration.abilities, serving: artifacts)
        workerLink = WorkerLink(
            client: client,
            replica: replica,
            configuration: linking,
            hints: revisions,
            time: time,
            random: random
        )
    }

    /// The key of what the spool seals, made on first use and readable by its owner only.
    private static func key(at file: String, random: any RandomSource) throws -> [UInt8] {
        if let data = FileManager.default.contents(atPath: file) { return Array(data) }
        let bytes = random.bytes(SecretBox.keySize)
        let isMade = FileManager.default.createFile(
            atPath: file,
            contents: Data(bytes),
            attributes: [.posixPermissions: 0o600]
        )
        guard isMade else {
            throw WorkerConfigurationError(
                "The file \(file) cannot be written. Check the directory."
            )
        }
        return bytes
    }

    /// The release a channel serves now; `nil` before the first, and for a channel that is not
    /// configured.
    public func activeRelease(of channel: ChannelName) -> ActiveRelease? {
        artifacts.sync(of: channel)?.active
    }

    /// Runs `body` with the active release of a channel, which stays in place meanwhile: a request that
    /// began on one release ends on it, and the next one gets the next.
    ///
    /// - Throws: `ArtifactStoreError` with code `notFound` before the first release, or what `body`
    ///   throws.
    public func withActiveRelease<Result>(
        of channel: ChannelName,
        _ body: (ActiveRelease) async throws -> Result
    ) async throws -> Result {
        try await artifacts.withActiveRelease(of: channel, body)
    }

    /// Whether the node takes work: what it was told here, or what an administrator asked, whichever is
    /// stricter. One that drains answers its readiness 503, so that load balancers send devices elsewhere,
    /// and serves those that come nevertheless.
    public var mode: MemberMode { workerLink.mode }

    /// Says from now on whether the node takes work; the managers hear of it within a heartbeat.
    public func setMode(_ mode: MemberMode) { workerLink.setMode(mode) }

    /// How the node stands.
    public var status: WorkerStatus {
        WorkerStatus(
            node: configuration.node.rawValue,
            revision: replica.revision?.description,
            age: replica.age.map { Double($0.milliseconds) / 1_000 },
            devices: replica.deviceCount,
            spooled: replica.pendingCount,
            isHandingOut: replica.isHandingOut,
            releases: artifacts.statuses.flatMap(ReleaseStatus.all),
            channels: artifacts.statuses.map(ChannelReport.init),
            certificate: credentials?.status
        )
    }

    /// Runs the whole node until graceful shutdown; requests under way finish, the spool is handed on
    /// for a while, and what is left of it waits on disk. It runs once.
    public func run() async throws {
        var serving = ReeveServerConfiguration(address: configuration.address)
        // A poll that waits is a request under way: those that do not wait keep their places.
        serving.limits.maximumConcurrentRequests += max(0, configuration.waitingDevices)
        let server = try ReeveServer(
            configuration: serving,
            mounts: try mounts(),
            time: configuration.time,
            logger: configuration.logger
        )
        try await run([NodeComponent("http", roles: [.worker]) { server }])
    }

    /// The node without its HTTP server, for an application that mounts ``deviceAPI`` and serves
    /// ``withActiveRelease(of:_:)`` in its own: the link, the contacts, and each channel's sync, until
    /// graceful shutdown. It runs once, instead of ``run()``.
    ///
    /// ```swift
    /// app.addServices(worker.background)
    /// ```
    public var background: some Service { Background(node: self) }

    private struct Background: Service {
        let node: WorkerNode

        func run() async throws { try await node.run([]) }
    }

    private func run(_ more: [NodeComponent]) async throws {
        do {
            let node = try ReeveNode(
                id: configuration.node,
                profile: configuration.profile,
                components: components + configuration.components + more,
                logger: configuration.logger
            )
            try await node.run()
        } catch {
            try? await replica.close()
            throw error
        }
        try await replica.close()
    }

    /// What runs beside the HTTP server.
    private var components: [NodeComponent] {
        [
            NodeComponent("link", roles: [.worker]) { [workerLink] in workerLink },
            NodeComponent("contacts", roles: [.worker]) { [contacts] in contacts },
            NodeComponent("artifacts", roles: [.worker]) { [artifacts] in artifacts },
        ]
            + messaging.components
            + (credentials.map { source in
                [NodeComponent("certificates", roles: [.worker]) { source }]
            } ?? [])
            + health.enumerated().map { index, monitor in
                NodeComponent(ComponentName(rawValue: "health-\(index)"), roles: [.worker]) {
                    monitor
                }
            }
    }

    private func mounts() throws -> [HandlerMount] {
        var root = RouteTable(
            authenticator: InMemoryTokens([
                configuration.token: Identity(
                    name: "operator",
                    tenant: configuration.tenant,
                    permissions: [.read, .operate]
                )
            ])
        )
        try HealthRoutes(checks: [
            ReadinessCheck("replica") { [replica] in
                replica.revision == nil ? "no snapshot of a manager has been received yet" : nil
            },
            ReadinessCheck("mode") { [workerLink] in
                let mode = workerLink.mode
                return mode == .active ? nil : "the node is \(mode.rawValue)"
            },
        ]).add(to: &root)
        try root.get("/status", operationID: "status", access: .permission(.read)) {
            [weak self] _ in
            try .json(self?.status)
        }
        try ChannelRoutes(artifacts).add(to: &root)
        var peers: [HandlerMount] = []
        if let peerReleases {
            let endpoint = try PeerReleaseEndpoint(
                peerReleases,
                authenticator: InMemoryTokens([
                    configuration.peerToken: Identity(
                        name: "peer",
                        tenant: configuration.tenant,
                        permissions: [.link]
                    )
                ])
            )
            peers.append(HandlerMount(LinkEndpoint.standardPrefix, endpoint))
        }
        return [
            HandlerMount(
                "/device/v1",
                ObservedHandler(deviceAPI, name: "device", time: configuration.time)
            ),
            HandlerMount("/", root),
        ] + peers + configuration.mounts
    }
}
#endif
