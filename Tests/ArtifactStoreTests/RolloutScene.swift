import ArtifactStore
import ClusterRole
import ClusterTestKit
import Foundation
import Logging
import Synchronization
import XCTest

/// A manager and workers with real disks, in one process. The manager can be restarted.
final class RolloutScene: Sendable {
    static let channel: ChannelName = "web/site"

    let directory: TemporaryDirectory
    let time = ManualTimeSource()
    let random = SeededRandomSource(seed: 4)
    let ledger = InMemoryLedger()
    let store: InMemoryReleaseStorage
    let objects = InMemoryObjectStorage()
    let signer: Ed25519Signer
    let workers: [Worker]
    private let manager: Mutex<Manager>
    private let known: Mutex<[ReleaseNode]>

    /// One life of a manager.
    struct Manager: Sendable {
        let capability: WriteCapability
        let publisher: ArtifactPublisher
        let rollouts: ReleaseRollouts
    }

    /// A worker, and what it was offered.
    final class Worker: Sendable {
        let node: NodeID
        let sync: ArtifactSync
        let source: OfferedReleases
        let health = Mutex<String?>(nil)
        private let told = Mutex<ReleaseHealth?>(nil)

        init(node: NodeID, sync: ArtifactSync, source: OfferedReleases) {
            self.node = node
            self.sync = sync
            self.source = source
        }

        var active: Int64? { sync.active?.release.number.rawValue }

        /// The one file of the active tree.
        var text: String? {
            sync.active.flatMap {
                try? String(contentsOfFile: $0.path(of: "index.html"), encoding: .utf8)
            }
        }

        struct Unwell: Error, CustomStringConvertible { let description: String }

        func reportHealth(to sink: any ReleaseHealthSink, _ time: any TimeSource) async {
            let monitor = ReleaseHealthMonitor(
                node: node,
                active: { self.sync.active },
                check: { release in
                    guard let failure = self.health.withLock({ $0 }),
                        release.release.number == ReleaseNumber(2)
                    else { return }
                    throw Unwell(description: failure)
                },
                sink: sink,
                clock: time
            )
            let before = told.withLock { $0 }
            let after = await monitor.look(told: before)
            told.withLock { $0 = after }
        }
    }

    /// Refuses trees that say they are broken.
    struct PickyDeployer: Deployer {
        struct Broken: Error {}

        var kind: ArtifactKind { .files }

        func prepare(_ new: ActiveRelease, replacing old: ActiveRelease?) async throws {
            if FileManager.default.fileExists(atPath: new.path(of: "broken")) { throw Broken() }
        }
    }

    init(workers count: Int, labels: [Int: [String: String]] = [:]) throws {
        let directory = try TemporaryDirectory()
        self.directory = directory
        let store = InMemoryReleaseStorage(ledger: ledger)
        self.store = store
        signer = try Ed25519Signer(random: random)
        let nodes = (0..<count).map { index in
            ReleaseNode(
                NodeID(rawValue: "worker-\(index)"),
                labels: labels[index] ?? [:],
                channels: [Self.channel]
            )
        }
        known = Mutex(nodes)
        let made = try Self.manager(
            ledger,
            store,
            objects,
            signer,
            directory,
            time,
            random,
            nodes: []
        )
        manager = Mutex(made)
        let (time, trusted) = (time, TrustedKeys(signer.publicKey))
        let box = SceneBox()
        workers = nodes.map { node in
            let source = OfferedReleases { [box] in box.scene?.source(for: node.id) }
            var configuration = SyncConfiguration(node: node.id)
            configuration.time = time
            configuration.logger.logLevel = .critical
            let sync = ArtifactSync(
                channel: Self.channel,
                source: source,
                directory: directory.path(node.id.rawValue),
                deployer: PickyDeployer(),
                trusted: trusted,
                configuration: configuration
            )
            return Worker(node: node.id, sync: sync, source: source)
        }
        box.set(self)
        try restart()
    }

