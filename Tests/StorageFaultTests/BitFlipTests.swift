#if SQLite
import ArtifactStore
import ClusterMembership
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import NotificationDispatch
import OperationQueue
import SQLiteEngine
import SQLiteReplica
import SQLiteStore
import XCTest

/// One flipped bit anywhere in a file: it is reported, or nothing that is returned differs.
final class BitFlipTests: XCTestCase {
    /// A store with rows in every table.
    private func fill(_ house: StoreHouse) async throws {
        let store = house.store
        let epoch = house.epoch
        var devices: [DeviceIdentity] = []
        for index in 0..<6 {
            let id = DeviceID(rawValue: "device-\(index)")
            let made = try await house.administration.enrol(id, groups: StoreHouse.groups)
            try await house.exchange.register(
                push: (transport: "http", address: "https://push.example/\(index)"),
                device: made.identity
            )
            try await house.exchange.record(
                .location,
                body: Array("[\(index),2]".utf8),
                device: made.identity
            )
            devices.append(made.identity)
        }
        _ = try await house.administration.remove("device-5")
        for index in 0..<8 {
            _ = try await house.enqueue(
                .group(index % 2 == 0 ? "red" : "blue"),
                key: "key-\(index)"
            )
            _ = try await house.enqueue(.devices(devices[index % 4..<5].map(\.device)))
        }
        for device in devices[..<3] {
            let answer = try await house.exchange.exchange(device: device)
            let results = answer.operations.prefix(4).map {
                ExecutionResult(execution: $0.execution, attempt: $0.attempt, outcome: .completed)
            }
            _ = try await house.exchange.exchange(
                device: device,
                report: ExchangeReport(results: results, limit: 0)
            )
        }
        let stranger = DeviceIdentity(
            tenant: .standard,
            device: "nobody",
            incarnation: IncarnationID(bits: 1)
        )
        let rejected = InboxEntry(
            identity: stranger,
            receivedAt: house.time.now(),
            body: .contact(answeredAt: nil)
        )
        _ = try await store.apply(
            [SpooledEntry(number: 1, entry: rejected)],
            from: SpoolMark(node: "worker-1", incarnation: IncarnationID(bits: 4), number: 1),
            epoch: epoch,
            at: house.time.now()
        )
        for name in ["info", "places"] {
            let task = PeriodicTask(
                id: PeriodicTaskID(rawValue: name),
                frequency: .seconds(600),
                satisfiedBy: .location,
                begins: house.time.now()
            )
            try await store.put(task, tenant: .standard, epoch: epoch)
        }
        while try await !store.spread(limit: 100, epoch: epoch, at: house.time.now()) {}
        _ = try await store.claim(
            limit: 5,
            in: .all,
            epoch: epoch,
            at: house.time.now() + .seconds(1_200)
        )
        let policy = CompliancePolicy(id: "passcode", version: "1", payload: [1])
        try await store.put(
            policy,
            activity: ActivityID(bits: 9),
            tenant: .standard,
            epoch: epoch
        )
        for (index, device) in devices[..<3].enumerated() {
            let report = """
                {"policy":"passcode","version":"1","compliant":\(index == 0),"violations":["short"]}
                """
            try await house.exchange.record(.compliance, body: Array(report.utf8), device: device)
        }
        for name in ["manager-1", "worker-1"] {
            let member = Member(
                node: NodeID(rawValue: name),
                role: .worker,
                domain: .standard(for: .worker),
                properties: ["zone": "north"],
                joinedAt: house.time.now(),
                lastHeard: house.time.now()
            )
            _ = try await store.put(member, epoch: epoch)
        }
        let release = try ReleaseStorageConformance.sample(1)
        _ = try await store.append(release, after: nil, epoch: epoch)
        _ = try await store.record(
            AppliedRelease(node: "worker-1", release: release.release, at: house.time.now()),
            tenant: .standard,
            epoch: epoch
        )
    }

