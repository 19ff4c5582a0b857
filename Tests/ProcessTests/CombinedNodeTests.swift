#if Server && SQLite && Push
import ArtifactStore
import ClusterMembership
import ClusterRole
import Foundation
import Logging
import ReeveManager
import ServiceLifecycle
import XCTest

/// One process that publishes and deploys.
final class CombinedNodeTests: XCTestCase {
    func test_combinedNode_deploysWhatItPublishes_andAManagerDoesNot() async throws {
        let directory = FileManager.default.temporaryDirectory.path + "/reeve-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let source = directory + "-site"
        defer { try? FileManager.default.removeItem(atPath: source) }
        try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: true)
        try Data("hello".utf8).write(to: URL(fileURLWithPath: source + "/index.html"))
        var configuration = ManagerConfiguration(node: "node-1", directory: directory)
        configuration.channels = ["web/site": DirectoryDeployer()]
        configuration.logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

        let manager = try await ManagerNode.open(configuration)
        try await whileRunning(manager) {
            _ = try await manager.publisher.publish(source, to: "web/site")
            XCTAssertNil(manager.artifacts.sync(of: "web/site")?.active)
        }
        configuration.profile = .combined
        let combined = try await ManagerNode.open(configuration)
        try await whileRunning(combined) {
            let limit = ContinuousClock.now + .seconds(60)
            while ContinuousClock.now < limit,
                combined.artifacts.sync(of: "web/site")?.active == nil
            { await Task.yield() }
            let text = try await combined.artifacts.withActiveRelease(of: "web/site") {
                try String(contentsOfFile: $0.path(of: "index.html"), encoding: .utf8)
            }
            XCTAssertEqual(text, "hello")
        }
    }

    /// What a node deploys counts like what a worker deploys: in quorums, in waves, by its labels and health.
    func test_combinedNode_isAMemberThatRolloutsCount_andLeavesWhenItEnds() async throws {
        let scene = try Scene()
        defer { scene.remove() }
        var configuration = scene.configuration
        configuration.profile = .combined
        configuration.labels = ["tier": "first"]
        configuration.abilities.softwareVersion = try SoftwareVersion(parsing: "2.1")
        configuration.healthInterval = .milliseconds(100)
        let node = try await ManagerNode.open(configuration)
        try await whileRunning(node) {
            try scene.write("one")
            _ = try await node.publisher.publish(scene.source, to: "web/site")
            let first = try await node.rollouts.awaitApplied(
                .first,
                of: "web/site",
                quorum: .count(1),
                within: .seconds(60)
            )
            XCTAssertTrue(first.isReached, "\(first.progress)")
            XCTAssertEqual(first.progress.nodes, 1)
            let wave = ReleaseRolloutWave(.labelled(["tier": "first"]), health: .reportedHealthy)
            let rollout = try await node.rollouts.start(
                ReleaseRolloutPlan(waves: [wave]),
                of: "web/site",
                by: "test"
            )
            try scene.write("two")
            _ = try await node.publisher.publish(scene.source, to: "web/site")
            try await eventually("the rollout is over") {
                try await node.rollouts.rollout(rollout.id).state == .completed
            }
            let waves = try await node.rollouts.status(of: rollout.id).waves
            XCTAssertEqual(waves.first?.applied, 1)

            let found = try await node.members.member("node-1")
            let member = try XCTUnwrap(found)
            XCTAssertEqual(member.role, .combined)
            XCTAssertEqual(member.state, .alive)
            XCTAssertEqual(member.domain, .standard(for: .combined))
            XCTAssertEqual(member.address, "127.0.0.1:8180")
            XCTAssertEqual(member.version, "2.1.0")
            XCTAssertEqual(member.properties["label.tier"], "first")
            XCTAssertNotNil(member.applied)
        }
        let next = try await ManagerNode.open(configuration)
        let left = try await next.members.member("node-1")
        XCTAssertEqual(left?.state, .left)
        try await next.close()
    }

    func test_manager_isAMember_thatNoRolloutCounts() async throws {
        let scene = try Scene()
        defer { scene.remove() }
        let node = try await ManagerNode.open(scene.configuration)
        try await whileRunning(node) {
            try scene.write("one")
            _ = try await node.publisher.publish(scene.source, to: "web/site")
            try await eventually("it is a member") {
                try await node.members.member("node-1")?.state == .alive
            }
            let role = try await node.members.member("node-1")?.role
            XCTAssertEqual(role, .manager)
            let progress = try await node.rollouts.progress(.first, of: "web/site")
            XCTAssertEqual(progress.nodes, 0)
        }
    }

    /// A directory for a node, and one for what it publishes.
    private struct Scene {
        let directory = FileManager.default.temporaryDirectory.path + "/reeve-\(UUID().uuidString)"
        var source: String { directory + "-site" }

        init() throws {
            try FileManager.default.createDirectory(
                atPath: source,
                withIntermediateDirectories: true
            )
        }

        var configuration: ManagerConfiguration {
            var configuration = ManagerConfiguration(node: "node-1", directory: directory)
            configuration.channels = ["web/site": DirectoryDeployer()]
            configuration.logger = quietLogger
            return configuration
        }

        func write(_ text: String) throws {
            try Data(text.utf8).write(to: URL(fileURLWithPath: source + "/index.html"))
        }

        func remove() {
            for path in [directory, source] { try? FileManager.default.removeItem(atPath: path) }
        }
    }

    /// Runs a node without its HTTP server until `body` has returned.
    private func whileRunning(
        _ node: ManagerNode,
        _ body: @Sendable () async throws -> Void
    ) async throws {
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [node.background],
                logger: node.configuration.logger
            )
        )
        let running = Task { try await group.run() }
        do {
            try await body()
        } catch {
            await group.triggerGracefulShutdown()
            try? await running.value
            throw error
        }
        await group.triggerGracefulShutdown()
        try await running.value
    }
}
#endif
