#if SQLite
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import SQLiteEngine
import XCTest

@testable import SQLiteReplica

final class ReplicaTests: XCTestCase {
    func test_replica_beforeTheFirstSnapshot_knowsNobodyAndDecidesNothing() async throws {
        let scene = try ReplicaScene()
        let replica = try scene.open(scene.newPath())
        XCTAssertNil(replica.revision)
        XCTAssertNil(replica.age)
        do {
            _ = try await replica.openWork(for: DeviceID(rawValue: "d"), tenant: .standard)
            XCTFail("It answered without knowing.")
        } catch let error as DeviceRegistryError {
            XCTAssertEqual(error.code, .cannotDecide)
        }
        do {
            _ = try await replica.authenticate(token: "t")
            XCTFail("It answered without knowing.")
        } catch let error as DeviceRegistryError {
            XCTAssertEqual(error.code, .cannotDecide)
            XCTAssertNotNil(error.retryAfter)
        }
        try await replica.close()
    }

    func test_replica_afterSnapshotAndDeltas_answersLikeTheManager() async throws {
        let scene = try ReplicaScene()
        let replica = try scene.open(scene.newPath())
        let now = scene.time.now()
        for index in 0..<20 {
            try await scene.manager.enrol("d\(index)", token: "t\(index)", at: now)
        }
        try await scene.manager.enqueue(.group(.everyone), at: now)
        // Small pages, so that the snapshot has many.
        try await scene.follow(replica, limit: 7)
        try await scene.manager.enqueue(
            .devices([DeviceID(rawValue: "d3")]),
            code: "wipe",
            at: now
        )
        try await scene.follow(replica)
        for index in 0..<20 {
            let id = DeviceID(rawValue: "d\(index)")
            let mine = try await replica.openWork(for: id, tenant: .standard)
            let theirs = try await scene.manager.operations.openWork(for: id, tenant: .standard)
            XCTAssertEqual(mine?.items.map(\.operation.id), theirs?.items.map(\.operation.id))
            let identity = try await replica.authenticate(token: "t\(index)")
            XCTAssertEqual(identity?.device, id)
        }
        XCTAssertEqual(replica.deviceCount, 20)
        try await replica.close()
    }

    func test_replica_reopened_isWhereItWas() async throws {
        let scene = try ReplicaScene()
        let path = scene.newPath()
        let row = try await scene.manager.enrol("d", token: "t", at: scene.time.now())
        let operation = try await scene.manager.enqueue(
            .group(.everyone),
            at: scene.time.now()
        )
        let first = try scene.open(path)
        try await scene.follow(first)
        let revision = first.revision
        let incarnation = first.incarnation
        try await first.close()

        scene.time.advance(by: .seconds(90))
        let second = try scene.open(path)
        XCTAssertEqual(second.incarnation, incarnation)
        XCTAssertEqual(second.revision, revision)
        XCTAssertEqual(second.position.epoch, scene.manager.ledger.epoch)
        // It says how old it is, across the restart.
        XCTAssertEqual(second.age, .seconds(90))
        let work = try await second.openWork(for: row.id, tenant: .standard)
        XCTAssertEqual(work?.offered(at: scene.time.now()), [operation.id])
        // Changes go on from there: no snapshot is needed.
        try await scene.manager.enrol("e", token: "u", at: scene.time.now())
        let page = try await scene.manager.operations.page(
            after: second.position.revision,
            cursor: nil,
            limit: 100,
            for: scene.node
        )
        XCTAssertEqual(page.content, .delta)
        try await second.apply(page)
        XCTAssertEqual(second.deviceCount, 2)
        XCTAssertEqual(second.age, .zero)
        try await second.close()
    }

    func test_replica_reopenedInsideASnapshot_servesTheOldImage() async throws {
        let scene = try ReplicaScene()
        let path = scene.newPath()
        for index in 0..<5 {
            try await scene.manager.enrol("d\(index)", token: "t\(index)", at: scene.time.now())
        }
        let first = try scene.open(path)
        try await scene.follow(first)
        let before = first.revision
        scene.replaceManager(history: 8)
        for index in 0..<9 {
            try await scene.manager.enrol("n\(index)", token: "n\(index)", at: scene.time.now())
        }
        let page = try await scene.manager.operations.page(
            after: before,
            cursor: nil,
            limit: 4,
            for: scene.node
        )
        XCTAssertEqual(page.content, .snapshotBegins)
        try await first.apply(page)
        // Half a snapshot changes nothing that is served.
        XCTAssertEqual(first.revision, before)
        XCTAssertEqual(first.deviceCount, 5)
        try await first.close()

        let second = try scene.open(path)
        XCTAssertEqual(second.revision, before)
        XCTAssertEqual(second.deviceCount, 5)
        // A further page of the snapshot that is gone is refused.
        let next = try await scene.manager.operations.page(
            after: nil,
            cursor: page.next,
            limit: 4,
            for: scene.node
        )
        await assertThrows(try await second.apply(next))
        try await scene.follow(second, limit: 4)
        XCTAssertEqual(second.deviceCount, 9)
        XCTAssertEqual(second.revision?.history, HistoryID(bits: 8))
        // The rows of the old one are gone from the file.
        let generations = try await second.file.database.read { connection in
            try connection.row("SELECT count(DISTINCT generation) FROM replica") { $0.int(0) }
        }
        XCTAssertEqual(generations, 1)
        try await second.close()
    }