    /// Everything the store's readers return, as one number. Unordered collections are not in it.
    private static func read(_ store: EmbeddedStore, _ now: Timestamp) async throws -> Int {
        var hasher = Hasher()
        let tenant = TenantID.standard
        let devices = try await store.devices(in: nil, after: nil, limit: 100, tenant: tenant)
        hasher.combine(devices)
        for device in devices {
            hasher.combine(try await store.device(device.row.id, tenant: tenant))
            hasher.combine(try await store.device(credential: device.row.credential))
            hasher.combine(try await store.information(of: device.row.id, tenant: tenant))
            hasher.combine(try await store.openWork(for: device.row.id, tenant: tenant))
        }
        hasher.combine(try await store.groups(tenant: tenant))
        for group in [GroupID.everyone] + StoreHouse.groups {
            let members = try await store.devices(in: group, after: nil, limit: 100, tenant: tenant)
            hasher.combine(members)
        }
        let activities = try await store.activities(before: nil, limit: 100, tenant: tenant)
        hasher.combine(activities)
        for activity in activities {
            hasher.combine(try await store.activity(activity.id, tenant: tenant))
            let executions = try await store.executions(
                of: activity.id,
                after: nil,
                limit: 100,
                tenant: tenant
            )
            hasher.combine(executions)
        }
        hasher.combine(try await store.expired(at: now, limit: 100).map(\.id))
        hasher.combine(try await store.tasks(tenant: tenant))
        for device in devices {
            hasher.combine(try await store.dueTimes(of: device.row.id, tenant: tenant))
        }
        hasher.combine(try await store.policies(tenant: tenant))
        for state in ComplianceState.allCases {
            let standings = try await store.devices(
                of: "passcode",
                in: state,
                after: nil,
                limit: 100,
                tenant: tenant
            )
            hasher.combine(standings)
        }
        let violators = try await store.violators(at: .distantFuture, limit: 100, in: .all)
        hasher.combine(violators)
        let wakes: [DueWakeUp] = try await store.due(at: .distantFuture, limit: 100)
        hasher.combine(wakes)
        hasher.combine(try await store.nextDue())
        hasher.combine(try await store.members())
        hasher.combine(try await store.latest(of: "web/site", tenant: tenant)?.revision)
        hasher.combine(try await store.acknowledgements(of: "web/site", tenant: tenant))
        let start = Revision(history: store.history, number: 0)
        hasher.combine(try await store.changes(after: start, limit: 1_000))
        let page = try await store.page(after: nil, cursor: nil, limit: 1_000, for: "worker-1")
        hasher.combine(page.rows)
        hasher.combine(page.revision)
        return hasher.finalize()
    }

    func test_store_aFlippedBit_isReportedOrChangesNothing() async throws {
        let directory = try TestDirectory()
        let path = directory.path + "/store.sqlite"
        let house = try await StoreHouse.open(path, seed: 3)
        try await fill(house)
        let now = house.time.now()
        let report = try await house.store.verify()
        XCTAssertTrue(report.isSound, report.summary)
        XCTAssertGreaterThan(report.rows, 100)
        let expected = try await Self.read(house.store, now)
        try await house.store.close()
        let original = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        let tally = try await BitFlips.flip(original, at: path, count: 1_400, seed: 77) { path in
            let house = try await StoreHouse.open(path)
            do {
                let found = try await Self.read(house.store, now)
                try await house.store.close()
                return found == expected ? .same : .different
            } catch {
                try? await house.store.close()
                throw error
            }
        } verify: { path in
            let house = try await StoreHouse.open(path)
            do {
                let report = try await house.store.verify()
                guard report.isSound else { throw DamageFound(summary: report.summary) }
            } catch {
                try? await house.store.close()
                throw error
            }
            try await house.store.close()
        }
        XCTAssertGreaterThan(tally.reported, 500)
        XCTAssertEqual(tally.silent, [])
    }
}
#endif
