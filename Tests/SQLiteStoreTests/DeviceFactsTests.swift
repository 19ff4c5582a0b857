#if SQLite
import ClusterMembership
import ClusterRole
import DeviceRegistry
import OperationQueue
import XCTest

@testable import SQLiteEngine
@testable import SQLiteStore

/// Typed information and groups defined by queries: what they cost in rows.
final class DeviceFactsTests: XCTestCase {
    /// Rows the writer has changed since it was opened.
    private func rowsChanged(_ scene: EmbeddedScene) async throws -> Int {
        try await scene.store.file.write { connection in
            try connection.row("SELECT total_changes()") { $0.int(0) } ?? 0
        }
    }

    private func tell(
        _ scene: EmbeddedScene,
        _ row: DeviceRow,
        _ kind: InformationKind,
        _ json: String
    ) async throws -> Revision {
        try await scene.apply(row, .information(kind, body: Array(json.utf8))).revision
    }

    private func commit(
        _ scene: EmbeddedScene,
        _ change: DeviceChange
    ) async throws -> DeviceChangeReceipt {
        try await scene.store.commit(
            change,
            tenant: scene.tenant,
            epoch: scene.epoch,
            at: scene.now
        )
    }

    func test_aPropertyOfOneDeviceInAHundredThousand_readsAndWritesWhatItsGroupsCost() async throws
    {
        let scene = try await EmbeddedScene.open()
        let size = 100_000
        let ids = try await scene.enrolFleet(size, group: "fleet")
        let found = try await scene.store.device(ids[size / 2], tenant: scene.tenant)
        let device = try XCTUnwrap(found).row
        _ = try await tell(scene, device, .properties, #"{"os":{"name":"ios","version":"9"}}"#)
        let administration = DeviceAdministration(
            storage: scene.store,
            capability: WriteCapability(epoch: scene.epoch)
        )
        // Three that look at the property and a walk of the whole fleet for each, in pages.
        for (group, text, members) in [
            ("modern", #"os.version >= "17""#, 0), ("old", #"os.version < "17""#, 1),
            ("ios", #"os.name = "ios" and not os.version prefix "8""#, 1),
        ] {
            let before = scene.store.commits
            let receipt = try await administration.define(
                GroupID(rawValue: group),
                as: DeviceQuery(parsing: text)
            )
            XCTAssertEqual(receipt.evaluated, size)
            XCTAssertEqual(receipt.changed, members, text)
            XCTAssertEqual(
                scene.store.commits - before,
                1 + size / DeviceAdministration.devicesPerEvaluation + 1,
                "pages of a thousand"
            )
        }
        // A hundred that look at others.
        for index in 0..<100 {
            let query: DeviceQuery = index < 50 ? .exists("p-\(index)") : .installed("a", nil)
            _ = try await commit(scene, .define(GroupID(rawValue: "other-\(index)"), as: query))
        }
        // Whatever is read of other devices and of groups that look elsewhere would be found damaged.
        try await scene.store.file.write { connection in
            let idx = try connection.device(device.id, tenant: scene.tenant)?.idx ?? 0
            try connection.run("UPDATE device SET sum = sum + 1 WHERE idx != ?", idx)
            try connection.run("UPDATE membership SET sum = sum + 1 WHERE device_idx != ?", idx)
            try connection.run(
                """
                UPDATE group_query SET sum = sum + 1 WHERE group_idx IN
                    (SELECT idx FROM device_group WHERE name LIKE 'other-%')
                """
            )
            try connection.run("UPDATE device_group SET sum = sum + 1 WHERE name LIKE 'other-%'")
        }
        let (rows, commits) = (try await rowsChanged(scene), scene.store.commits)
        let revision = try await scene.store.current()
        let after = try await tell(
            scene,
            device,
            .properties,
            #"{"os":{"name":"ios","version":"17"}}"#
        )
        // The document, the property, two memberships and the counts of their groups, the revision with
        // its number.
        let cost = try await rowsChanged(scene) - rows
        XCTAssertEqual(cost, 8)
        XCTAssertEqual(scene.store.commits - commits, 2, "one, and the look at its rows")
        XCTAssertEqual(after.number, revision.number + 1)
        let logged = try await scene.store.changes(after: revision, limit: 10)
        XCTAssertEqual(
            Set(logged.flatMap(\.keys)),
            [
                .membership(tenant: scene.tenant, group: "modern", device: device.id.rawValue),
                .membership(tenant: scene.tenant, group: "old", device: device.id.rawValue),
            ]
        )
        // What no group looks at, and what is as it was.
        let before = try await rowsChanged(scene)
        _ = try await tell(
            scene,
            device,
            .properties,
            #"{"os":{"name":"ios","version":"17"},"battery":7}"#
        )
        let unseen = try await rowsChanged(scene) - before
        XCTAssertEqual(unseen, 2, "the document and the property")
        let current = try await scene.store.current()
        XCTAssertEqual(current, after, "no revision")
        try await scene.store.close()
    }

    func test_lookups_goByIndex() async throws {
        let scene = try await EmbeddedScene.open()
        let plans = [
            """
            SELECT device_id, device_idx FROM property
            WHERE tenant = 'a' AND name = 'b' AND value = x'01' AND device_id > ''
            ORDER BY device_id LIMIT 500
            """,
            """
            SELECT device_id, device_idx FROM application
            WHERE tenant = 'a' AND identifier = 'b' AND device_id > '' ORDER BY device_id LIMIT 9
            """,
            """
            SELECT device_id, device_idx FROM silence
            WHERE tenant = 'a' AND state = 'inactive' AND device_id > '' ORDER BY device_id LIMIT 9
            """,
            """
            SELECT tenant, subject, group_idx, sum FROM group_subject
            WHERE tenant = 'a' AND subject = 'b'
            """,
            "SELECT group_idx FROM group_query WHERE settled = 0 ORDER BY group_idx LIMIT 9",
            "DELETE FROM group_subject WHERE group_idx = 1",
        ]
        for sql in plans {
            let plan = try await scene.store.file.read { connection in
                try connection.rows("EXPLAIN QUERY PLAN " + sql) { $0.text(3) }
            }
            .joined(separator: "; ")
            XCTAssertTrue(plan.contains("INDEX") || plan.contains("PRIMARY KEY"), "\(sql): \(plan)")
            XCTAssertFalse(plan.contains("TEMP B-TREE"), "\(sql): \(plan)")
        }
        try await scene.store.close()
    }

    func test_aRareMatch_readsNoMoreThanItsPage() async throws {
        let scene = try await EmbeddedScene.open()
        let ids = try await scene.enrolFleet(25_000, group: "fleet")
        var pages: [Int] = []
        var after: DeviceID?
        repeat {
            let page = try await scene.store.devices(
                matching: .exists("nothing"),
                after: after,
                limit: 100,
                tenant: scene.tenant
            )
            pages.append(page.devices.count)
            after = page.next
        } while after != nil
        XCTAssertEqual(pages, [0, 0, 0])
        let first = try await scene.store.devices(
            matching: .not(.exists("nothing")),
            after: nil,
            limit: 3,
            tenant: scene.tenant
        )
        XCTAssertEqual(first.devices.map(\.id), Array(ids.prefix(3)))
        XCTAssertEqual(first.next, ids[2])
        try await scene.store.close()
    }

    func test_aDamagedFact_isReportedNotReturned() async throws {
        for (sql, call) in [
            ("UPDATE property SET value = x'02'", "profile"),
            ("UPDATE property SET sum = sum + 1", "profile"),
            ("UPDATE application SET version = '9'", "profile"),
            ("UPDATE location SET body = x'01'", "profile"),
            ("UPDATE device_history SET who = 'x'", "history"),
            ("UPDATE group_query SET query = 'exists y'", "groups"),
            ("UPDATE silence SET state = 'unreachable'", "contacts"),
            ("UPDATE silence_count SET inactive = 7", "counts"),
        ] {
            let scene = try await EmbeddedScene.open()
            let row = try await scene.enrol("d-1")
            _ = try await tell(scene, row, .properties, #"{"a":1}"#)
            _ = try await tell(scene, row, .applications, #"[{"identifier":"till"}]"#)
            _ = try await tell(scene, row, .location, #"{"latitude":1,"longitude":2}"#)
            _ = try await commit(scene, .define("g", as: .exists("z")))
            let silence = LivenessChange(
                identity: row.identity,
                lastSeen: scene.now,
                liveness: .inactive
            )
            _ = try await commit(scene, .recordLiveness([silence]))
            try await scene.store.file.write { try $0.script(sql) }
            do {
                try await read(call, scene, row)
                XCTFail("\(sql): returned")
            } catch let error as SQLiteStorageError {
                XCTAssertEqual(error.code, .corruptRow, sql)
            }
            try await scene.store.close()
        }
    }

    private func read(_ call: String, _ scene: EmbeddedScene, _ row: DeviceRow) async throws {
        let (store, tenant) = (scene.store, scene.tenant)
        switch call {
        case "profile": _ = try await store.profile(of: row.id, tenant: tenant)
        case "history":
            _ = try await store.history(of: row.id, before: nil, limit: 9, tenant: tenant)
        case "contacts": _ = try await store.contacts(after: nil, limit: 9)
        case "counts": _ = try await store.livenessCounts(tenant: tenant)
        default: _ = try await store.groups(tenant: tenant)
        }
    }
}
#endif
