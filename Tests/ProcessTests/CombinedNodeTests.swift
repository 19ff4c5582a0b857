#if Server && SQLite && Push
import ArtifactStore
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
