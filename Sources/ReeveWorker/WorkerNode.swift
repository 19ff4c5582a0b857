#if Server && SQLite
public import ArtifactStore
internal import ClusterLink
internal import ClusterRole
public import DeviceGateway
public import DeviceRegistry
internal import Foundation
internal import HTTPHandling
internal import HummingbirdHosting
internal import Logging
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

    private let replica: WorkerReplica
    private let workerLink: WorkerLink
    private let contacts: ContactBatcher
    private let syncs: [ChannelName: ArtifactSync]
    private let transfers: [ChannelName: TransferLog]
    private let revisions: RevisionSignal
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
        return try WorkerNode(configuration)
    }

    private init(_ configuration: WorkerConfiguration) throws {
        let (time, random) = (configuration.time, configuration.random)
        self.configuration = configuration
        let client = try LinkClient(
            node: configuration.node,
            configuration: LinkClientConfiguration(
                addresses: configuration.managers,
                token: configuration.token
            ),
            random: random
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
        var syncs: [ChannelName: ArtifactSync] = [:]
        var transfers: [ChannelName: TransferLog] = [:]
        for (channel, deployer) in configuration.channels {
            let log = TransferLog(time: time)
            var settings = SyncConfiguration(
                node: configuration.node,
                tenant: configuration.tenant
            )
            settings.time = time
            settings.random = random
            transfers[channel] = log
            syncs[channel] = ArtifactSync(
                channel: channel,
                source: ObservedReleaseSource(base: client, log: log),
                directory: "\(configuration.directory)/channels/\(channel.pathComponent)",
                deployer: deployer,
                trusted: configuration.trusted,
                configuration: settings
            )
        }
        self.syncs = syncs
        self.transfers = transfers
        health = syncs.sorted { $0.key < $1.key }.compactMap { channel, sync in
            configuration.channels[channel].map { deployer in
                ReleaseHealthMonitor(
                    node: configuration.node,
                    tenant: configuration.tenant,
                    active: { sync.active },
                    check: { try await deployer.checkHealth(of: $0) },
                    sink: client,
                    interval: configuration.healthInterval,
                    clock: time
                )
            }
        }
        revisions = RevisionSignal(syncs: Array(syncs.values))
        workerLink = WorkerLink(
            client: client,
            replica: replica,
            configuration: WorkerLinkConfiguration(
                address: configuration.address.description,
                version: configuration.abilities.softwareVersion?.description ?? "",
                properties: try ReleaseNodeProperties.make(
                    labels: configuration.labels,
                    capabilities: configuration.abilities.capabilities,
                    channels: Set(configuration.channels.keys)
                )
            ),
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
    public func activeRelease(of channel: ChannelName) -> ActiveRelease? { syncs[channel]?.active }

    /// Runs `body` with the active release of a channel, which stays in place meanwhile: a request that
    /// began on one release ends on it, and the next one gets the next.
    ///
    /// - Throws: `ArtifactStoreError` with code `notFound` before the first release, or what `body`
    ///   throws.
    public func withActiveRelease<Result>(
        of channel: ChannelName,
        _ body: (ActiveRelease) async throws -> Result
    ) async throws -> Result {
        guard let lease = syncs[channel]?.lease() else {
            throw ArtifactStoreError(
                .notFound,
                "Channel \(channel) has no active release yet. Publish one, or wait."
            )
        }
        defer { lease.end() }
        return try await body(lease.release)
    }

    /// How the node stands.
    public var status: WorkerStatus {
        WorkerStatus(
            node: configuration.node.rawValue,
            revision: replica.revision?.description,
            age: replica.age.map { Double($0.milliseconds) / 1_000 },
            devices: replica.deviceCount,
            spooled: replica.pendingCount,
            isHandingOut: replica.isHandingOut,
            releases: syncs.keys.sorted().flatMap { channel in
                transfers[channel]?.statuses(
                    channel: channel,
                    active: syncs[channel]?.active?.release.number
                ) ?? []
            }
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
        ]
            + syncs.sorted { $0.key < $1.key }.map { channel, sync in
                NodeComponent(
                    ComponentName(rawValue: "sync-\(channel.pathComponent)"),
                    roles: [.worker]
                ) { sync }
            }
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
                    permissions: [.read]
                )
            ])
        )
        try HealthRoutes(checks: [
            ReadinessCheck("replica") { [replica] in
                replica.revision == nil ? "no snapshot of a manager has been received yet" : nil
            }
        ]).add(to: &root)
        try root.get("/status", operationID: "status", access: .permission(.read)) {
            [weak self] _ in
            try .json(self?.status)
        }
        return [
            HandlerMount(
                "/device/v1",
                ObservedHandler(deviceAPI, name: "device", time: configuration.time)
            ),
            HandlerMount("/", root),
        ] + configuration.mounts
    }
}

extension ChannelName {
    /// The name as one component of a path: a channel never lies inside another's directory.
    var pathComponent: String {
        rawValue.replacing("%", with: "%25").replacing("/", with: "%2F")
    }
}
#endif
