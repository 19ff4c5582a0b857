#if SQLite
import ClusterRole
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import XCTest

@testable import SQLiteEngine
@testable import SQLiteStore

/// The step that makes tables anew keeps every row, or stops with the file as it was.
final class OperationTermsMigrationTests: XCTestCase {
    private let now = Timestamp(milliseconds: 1_700_000_000_000)
    private let device = DeviceRow(
        tenant: .standard,
        id: DeviceID(rawValue: "d-1"),
        incarnation: IncarnationID(bits: 77),
        state: .enrolled,
        credential: CredentialDigest(high: 1, low: 2)
    )

    private func activityID(_ number: Int64) -> ActivityID {
        ActivityID(bits: UInt128(number + 900))
    }

    /// A file as a build with four steps left it: an open group operation with a deferred execution and
    /// waiting wakes, a cancelled one in the device's hands, a finished one.
    private func oldFile() async throws -> TemporaryFile {
        let temporary = try TemporaryFile()
        let file = try DatabaseFile(
            path: temporary.path,
            node: EmbeddedScene.node,
            migrations: Array(Schema.migrations.prefix(4))
        )
        let (device, now) = (device, now)
        try file.writeWhileOpening { connection in
            try DeviceRecord(idx: 1, row: device, enrolledAt: now, key: nil).store(connection)
            var group = GroupRecord(idx: 1, tenant: .standard, group: GroupID(rawValue: "fleet"))
            group.members = 1
            try group.store(connection)
            try MembershipRecord(groupIdx: 1, device: device.id, joined: 1, deviceIdx: 1)
                .store(connection)
            for (number, state) in [(2, 0), (3, 2), (4, 1)] as [(Int64, Int)] {
                try Self.storeOld(number, ActivityState(rawValue: UInt8(state)), now, connection)
            }
            let rows: [(Int64, ExecutionState, Timestamp?)] = [
                (2, .deferred, now + .seconds(600)), (3, .delivered, now + .seconds(60)),
                (4, .completed, nil),
            ]
            for (number, state, until) in rows {
                try connection.run(
                    sealedFor: "execution",
                    """
                    INSERT INTO execution (number, device_idx, state, version, attempt, until,
                        redeliveries, updated, detail, late_answer, sum)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                    number,
                    Int64(1),
                    state.rawValue,
                    Int32(5),
                    UInt128?(9),
                    until?.rawValue,
                    Int32(1),
                    now.rawValue,
                    [UInt8(number)],
                    [UInt8]?.none
                )
            }
            try connection.run(
                sealedFor: "expansion",
                "INSERT INTO expansion (number, group_idx, after, due, sum) VALUES (?, ?, ?, ?, ?)",
                Int64(2),
                Int64(1),
                String?.none,
                now.rawValue
            )
            try connection.setMetaNumber(MetaName.revision, 4)
        }
        try await file.close()
        return temporary
    }

    private static func storeOld(
        _ number: Int64,
        _ state: ActivityState?,
        _ now: Timestamp,
        _ connection: SQLConnection
    ) throws {
        let state = try XCTUnwrap(state)
        try connection.run(
            sealedFor: "operation",
            """
            INSERT INTO operation (number, id, activity, tenant, group_idx, group_name, code, type,
                priority, strictness, expires, lease, created, initiator, request_key,
                request_digest, unknown, sum)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            number,
            UInt128(number + 500),
            UInt128(number + 900),
            TenantID.standard.rawValue,
            Int64(1),
            "fleet",
            "lock",
            "command",
            Int32(3),
            UInt8(0),
            Int64?.none,
            Int64(60_000),
            now.rawValue,
            "tester",
            String?.some("key-\(number)"),
            [UInt8]([1, 2]),
            0
        )
        try connection.run(
            sealedFor: "payload",
            "INSERT INTO payload (number, bytes, sum) VALUES (?, ?, ?)",
            number,
            [UInt8]([7])
        )
        var counts = StateCounts()
        let row: ExecutionState = [.open: .deferred, .cancelled: .delivered][state] ?? .completed
        counts[row] = 1
        try connection.run(
            sealedFor: "activity",
            """
            INSERT INTO activity (number, group_idx, expires, state, closed, addressed, late, counts,
                live, sum)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            number,
            Int64(1),
            Int64?.none,
            state.rawValue,
            state == .open ? Int64?.none : now.rawValue,
            1,
            0,
            counts.stored,
            state != .finished
        )
    }

    func test_aFileOfTheFirstFourSteps_keepsEveryRow() async throws {
        let file = try await oldFile()
        let scene = try await EmbeddedScene.open(file)
        let activities = try await scene.store.activities(
            before: nil,
            limit: 10,
            tenant: scene.tenant
        )
        XCTAssertEqual(activities.map(\.operation.number), [4, 3, 2])
        XCTAssertEqual(activities.map(\.state), [.finished, .cancelled, .open])
        XCTAssertEqual(activities.map(\.id), [4, 3, 2].map(activityID))
        for activity in activities {
            XCTAssertEqual(activity.operation.terms, .standard)
            XCTAssertEqual(activity.operation.payload, [7])
            XCTAssertEqual(activity.operation.priority, 3)
            XCTAssertEqual(activity.gate, OfferGate())
            XCTAssertEqual(activity.addressed, 1)
            let executions = try await scene.store.executions(
                of: activity.id,
                after: nil,
                limit: 10,
                tenant: scene.tenant
            )
            XCTAssertEqual(executions.map(\.detail), [[UInt8(activity.operation.number)]])
            XCTAssertEqual(executions.first?.version, 5)
            XCTAssertEqual(executions.first?.attempt, AttemptID(bits: 9))
            XCTAssertEqual(executions.first?.redeliveries, 1)
            XCTAssertEqual(executions.first?.retries, 0)
            XCTAssertNil(executions.first?.startedAt)
        }
        let work = try await scene.store.openWork(for: device.id, tenant: scene.tenant)
        XCTAssertEqual(work?.items.map(\.operation.number), [2, 3])
        let expanded = try await scene.store.expand(limit: 10, epoch: scene.epoch, at: now)
        XCTAssertEqual(expanded.added, 1)
        XCTAssertTrue(expanded.isFinished)
        try await scene.store.close()
    }

    func test_whatWasPutOffOrCancelledBefore_getsItsTimer() async throws {
        let scene = try await EmbeddedScene.open(try await oldFile())
        let none = try await scene.store.fireTimers(
            at: now + .seconds(599),
            limit: 10,
            epoch: scene.epoch
        )
        XCTAssertEqual(none, 0)
        let deferred = try await scene.store.fireTimers(
            at: now + .seconds(600),
            limit: 10,
            epoch: scene.epoch
        )
        XCTAssertEqual(deferred, 1)
        let wake = try await scene.store.wakeUp(of: device.id, tenant: scene.tenant)
        XCTAssertNotNil(wake)
        let day = now + OperationTerms.standard.timeouts.cancellation
        let cancelled = try await scene.store.fireTimers(at: day, limit: 10, epoch: scene.epoch)
        XCTAssertEqual(cancelled, 1)
        let activity = try await scene.store.activity(activityID(3), tenant: scene.tenant)
        XCTAssertEqual(activity?.rowCounts[.cancelled], 1)
        XCTAssertEqual(activity?.isLive, false)
        try await scene.store.close()
    }

    func test_aDamagedOldRow_stopsTheStepAndLeavesTheFile() async throws {
        for (table, damage) in [
            ("operation", "UPDATE operation SET priority = 4 WHERE number = 3"),
            ("activity", "UPDATE activity SET addressed = 2 WHERE number = 2"),
            ("execution", "UPDATE execution SET detail = x'ff' WHERE number = 4"),
            ("expansion", "UPDATE expansion SET due = due + 1"),
        ] {
            let file = try await oldFile()
            try await withRawConnection(file.path) { try $0.script(damage) }
            let error = await storageError { _ = try await EmbeddedScene.open(file) }
            XCTAssertEqual(error?.code, .corruptRow, table)
            XCTAssertTrue(
                error?.message.contains("table \(table) ") ?? false,
                "\(error?.message ?? "")"
            )
            let left = try await withRawConnection(file.path) { connection in
                [
                    try connection.row("SELECT count(*) FROM migration") { $0.int(0) },
                    try connection.row("SELECT count(*) FROM execution") { $0.int(0) },
                    try connection.row(
                        "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%\\_next' ESCAPE '\\'"
                    ) { $0.int(0) },
                    try connection.row(
                        "SELECT count(*) FROM pragma_table_info('execution') WHERE name = 'retries'"
                    ) { $0.int(0) },
                ]
            }
            XCTAssertEqual(left, [4, 3, 0, 0], table)
        }
    }
}
#endif
