import ClusterRole
import ClusterTestKit
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import XCTest

#if SQLite
import ClusterMembership
import SQLiteStore
#endif

/// One driver of all storage protocols with the façades over it, for ``AncestorDefectsTests``.
struct AncestorScene: Sendable {
    let driver: String
    let house: QueueHouse
    let devices: any DeviceStorage
    let wakes: any WakeStorage
    let tasks: any PeriodicTaskStorage
    /// The same store, as another process finds it after this one ended.
    let restarted: @Sendable () async throws -> AncestorScene
    let close: @Sendable () async throws -> Void

    var clock: ManualTimeSource { house.time }

    /// Runs a test on every driver.
    static func onEachDriver(_ test: (AncestorScene) async throws -> Void) async throws {
        try await test(inMemory(InMemoryCluster()))
        #if SQLite
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let scene = try await embedded(
            directory.path + "/store.sqlite",
            ManualTimeSource(),
            seed: 1
        )
        try await test(scene)
        try await scene.close()
        #endif
    }

    private static func inMemory(_ cluster: InMemoryCluster) -> AncestorScene {
        AncestorScene(
            driver: "in memory",
            house: QueueHouse(
                devices: cluster.devices,
                operations: cluster.operations,
                epoch: cluster.ledger.epoch,
                time: cluster.time,
                random: cluster.random
            ),
            devices: cluster.devices,
            wakes: cluster.wakes,
            tasks: cluster.tasks,
            restarted: { inMemory(cluster) },
            close: {}
        )
    }

    #if SQLite
    private static func embedded(
        _ path: String,
        _ time: ManualTimeSource,
        seed: UInt64
    ) async throws -> AncestorScene {
        let node = NodeID(rawValue: "manager-1")
        let store = try await EmbeddedStore.open(
            path: path,
            node: node,
            secrets: SecretBox(key: Array(repeating: 7, count: SecretBox.keySize))
        )
        let epoch = try await store.acquire(holder: node, duration: .seconds(30)).epoch
        return AncestorScene(
            driver: "embedded",
            house: QueueHouse(
                devices: store,
                operations: store,
                epoch: epoch,
                time: time,
                random: SeededRandomSource(seed: seed)
            ),
            devices: store,
            wakes: store,
            tasks: store,
            restarted: {
                try await store.close()
                return try await embedded(path, time, seed: seed + 1)
            },
            close: { try await store.close() }
        )
    }
    #endif

    // MARK: What tests do again and again

    @discardableResult
    func enrol(
        _ name: String,
        groups: [GroupID] = [],
        tenant: TenantID = .standard
    ) async throws -> DeviceIdentity {
        let made = try await house.administration.enrol(
            DeviceID(rawValue: name),
            groups: groups,
            tenant: tenant
        )
        try await house.exchange.register(
            push: (transport: "test", address: name),
            device: made.identity
        )
        return made.identity
    }

    func enqueue(_ target: OperationTarget, code: OperationCode = "lock") async throws
        -> EnqueueReceipt
    { try await house.enqueuer.enqueue(EnqueueRequest(code, to: target)) }

    func poll(_ device: DeviceIdentity, limit: Int = 100) async throws -> [OfferedOperation] {
        try await house.exchange.exchange(device: device, report: ExchangeReport(limit: limit))
            .operations
    }

    func report(
        _ outcome: ResultOutcome,
        to offer: OfferedOperation,
        from device: DeviceIdentity,
        detail: [UInt8] = [1]
    ) async throws {
        let result = ExecutionResult(
            execution: offer.execution,
            attempt: offer.attempt,
            outcome: outcome,
            detail: detail
        )
        _ = try await house.exchange.exchange(
            device: device,
            report: ExchangeReport(results: [result], limit: 0)
        )
    }

    func execution(of receipt: EnqueueReceipt) async throws -> Execution {
        let page = try await house.browser.executions(of: receipt.activity)
        return try XCTUnwrap(page.executions.first, driver)
    }

    func activity(of receipt: EnqueueReceipt) async throws -> Activity {
        try await house.browser.activity(receipt.activity)
    }

    func dueWakes() async throws -> [String] {
        try await wakes.due(at: .distantFuture, limit: 1_000).map {
            "\($0.wake.tenant)/\($0.wake.device)"
        }.sorted()
    }
}
