import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import XCTest

final class RetentionTaskTests: XCTestCase {
    private struct Refusal: Error {}

    private func task(
        _ cluster: InMemoryCluster,
        _ policy: RetentionPolicy,
        archive: (any ActivityArchive)? = nil
    ) -> RetentionTask {
        RetentionTask(
            storage: cluster.operations,
            policy: policy,
            archive: archive,
            capability: cluster.capability,
            settings: RetentionTask.Settings(clock: cluster.time)
        )
    }

    private func cancelled(
        _ cluster: InMemoryCluster,
        key: String? = nil
    ) async throws -> ActivityID {
        var request = EnqueueRequest(
            OperationCode(rawValue: "lock"),
            to: .devices([DeviceID(rawValue: "d-1")])
        )
        request.idempotencyKey = key
        let receipt = try await cluster.enqueuer.enqueue(request)
        try await cluster.enqueuer.cancel(receipt.activity)
        return receipt.activity
    }

    private func isKnown(_ id: ActivityID, _ cluster: InMemoryCluster) async throws -> Bool {
        try await cluster.operations.activity(id, tenant: .standard) != nil
    }

    func test_byAge_whatIsOldEnoughGoes_andOpenOrYoungActivitiesStay() async throws {
        let cluster = InMemoryCluster()
        try await cluster.enrol("d-1")
        let old = try await cancelled(cluster)
        let open = try await cluster.enqueuer.enqueue(
            EnqueueRequest(
                OperationCode(rawValue: "lock"),
                to: .devices([DeviceID(rawValue: "d-1")])
            )
        ).activity
        cluster.time.advance(by: .seconds(10))
        let young = try await cancelled(cluster)
        cluster.time.advance(by: .seconds(95))
        let archive = RecordingActivityArchive()
        let policy = RetentionPolicy(keepFor: .seconds(100))
        let report = try await task(cluster, policy, archive: archive).tick(at: cluster.time.now())
        XCTAssertEqual(report.activities, 1)
        XCTAssertEqual(archive.records.map(\.activity.id), [old])
        XCTAssertEqual(archive.records.first?.executions.map(\.state), [.cancelled])
        let known = [
            try await isKnown(old, cluster), try await isKnown(open, cluster),
            try await isKnown(young, cluster),
        ]
        XCTAssertEqual(known, [false, true, true])
    }

    func test_byCount_theOldestGo_andKeysStayForAWeek() async throws {
        let cluster = InMemoryCluster()
        try await cluster.enrol("d-1")
        let keyed = try await cancelled(cluster, key: "once")
        var plain: [ActivityID] = []
        for _ in 0..<4 { plain.append(try await cancelled(cluster)) }
        let retention = task(cluster, RetentionPolicy(keepFor: nil, keepAtMost: 2))
        let dry = try await retention.tick(at: cluster.time.now(), dryRun: true)
        XCTAssertEqual(dry.activities, 3)
        XCTAssertEqual(dry.keptForKey, 1)
        let all = try await cluster.operations.history()
        XCTAssertEqual(all.map(\.activities), [5], "a dry run changes nothing")
        let report = try await retention.tick(at: cluster.time.now())
        XCTAssertEqual(report.activities, 3)
        let kept = [
            try await isKnown(keyed, cluster), try await isKnown(plain[2], cluster),
            try await isKnown(plain[3], cluster),
        ]
        XCTAssertEqual(kept, [true, false, true])
        cluster.time.advance(by: RetentionPolicy.minimumKeyAge)
        _ = try await cancelled(cluster)
        try await retention.tick(at: cluster.time.now())
        let isKeyedKnown = try await isKnown(keyed, cluster)
        XCTAssertFalse(isKeyedKnown)
    }

    func test_anArchiveThatFails_keepsTheActivity() async throws {
        let cluster = InMemoryCluster()
        try await cluster.enrol("d-1")
        let activity = try await cancelled(cluster)
        cluster.time.advance(by: .seconds(200))
        let archive = RecordingActivityArchive()
        archive.fail(with: Refusal())
        let retention = task(cluster, RetentionPolicy(keepFor: .seconds(100)), archive: archive)
        do {
            try await retention.tick(at: cluster.time.now())
            XCTFail("the archive failed")
        } catch {
            XCTAssertEqual(error.code, .storage)
        }
        let isKept = try await isKnown(activity, cluster)
        XCTAssertTrue(isKept)
        archive.fail(with: nil)
        try await retention.tick(at: cluster.time.now())
        let isStillKept = try await isKnown(activity, cluster)
        XCTAssertFalse(isStillKept)
    }

    func test_removedDevices_goAfterTheirTime_unlessAnActivityKeepsThem() async throws {
        let cluster = InMemoryCluster()
        for index in 1...120 { try await cluster.enrol("d-\(index)") }
        let kept = try await cancelled(cluster)
        for index in 1...119 {
            _ = try await cluster.administration.remove(DeviceID(rawValue: "d-\(index)"))
        }
        let policy = RetentionPolicy(keepFor: nil, keepRemovedDevicesFor: .seconds(100))
        let retention = task(cluster, policy)
        cluster.time.advance(by: .seconds(100))
        let early = try await retention.tick(at: cluster.time.now())
        XCTAssertEqual(early.devices, 0)
        cluster.time.advance(by: .seconds(1))
        let report = try await retention.tick(at: cluster.time.now())
        XCTAssertEqual(report.devices, 118, "all but the one that the activity names")
        let left = try await cluster.devices.devices(
            in: nil,
            after: nil,
            limit: 200,
            tenant: .standard
        )
        XCTAssertEqual(left.map(\.row.id.rawValue), ["d-1", "d-120"])
        let executions = try await cluster.browser.executions(of: kept).executions
        XCTAssertEqual(executions.map(\.id.device.rawValue), ["d-1"])
        let again = try await retention.tick(at: cluster.time.now())
        XCTAssertEqual(again.devices, 0)
    }

    func test_enqueueRate_aboveTheQuota_isRefusedUntilRetryAfter() async throws {
        let cluster = InMemoryCluster()
        try await cluster.enrol("d-1")
        try await cluster.devices.setQuota(
            TenantQuota(enqueuesPerMinute: 3),
            of: nil,
            epoch: cluster.ledger.epoch
        )
        let enqueuer = OperationEnqueuer(
            storage: cluster.operations,
            capability: cluster.capability,
            clock: cluster.time,
            random: cluster.random,
            quotas: cluster.devices
        )
        let request = EnqueueRequest(
            OperationCode(rawValue: "lock"),
            to: .devices([DeviceID(rawValue: "d-1")])
        )
        for _ in 0..<3 { _ = try await enqueuer.enqueue(request) }
        do {
            _ = try await enqueuer.enqueue(request)
            XCTFail("the fourth was taken")
        } catch {
            XCTAssertEqual(error.code, .quotaExceeded)
            XCTAssertEqual(error.category, .overloaded)
            XCTAssertEqual(error.retryAfter, .seconds(20))
        }
        cluster.time.advance(by: .seconds(20))
        _ = try await enqueuer.enqueue(request)
    }
}
