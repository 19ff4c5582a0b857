import ArtifactStore
import ClusterRole
import Foundation

/// Publishes two trees one after the other and synchronizes a worker with each, all in this process and
/// without HTTP: what the library itself costs.
struct LocalRun {
    private static let channel: ChannelName = "bench/tree"
    private let publisher: ArtifactPublisher
    private let sync: ArtifactSync

    init(directory: String) throws {
        for name in ["", "/scratch"] {
            try FileManager.default.createDirectory(
                atPath: directory + name,
                withIntermediateDirectories: true
            )
        }
        let ledger = InMemoryLedger()
        let capability = WriteCapability(epoch: ledger.raiseEpoch())
        let releases = InMemoryReleaseStorage(ledger: ledger)
        let objects = try DirectoryObjectStorage(path: directory + "/objects")
        let signer = try Ed25519Signer()
        var publishing = PublisherConfiguration()
        publishing.scratchDirectory = directory + "/scratch"
        publishing.scanMemory = directory + "/scans"
        publishing.logger = silent
        publisher = ArtifactPublisher(
            storage: releases,
            objects: objects,
            signer: signer,
            capability: capability,
            configuration: publishing
        )
        var syncing = SyncConfiguration(node: "worker-1")
        syncing.logger = silent
        sync = ArtifactSync(
            channel: Self.channel,
            source: InProcessReleaseSource(
                storage: releases,
                objects: objects,
                capability: capability
            ),
            directory: directory + "/worker",
            deployer: DirectoryDeployer(),
            trusted: TrustedKeys(signer.publicKey),
            configuration: syncing
        )
    }

    func run(_ trees: [String]) async throws {
        for (index, tree) in trees.enumerated() {
            try await publish(tree, "publish v\(index + 1)")
            try await look("sync v\(index + 1)")
        }
        try await look("nothing new")
        try await publish(trees[trees.count - 1], "publish the same")
        let step = Step()
        _ = try await publisher.rollback(Self.channel, to: .first)
        try step.report(["step": "publish the rollback"])
        try await look("sync the rollback")
    }

    private func publish(_ tree: String, _ name: String) async throws {
        let step = Step()
        let publication = try await publisher.publish(
            tree,
            to: Self.channel,
            options: PublishOptions(kind: .files, links: .allowAbsolute)
        )
        try step.report([
            "step": name, "bundles": publication.bundles.map(\.byteCount),
            "files": publication.fileCount,
        ])
    }

    private func look(_ name: String) async throws {
        let step = Step()
        let report = try await sync.syncOnce()
        try step.report([
            "step": name, "received": report.bytesReceived,
            "transfer": report.transfer.rawValue,
        ])
    }
}