    func test_replica_givenALowerEpoch_refusesItAlsoAfterARestart() async throws {
        let scene = try ReplicaScene()
        let path = scene.newPath()
        _ = scene.manager.ledger.raiseEpoch()
        _ = scene.manager.ledger.raiseEpoch()
        try await scene.manager.enrol("d", token: "t", at: scene.time.now())
        let first = try scene.open(path)
        try await scene.follow(first)
        try await first.close()

        let second = try scene.open(path)
        let stale = ReplicaPage(
            content: .snapshotBegins,
            rows: [],
            revision: Revision(history: HistoryID(bits: 7), number: 99),
            next: nil,
            epoch: Epoch(rawValue: 1)
        )
        do {
            try await second.apply(stale)
            XCTFail("It took a page of a replaced coordinator.")
        } catch let error as ClusterRoleError {
            XCTAssertEqual(error.code, .fenced)
            XCTAssertEqual(error.currentEpoch, Epoch(rawValue: 3))
        }
        XCTAssertEqual(second.deviceCount, 1)
        try await second.close()
    }

    func test_replica_withADamagedRow_reportsItAndIsHealedByASnapshot() async throws {
        let scene = try ReplicaScene()
        let path = scene.newPath()
        for index in 0..<6 {
            try await scene.manager.enrol("d\(index)", token: "t\(index)", at: scene.time.now())
        }
        let first = try scene.open(path)
        try await scene.follow(first)
        let position = first.position.revision
        let stored = try await scene.manager.devices.device(
            DeviceID(rawValue: "d3"),
            tenant: .standard
        )
        let damaged = try XCTUnwrap(stored).row
        try await first.file.database.write { connection in
            // A bit that flips on the disk: the sum stays what it was.
            let key = try XCTUnwrap(ReplicaKey(.device(damaged))).bytes
            try connection.run(
                "UPDATE replica SET body = x'01' WHERE kind = 1 AND key = ?",
                key
            )
        }
        try await first.close()

        let second = try scene.open(path)
        XCTAssertEqual(second.damage.rows, 1)
        // The rest is served, and the next page is to be a snapshot.
        XCTAssertEqual(second.revision, position)
        XCTAssertNil(second.position.revision)
        let healthy = try await second.authenticate(token: "t1")
        XCTAssertEqual(healthy?.device.rawValue, "d1")
        try await scene.follow(second)
        XCTAssertTrue(second.damage.isNone)
        let healed = try await second.authenticate(token: "t3")
        XCTAssertEqual(healed?.device.rawValue, "d3")
        try await second.close()
    }

    /// It looks like what an interrupted snapshot left behind, and is not deleted as such: the next
    /// opening must find the damage too.
    func test_replica_withADamagedGeneration_reportsItAtEachOpening_untilASnapshotCame()
        async throws
    {
        let scene = try ReplicaScene()
        let path = scene.newPath()
        for index in 0..<6 {
            try await scene.manager.enrol("d\(index)", token: "t\(index)", at: scene.time.now())
        }
        let first = try scene.open(path)
        try await scene.follow(first)
        try await first.file.database.write { connection in
            try connection.run(
                "UPDATE replica SET generation = 77 WHERE kind = 1 AND key = "
                    + "(SELECT min(key) FROM replica WHERE kind = 1)"
            )
        }
        try await first.close()
        for _ in 0..<2 {
            let damaged = try scene.open(path)
            XCTAssertEqual(damaged.damage.rows, 1)
            XCTAssertNil(damaged.position.revision, "the next page is to be a snapshot")
            try await damaged.close()
        }
        let healed = try scene.open(path)
        try await scene.follow(healed)
        XCTAssertTrue(healed.damage.isNone)
        XCTAssertEqual(healed.deviceCount, 6)
        try await healed.close()
        let again = try scene.open(path)
        XCTAssertTrue(again.damage.isNone)
        XCTAssertEqual(again.deviceCount, 6)
        try await again.close()
    }

    func test_file_usedTwice_namesTheHolder() async throws {
        let scene = try ReplicaScene()
        let path = scene.newPath()
        let first = try scene.open(path)
        XCTAssertThrowsError(try scene.open(path)) { error in
            XCTAssertEqual((error as? SQLiteStorageError)?.code, .locked)
            XCTAssertTrue("\(error)".contains("worker-1"), "\(error)")
        }
        try await first.close()
    }

    func test_activity_thatEnds_leavesNoRowsBehind() async throws {
        let scene = try ReplicaScene()
        let row = try await scene.manager.enrol("d", token: "t", at: scene.time.now())
        let operation = try await scene.manager.enqueue(.devices([row.id]), at: scene.time.now())
        let replica = try scene.open(scene.newPath())
        try await scene.follow(replica)
        try await replica.accept([
            row.identity.entry(
                .result(operation.id, attempt: nil, outcome: .completed, detail: []),
                at: scene.time.now()
            )
        ])
        try await scene.drain(replica)
        try await scene.follow(replica)
        let left = try await replica.file.database.read { connection in
            try connection.row("SELECT count(*) FROM replica WHERE kind >= 3") { $0.int(0) } ?? -1
        }
        XCTAssertEqual(left, 0)
        try await replica.close()
    }

    func test_schema_asLanded_hasNoProblems() {
        XCTAssertEqual(
            Migration.problems(
                in: ReplicaSchema.migrations,
                landed: ReplicaSchema.landed
            ),
            []
        )
    }
}

/// Fails unless `body` throws.
func assertThrows<Value>(
    _ body: @autoclosure () async throws -> Value,
    file: StaticString = #filePath,
    line: UInt = #line
) async {
    do {
        _ = try await body()
        XCTFail("It did not throw.", file: file, line: line)
    } catch {}
}
#endif
