import ArtifactStore
import ClusterLink
import ClusterRole
import Foundation
import Logging

/// A worker of the benchmark's channel.
final class BenchmarkWorker {
    private let manager: String
    private let directory: String
    private var sync: ArtifactSync?

    init(manager: String, directory: String) {
        self.manager = manager
        self.directory = directory
    }

    private func client(_ address: String) throws -> LinkClient {
        try LinkClient(
            node: "worker-1",
            configuration: LinkClientConfiguration(
                addresses: [address],
                token: BenchmarkManager.token
            ),
            logger: silent
        )
    }

    func run() async throws {
        try await eachCommand { words in
            switch words[0] {
            case "trust": try trust(words[1])
            case "sync":
                guard let sync else { throw Misuse("trust a key first") }
                let step = Step()
                let report = try await sync.syncOnce()
                try step.report([
                    "received": report.bytesReceived, "transfer": report.transfer.rawValue,
                    "changed": report.filesChanged, "applied": report.isApplied,
                    "outcome": "\(report.outcome)",
                ])
            case "load": try await load(words[1], at: words[2], width: min(50, Int(words[3]) ?? 50))
            default: throw Misuse("unknown command \(words[0])")
            }
        }
    }

    private func trust(_ key: String) throws {
        var configuration = SyncConfiguration(node: "worker-1")
        configuration.logger = silent
        sync = ArtifactSync(
            channel: BenchmarkManager.channel,
            source: try client(manager),
            directory: directory,
            deployer: DirectoryDeployer(),
            trusted: TrustedKeys(try ReleasePublicKey(parsing: key)),
            configuration: configuration
        )
        try say(["trusted": true])
    }

    /// Downloads one object over `width` connections at once and drops the bytes.
    private func load(_ object: String, at path: String, width: Int) async throws {
        // A client has 32 connections at most.
        let sources = try (0..<2).map { _ in try client(manager + (path == "/" ? "" : path)) }
        let digest = try ContentDigest(parsing: object)
        let bundle = BundleDescription(
            from: nil,
            to: TreeID(digest),
            object: digest,
            byteCount: 0
        )
        let step = Step()
        let total = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<width {
                group.addTask {
                    var count = 0
                    for try await chunk in try await sources[number % 2].bundle(bundle, from: 0) {
                        count += chunk.count
                    }
                    return count
                }
            }
            return try await group.reduce(0, +)
        }
        try step.report(["received": total])
    }
}
