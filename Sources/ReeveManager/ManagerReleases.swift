#if Server && SQLite
public import ArtifactStore
internal import ClusterMembership
internal import ClusterRole
internal import Foundation
internal import HTTPHandling
internal import NodeCertificates
internal import SQLiteStore

/// What a manager publishes with, rolls out with and serves bundles from.
struct ManagerReleases: Sendable {
    let publisher: ArtifactPublisher
    let publishTasks: [PublishTask]
    let trust: ReleaseTrust
    let rollouts: ReleaseRollouts
    let publicKey: ReleasePublicKey
    let artifacts: ArtifactSet
    let objects: TenantObjects
    let maker: BundleMaker
    let care: ObjectCare
    let offers: ReleaseOffers

    init(
        _ configuration: ManagerConfiguration,
        files: NodeDirectory,
        store: EmbeddedStore,
        members: ClusterMembers,
        credentials: CredentialSource?,
        capability: WriteCapability
    ) throws {
        let (time, random) = (configuration.time, configuration.random)
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
        let peers = try configuration.peers(with: credentials)
        objects = try TenantObjects(
            directory: files.path("objects"),
            first: configuration.tenant,
            random: random,
            peers: peers,
            copies: configuration.copies,
            logger: configuration.logger
        )
        var publishing = PublisherConfiguration()
        publishing.updatesFrom = configuration.updatesFrom
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
        maker = BundleMaker(storage: store, objects: objects, configuration: publishing)
        care = ObjectCare(
            objects,
            peers: peers,
            copies: configuration.copies,
            storage: store,
            rollouts: store,
            maker: maker,
            settings: configuration.objectCare,
            configuration: publishing
        )
        let workers = MemberReleaseNodes(members: members)
        offers = ReleaseOffers(releases: store, rollouts: store, nodes: workers)
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
        publishTasks = Self.watching(configuration, publisher)
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
                offers: (offers, configuration.node)
            ),
            directory: files.path("channels"),
            trusted: TrustedKeys(signer.publicKey),
            configuration: syncing
        )
    }

    /// A task for each watched directory, by channel.
    private static func watching(
        _ configuration: ManagerConfiguration,
        _ publisher: ArtifactPublisher
    ) -> [PublishTask] {
        var settings = PublishTask.Settings()
        settings.mode = configuration.watchMode
        settings.time = configuration.time
        return configuration.watched.sorted { $0.key < $1.key }.map {
            PublishTask(
                $0.value,
                to: $0.key,
                tenant: configuration.tenant,
                publisher: publisher,
                settings: settings
            )
        }
    }
}

extension ManagerNode {
    /// Publishes releases.
    public var publisher: ArtifactPublisher { releases.publisher }
    /// The directories that are published by themselves or when told.
    public var publishTasks: [PublishTask] { releases.publishTasks }
    /// Root records and pointers, which workers go by.
    public var trust: ReleaseTrust { releases.trust }
    /// Rolls releases out in waves.
    public var rollouts: ReleaseRollouts { releases.rollouts }
    /// Collects the garbage of this manager's objects, and mends what is damaged.
    public var objects: ObjectCare { releases.care }
    /// The public half of the key that signs releases: what workers trust.
    public var publicKey: ReleasePublicKey { releases.publicKey }
    /// The channels a combined node deploys itself; empty without ``ManagerConfiguration/channels``.
    public var artifacts: ArtifactSet { releases.artifacts }
}
#endif
