import ArtifactStore
import Benchmark
import ClusterRole
import Foundation

/// Publish and synchronization of a made tree: 300 files, 3 of which change from release to release.
enum ArtifactBenchmarks {
    static func register() {
        for driver in Driver.allCases {
            publish(driver)
            fullSync(driver)
            incrementalSync(driver)
        }
    }

    /// The changed tree becomes the next release, with its full and its incremental bundle.
    private static func publish(_ driver: Driver) {
        measure(
            "Publish 300 files, \(driver.rawValue)",
            .once,
            make: { try await Publishing(driver) },
            close: { try await $0.store.close() }
        ) { benchmark, publishing in
            try await publishing.change()
            benchmark.startMeasurement()
            blackHole(try await publishing.publish())
            benchmark.stopMeasurement()
        }
    }

    /// A worker without any release fetches, verifies and activates one.
    private static func fullSync(_ driver: Driver) {
        measure(
            "Full sync of 300 files, \(driver.rawValue)",
            .once,
            make: { () async throws -> Publishing in
                let publishing = try await Publishing(driver)
                _ = try await publishing.publish()
                return publishing
            },
            close: { try await $0.store.close() }
        ) { benchmark, publishing in
            let directory = publishing.store.scratch.path("worker-\(UUID().uuidString)")
            let sync = publishing.sync(in: directory)
            benchmark.startMeasurement()
            let report = try await sync.syncOnce()
            benchmark.stopMeasurement()
            guard report.transfer == .full else { throw UnexpectedOutcome("no full transfer") }
            try FileManager.default.removeItem(atPath: directory)
        }
    }

    /// A worker with the release before fetches the difference.
    private static func incrementalSync(_ driver: Driver) {
        measure(
            "Incremental sync of 3 of 300 files, \(driver.rawValue)",
            .once,
            make: { () async throws -> (Publishing, ArtifactSync) in
                let publishing = try await Publishing(driver)
                let sync = publishing.sync(in: publishing.store.scratch.path("worker"))
                _ = try await publishing.publish()
                try await sync.syncOnce()
                return (publishing, sync)
            },
            close: { try await $0.0.store.close() }
        ) { benchmark, fixture in
            try await fixture.0.change()
            _ = try await fixture.0.publish()
            benchmark.startMeasurement()
            let report = try await fixture.1.syncOnce()
            benchmark.stopMeasurement()
            guard report.transfer == .incremental else {
                throw UnexpectedOutcome("no incremental transfer")
            }
        }
    }
}

/// A channel that is published to from one tree, which changes in between.
actor Publishing {
    static let channel: ChannelName = "site"

    nonisolated let store: Store
    private nonisolated let objects: any ObjectStorage
    private nonisolated let publicKey: ReleasePublicKey
    private let publisher: ArtifactPublisher
    private var version = 0

    init(_ driver: Driver) async throws {
        let store = try await driver.open()
        self.store = store
        try Self.write(300, version: 0, to: store.scratch.path("tree"))
        let objectPath = store.scratch.path("objects")
        let scratchPath = store.scratch.path("scratch")
        for path in [objectPath, scratchPath] {
            try FileManager.default.createDirectory(
                atPath: path,
                withIntermediateDirectories: true
            )
        }
        let objects = try DirectoryObjectStorage(path: objectPath)
        let signer = try Ed25519Signer()
        var configuration = PublisherConfiguration()
        configuration.scratchDirectory = scratchPath
        self.objects = objects
        publicKey = signer.publicKey
        publisher = ArtifactPublisher(
            storage: store.releases,
            objects: objects,
            signer: signer,
            capability: store.capability,
            configuration: configuration
        )
    }

    /// Three files get contents that no release had.
    func change() throws {
        version += 1
        try Self.write(3, version: version, to: store.scratch.path("tree"))
    }

    func publish() async throws -> Publication {
        try await publisher.publish(store.scratch.path("tree"), to: Self.channel)
    }

    /// A worker of the channel, on the store itself.
    nonisolated func sync(in directory: String) -> ArtifactSync {
        ArtifactSync(
            channel: Self.channel,
            source: InProcessReleaseSource(
                storage: store.releases,
                objects: objects,
                capability: store.capability
            ),
            directory: directory,
            deployer: DirectoryDeployer(),
            trusted: TrustedKeys(publicKey),
            configuration: SyncConfiguration(node: "worker")
        )
    }

    /// The first `count` files of the tree: 3 to 15 KiB of text each, in 12 folders.
    private static func write(_ count: Int, version: Int, to path: String) throws {
        for index in 0..<count {
            let folder = "\(path)/folder-\(index % 12)"
            try FileManager.default.createDirectory(
                atPath: folder,
                withIntermediateDirectories: true
            )
            var text = "file \(index), version \(version)\n"
            let lines = 100 + (index * 37) % 300
            for line in 0..<lines { text += "line \(line) of \(index): \(line &* 2_654_435_761)\n" }
            try text.write(
                toFile: "\(folder)/file-\(index).txt",
                atomically: false,
                encoding: .utf8
            )
        }
    }
}