    private static func manager(
        _ ledger: InMemoryLedger,
        _ store: InMemoryReleaseStorage,
        _ objects: InMemoryObjectStorage,
        _ signer: Ed25519Signer,
        _ directory: TemporaryDirectory,
        _ time: ManualTimeSource,
        _ random: SeededRandomSource,
        nodes: [ReleaseNode],
        reading: (@Sendable () async throws -> [ReleaseNode])? = nil
    ) throws -> Manager {
        let capability = WriteCapability(epoch: ledger.raiseEpoch())
        var publishing = PublisherConfiguration()
        publishing.scratchDirectory = directory.path
        publishing.time = time
        publishing.logger.logLevel = .critical
        let publisher = ArtifactPublisher(
            storage: store,
            objects: objects,
            signer: signer,
            capability: capability,
            configuration: publishing
        )
        var settings = ReleaseRollouts.Settings(clock: time)
        settings.random = random
        settings.logger.logLevel = .critical
        let rollouts = ReleaseRollouts(
            releases: store,
            storage: store,
            publisher: publisher,
            nodes: FixedReleaseNodes(reading ?? { nodes }),
            capability: capability,
            settings: settings
        )
        return Manager(capability: capability, publisher: publisher, rollouts: rollouts)
    }

    /// The manager goes away, and another one has its store.
    func restart() throws {
        manager.withLock { $0.capability.revoke() }
        let made = try Self.manager(
            ledger,
            store,
            objects,
            signer,
            directory,
            time,
            random,
            nodes: [],
            reading: { [weak self] in self?.nodes ?? [] }
        )
        manager.withLock { $0 = made }
    }

    var rollouts: ReleaseRollouts { manager.withLock { $0.rollouts } }
    var publisher: ArtifactPublisher { manager.withLock { $0.publisher } }
    var nodes: [ReleaseNode] { known.withLock { $0 } }

    func change(_ node: NodeID, _ body: (inout ReleaseNode) -> Void) {
        known.withLock { nodes in
            guard let index = nodes.firstIndex(where: { $0.id == node }) else { return }
            body(&nodes[index])
        }
    }

    var offers: ReleaseOffers {
        ReleaseOffers(
            releases: store,
            rollouts: store,
            nodes: FixedReleaseNodes { [weak self] in self?.nodes ?? [] }
        )
    }

    private func source(for node: NodeID) -> InProcessReleaseSource {
        InProcessReleaseSource(
            storage: store,
            objects: objects,
            capability: manager.withLock { $0.capability },
            offers: (offers, node)
        )
    }

    @discardableResult
    func publish(_ text: String, broken: Bool = false) async throws -> Publication {
        var files = ["index.html": text]
        if broken { files["broken"] = "yes" }
        let path = try directory.write(files, in: "source-\(UUID().uuidString)")
        return try await publisher.publish(path, to: Self.channel)
    }

    /// Every worker looks once and says how it is, then the manager does.
    func step(_ seconds: Int = 0) async throws {
        if seconds > 0 { time.advance(by: .seconds(seconds)) }
        let sink = InProcessHealthSink(
            storage: store,
            capability: manager.withLock { $0.capability }
        )
        for worker in workers {
            _ = try await worker.sync.syncOnce()
            await worker.reportHealth(to: sink, time)
        }
        try await rollouts.tick()
    }

    /// The workers whose active release has this number.
    func on(_ number: Int64) -> Set<NodeID> {
        Set(workers.filter { $0.active == number }.map(\.node))
    }

    /// The workers that were ever offered this number.
    func offered(_ number: Int64) -> Set<NodeID> {
        Set(workers.filter { $0.source.numbers.contains(number) }.map(\.node))
    }

    var everybody: Set<NodeID> { Set(workers.map(\.node)) }
}

/// A scene its workers can ask for, once there is one.
private final class SceneBox: Sendable {
    private struct Weak { weak var scene: RolloutScene? }
    private let value = Mutex(Weak())
    var scene: RolloutScene? { value.withLock { $0.scene } }
    func set(_ scene: RolloutScene) { value.withLock { $0.scene = scene } }
}

/// Remembers every release that was offered.
final class OfferedReleases: ReleaseSource {
    private struct Gone: Error {}

    private let base: @Sendable () -> InProcessReleaseSource?
    private let seen = Mutex<Set<Int64>>([])

    init(_ base: @escaping @Sendable () -> InProcessReleaseSource?) { self.base = base }

    var numbers: Set<Int64> { seen.withLock { $0 } }

    private func current() throws -> InProcessReleaseSource {
        guard let base = base() else { throw Gone() }
        return base
    }

    func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        let answer = try await current().latestRelease(
            of: channel,
            tenant: tenant,
            unlessAt: revision
        )
        if case .release(let stored) = answer {
            seen.withLock { _ = $0.insert(stored.release.number.rawValue) }
        }
        return answer
    }

    func bundle(_ bundle: BundleDescription, from offset: Int64) async throws -> ByteChunks {
        try await current().bundle(bundle, from: offset)
    }

    func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {
        try await current().acknowledge(applied, tenant: tenant)
    }
}
