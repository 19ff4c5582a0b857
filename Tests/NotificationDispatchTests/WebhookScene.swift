import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import Logging
import NotificationDispatch
import OperationQueue
import XCTest

/// A cluster in memory with one device and a dispatcher of webhooks.
struct WebhookScene {
    let cluster = InMemoryCluster()
    let transport = RecordingWebhookTransport()
    let device: DeviceIdentity
    let administration: WebhookAdministration
    let attempts: Int

    init(attempts: Int = 12) async throws {
        self.attempts = attempts
        device = try await cluster.enrol("phone")
        administration = WebhookAdministration(
            storage: cluster.webhooks,
            events: cluster.events,
            transport: transport,
            capability: cluster.capability,
            clock: cluster.time,
            random: cluster.random
        )
    }

    var dispatcher: WebhookDispatcher { makeDispatcher(for: cluster.capability) }

    func makeDispatcher(for capability: WriteCapability) -> WebhookDispatcher {
        var configuration = WebhookDispatchConfiguration()
        if let backoff = try? BackoffSchedule(first: .seconds(5), maximumAttempts: attempts) {
            configuration.backoff = backoff
        }
        configuration.logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        return WebhookDispatcher(
            storage: cluster.webhooks,
            events: cluster.events,
            transport: transport,
            capability: capability,
            configuration: configuration,
            clock: cluster.time,
            random: cluster.random
        )
    }

    func subscribe(
        _ name: String,
        to filter: EventFilter = .everything
    ) async throws -> (WebhookSubscription, WebhookSecret) {
        try await administration.subscribe("https://\(name).example/hook", to: filter)
    }

    func enqueue(_ code: String) async throws -> EnqueueReceipt {
        try await cluster.enqueuer.enqueue(
            EnqueueRequest(OperationCode(rawValue: code), to: .devices([device.device]))
        )
    }

    /// The device does everything it is offered.
    func complete() async throws {
        let offered = try await cluster.exchange.exchange(device: device).operations
        let results = offered.map {
            ExecutionResult(execution: $0.execution, attempt: $0.attempt, outcome: .completed)
        }
        _ = try await cluster.exchange.exchange(
            device: device,
            report: ExchangeReport(results: results, limit: 0)
        )
    }

    /// Lets time pass, second by second.
    func advance(by duration: Duration) async throws {
        for _ in 0..<(duration.milliseconds / 1_000) {
            cluster.time.advance(by: .seconds(1))
            try await dispatcher.step()
        }
    }
}

/// What a receiver reads.
struct WebhookBody: Decodable {
    struct Content: Decodable {
        struct Event: Decodable {
            var id: String
            var type: String
            var activity: String
            var code: String
            var from: String?
            var to: String
            var version: Int32?
        }

        var webhook: String
        var events: [Event]
    }

    var type: String
    var timestamp: String
    var data: Content

    init(_ request: WebhookRequest) throws {
        self = try JSONDecoder().decode(WebhookBody.self, from: Data(request.body))
    }
}

/// Waits until a value satisfies a condition; fails after a generous time.
func eventually<Value>(
    _ value: () -> Value,
    reaches condition: (Value) -> Bool
) async throws {
    let limit = ContinuousClock.now + .seconds(30)
    while !condition(value()) {
        guard ContinuousClock.now < limit else { return XCTFail("it did not come to pass") }
        await Task.yield()
    }
}
