#if SQLite
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import SQLiteEngine
import XCTest

@testable import SQLiteReplica

final class FirstFormatTests: XCTestCase {
    func test_replica_withRowsOfTheFirstFormat_answersAsBefore() async throws {
        let scene = try ReplicaScene()
        let path = scene.newPath()
        let now = scene.time.now()
        let device = DeviceID(rawValue: "d")
        try await scene.manager.enrol("d", token: "t", at: now)
        let operation = try await scene.manager.enqueue(.group(.everyone), at: now)
        let replica = try scene.open(path)
        try await scene.follow(replica)
        let before = try await replica.openWork(for: device, tenant: .standard)
        try await replica.close()
        let rewritten = try await rewrite(path)
        XCTAssertEqual(rewritten, 3, "the device, its membership, the activity")
        let again = try scene.open(path)
        let after = try await again.openWork(for: device, tenant: .standard)
        XCTAssertEqual(after?.items.map(\.operation.id), [operation.id])
        XCTAssertEqual(after, before)
        try await again.close()
    }

    /// Gives each row of a replica's file the form an older build wrote: without terms and gates.
    ///
    /// - Returns: how many rows there were.
    private func rewrite(_ path: String) async throws -> Int {
        let file = try DatabaseFile(
            path: path,
            node: NodeID(rawValue: "worker"),
            migrations: ReplicaSchema.migrations
        )
        let count = try file.writeWhileOpening { connection in
            let rows = try connection.rows("SELECT generation, kind, key, body FROM replica") {
                (generation: $0.int64(0), kind: $0.int64(1), key: $0.blob(2), body: $0.blob(3))
            }
            for row in rows {
                var body = row.body
                body[0] = 1
                if row.kind == ReplicaKey.Kind.activity.rawValue {
                    // At the end: terms (none), the group, the state, the hold, the ceiling.
                    let group = 2 + GroupID.everyone.rawValue.utf8.count
                    body.removeLast(4)
                    body.remove(at: body.count - 1 - group - 1)
                }
                try connection.run(
                    sealedFor: "replica",
                    """
                    INSERT OR REPLACE INTO replica (generation, kind, key, body, sum)
                    VALUES (?, ?, ?, ?, ?)
                    """,
                    row.generation,
                    row.kind,
                    row.key,
                    body
                )
            }
            return rows.count
        }
        try await file.close()
        return count
    }
}
#endif
