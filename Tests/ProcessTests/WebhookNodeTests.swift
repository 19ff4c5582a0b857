#if Server && SQLite && Push
import ClusterRole
import DeviceRegistry
import Foundation
import Logging
import NotificationDispatch
import OperationQueue
import ReeveManager
import ServiceLifecycle
import XCTest

/// A whole manager tells its webhooks, across a restart.
final class WebhookNodeTests: XCTestCase {
    private let url = "https://hooks.example/reeve"

    func test_manager_tellsItsWebhooks_andGoesOnAfterARestart() async throws {
        let directory = FileManager.default.temporaryDirectory.path + "/reeve-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let transport = RecordingWebhookTransport()
        var configuration = ManagerConfiguration(node: "manager-1", directory: directory)
        configuration.webhooks = transport
        configuration.logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

        let first = try await ManagerNode.open(configuration)
        _ = try await first.administration.enrol("tablet-17")
        let webhooks = try XCTUnwrap(first.webhooks)
        let (webhook, _) = try await webhooks.subscribe(url)
        try await whileRunning(first) {
            _ = try await first.operations.enqueue(
                EnqueueRequest("lock", to: .devices(["tablet-17"]))
            )
            // Sent and stored: what is cut off between the two is sent again.
            let limit = ContinuousClock.now + .seconds(30)
            while ContinuousClock.now < limit,
                try await webhooks.webhook(webhook.id).progress.cursor == webhook.progress.cursor
            { await Task.yield() }
        }
        let second = try await ManagerNode.open(configuration)
        _ = try await second.operations.enqueue(
            EnqueueRequest("wipe", to: .devices(["tablet-17"]))
        )
        try await whileRunning(second) { await transport.waitForAttempts(2) }
        let sent = transport.popAccepted(at: url).map { String(decoding: $0.body, as: UTF8.self) }
        XCTAssertEqual(sent.count, 2)
        XCTAssertTrue(sent[0].contains(#""code":"lock""#), sent[0])
        XCTAssertTrue(sent[1].contains(#""code":"wipe""#), sent[1])
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
