#if Server && SQLite && Push
import ArtifactStore
import ClusterRole
import Foundation
import HTTPHandling
import HummingbirdHosting
import ReeveManager
import ReeveWorker
import XCTest

/// Whole managers and workers over loopback: labels, versions and health travel, and a rollout follows them.
final class RolloutNodesTests: XCTestCase {
    private let channel: ChannelName = "site"

    func test_rollout_overTheLink_goesToTheLabelledWorkerFirst_andOnlyToThoseThatAreFit()
        async throws
    {
        let scene = try Nodes()
        let manager = try await scene.manager()
        try await scene.publish("one", on: manager)
        try await ProcessTests.whileRunning(manager) {
            let workers = [
                try await scene.worker("worker-1", on: manager, labels: ["tier": "canary"]),
                try await scene.worker("worker-2", on: manager),
                try await scene.worker("worker-3", on: manager),
            ]
            try await self.whileRunning(workers) {
                let all = try await manager.rollouts.awaitApplied(
                    .first,
                    of: self.channel,
                    quorum: .count(3),
                    within: .seconds(60)
                )
                XCTAssertTrue(all.isReached, "\(all.progress)")
                let plan = ReleaseRolloutPlan(waves: [
                    ReleaseRolloutWave(
                        .labelled(["tier": "canary"]),
                        health: .reportedHealthy,
                        soak: .milliseconds(300)
                    )
                ])
                let rollout = try await manager.rollouts.start(plan, of: self.channel, by: "test")
                try await scene.publish("two", on: manager)
                let canary = try await manager.rollouts.awaitApplied(
                    ReleaseNumber(2),
                    of: self.channel,
                    quorum: .count(1),
                    within: .seconds(60)
                )
                XCTAssertEqual(canary.progress.laggards.map(\.node), ["worker-2", "worker-3"])
                let done = try await manager.rollouts.awaitApplied(
                    ReleaseNumber(2),
                    of: self.channel,
                    within: .seconds(60)
                )
                XCTAssertTrue(done.isReached, "\(done.progress)")
                try await eventually("the rollout is over") {
                    try await manager.rollouts.rollout(rollout.id).state == .completed
                }
                let health = try await manager.rollouts.status(of: rollout.id)
                XCTAssertEqual(health.waves.map(\.applied), [1, 2])
            }
        }
        scene.remove()
    }

    // MARK: - Running

    private func whileRunning(_ workers: [WorkerNode], _ body: () async throws -> Void) async throws
    {
        guard let first = workers.first else { return try await body() }
        try await ProcessTests.whileRunning(first.background) {
            try await self.whileRunning(Array(workers.dropFirst()), body)
        }
    }

    /// Nodes in a directory of their own.
    private struct Nodes {
        let directory = FileManager.default.temporaryDirectory.path + "/reeve-\(UUID().uuidString)"
        let port: Int

        init() throws {
            port = try freePort()
            try FileManager.default.createDirectory(
                atPath: directory,
                withIntermediateDirectories: true
            )
        }

        func remove() { try? FileManager.default.removeItem(atPath: directory) }

        func manager() async throws -> ManagerNode {
            var configuration = ManagerConfiguration(
                node: "manager-1",
                directory: directory + "/manager"
            )
            configuration.address = .loopback(port: port)
            for index in 1...3 {
                configuration.identities["token-of-worker-number-\(index)"] = Identity(
                    name: "worker-\(index)",
                    permissions: [.link]
                )
            }
            configuration.logger = quietLogger
            return try await ManagerNode.open(configuration)
        }

        func worker(
            _ name: String,
            on manager: ManagerNode,
            labels: [String: String] = [:]
        ) async throws -> WorkerNode {
            var configuration = WorkerConfiguration(
                node: NodeID(rawValue: name),
                directory: directory + "/" + name
            )
            configuration.managers = ["http://127.0.0.1:\(port)"]
            configuration.token = "token-of-worker-number-\(name.suffix(1))"
            configuration.channels = ["site": DirectoryDeployer()]
            configuration.trusted = TrustedKeys(manager.publicKey)
            configuration.labels = labels
            configuration.abilities.softwareVersion = try SoftwareVersion(parsing: "2.1")
            configuration.healthInterval = .milliseconds(100)
            configuration.logger = quietLogger
            return try await WorkerNode.open(configuration)
        }

        func publish(_ text: String, on manager: ManagerNode) async throws {
            let source = "\(directory)/source-\(text)"
            try FileManager.default.createDirectory(
                atPath: source,
                withIntermediateDirectories: true
            )
            try text.write(toFile: "\(source)/index.html", atomically: true, encoding: .utf8)
            _ = try await manager.publisher.publish(source, to: "site")
        }
    }
}
#endif
