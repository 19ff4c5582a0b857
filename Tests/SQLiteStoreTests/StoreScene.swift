#if SQLite
import ClusterMembership
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import XCTest

@testable import SQLiteEngine
@testable import SQLiteStore

/// An open store in a temporary directory, with what tests do again and again.
struct EmbeddedScene: Sendable {
    static let node = NodeID(rawValue: "manager-1")
    let file: TemporaryFile
    let store: EmbeddedStore
    let epoch: Epoch
    let random = SystemRandomSource()
    let now = Timestamp(milliseconds: 1_700_000_000_000)
    let tenant = TenantID.standard

    static func secrets(_ byte: UInt8 = 7) throws -> SecretBox {
        try SecretBox(key: Array(repeating: byte, count: SecretBox.keySize))
    }

    static func open(
        _ file: TemporaryFile? = nil,
        key: UInt8 = 7,
        configuration: EmbeddedStoreConfiguration = EmbeddedStoreConfiguration()
    ) async throws -> EmbeddedScene {
        let file = try file ?? TemporaryFile()
        let store = try await EmbeddedStore.open(
            path: file.path,
            node: node,
            secrets: try secrets(key),
            configuration: configuration
        )
        let lease = try await store.acquire(holder: node, duration: .seconds(30))
        return EmbeddedScene(file: file, store: store, epoch: lease.epoch)
    }

    func reopened() async throws -> EmbeddedScene {
        try await store.close()
        return try await EmbeddedScene.open(file)
    }

    @discardableResult
    func enrol(_ id: String, groups: [String] = [], key: String? = nil) async throws -> DeviceRow {
        let receipt = try await store.commit(
            .enrol(
                EnrolmentRecord(
                    device: DeviceID(rawValue: id),
                    incarnation: IncarnationID(from: random),
                    credential: DeviceCredential(from: random).digest,
                    groups: groups.map { GroupID(rawValue: $0) },
                    key: key
                )
            ),
            tenant: tenant,
            epoch: epoch,
            at: now
        )
        return try XCTUnwrap(receipt.row)
    }

    /// Writes many enrolments in one call, past the public interface, to have a large fleet soon.
    func enrolFleet(_ count: Int, group: String) async throws -> [DeviceID] {
        let (tenant, now, random) = (tenant, now, random)
        let ids = (0..<count).map { DeviceID(rawValue: "device-\(1_000_000 + $0)") }
        _ = try await store.guarded(epoch: epoch) { connection, number in
            let known = try connection.row("SELECT max(idx) FROM device") { $0.int64(0) } ?? 0
            var record = GroupRecord(idx: 1, tenant: tenant, group: GroupID(rawValue: group))
            record.members = count
            try record.store(connection)
            for (index, id) in ids.enumerated() {
                let device = DeviceRecord(
                    idx: known + 1 + Int64(index),
                    row: DeviceRow(
                        tenant: tenant,
                        id: id,
                        incarnation: IncarnationID(from: random),
                        state: .enrolled,
                        credential: CredentialDigest(high: 0, low: UInt128(index))
                    ),
                    enrolledAt: now,
                    key: nil
                )
                try device.store(connection)
                try MembershipRecord(
                    groupIdx: 1,
                    device: id,
                    joined: number,
                    deviceIdx: device.idx
                ).store(connection)
            }
            return ([.device(tenant: tenant, id: "fleet")], ())
        }
        return ids
    }

    func plan(
        _ target: OperationTarget,
        key: String? = nil,
        wakeAt: Timestamp? = nil,
        payload: [UInt8] = [1, 2, 3]
    ) -> EnqueuePlan {
        EnqueuePlan(
            operation: DeviceOperation(
                id: OperationID(from: random),
                activity: ActivityID(from: random),
                number: 0,
                code: OperationCode(rawValue: "lock"),
                payload: payload,
                createdAt: now
            ),
            target: target,
            initiator: "tester",
            idempotencyKey: key,
            requestDigest: payload,
            wakeAt: wakeAt
        )
    }

    func enqueue(_ plan: EnqueuePlan) async throws -> EnqueueReceipt {
        try await store.enqueue(plan, tenant: tenant, epoch: epoch)
    }

    func apply(_ row: DeviceRow, _ bodies: InboxEntry.Body...) async throws -> ApplyReceipt {
        let entries = bodies.enumerated().map { index, body in
            SpooledEntry(
                number: Int64(index) + 1,
                entry: InboxEntry(identity: row.identity, receivedAt: now, body: body)
            )
        }
        return try await store.apply(entries, from: nil, epoch: epoch, at: now)
    }

    func count(_ table: String) async throws -> Int {
        try await store.file.read { connection in
            try connection.row("SELECT count(*) FROM \(table)") { $0.int(0) } ?? 0
        }
    }
}
#endif
