#if SQLite
import ClusterRole
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import XCTest

@testable import SQLiteEngine
@testable import SQLiteStore

/// A hundred thousand devices: how many rows a request writes.
final class FleetTests: XCTestCase {
    private let size = 100_000

    func test_anOperationForAHugeGroup_isOneRow() async throws {
        let scene = try await EmbeddedScene.open()
        let ids = try await scene.enrolFleet(size, group: "fleet")
        let group = GroupID(rawValue: "fleet")
        let receipt = try await scene.enqueue(scene.plan(.group(group), wakeAt: scene.now))
        XCTAssertEqual(receipt.addressed, size)
        for (table, rows) in [
            ("operation", 1), ("activity", 1), ("payload", 1), ("expansion", 1), ("target", 0),
            ("target_page", 0), ("execution", 0), ("wake", 0),
        ] {
            let stored = try await scene.count(table)
            XCTAssertEqual(stored, rows, table)
        }
        let last = try XCTUnwrap(ids.last)
        let work = try await scene.store.openWork(for: last, tenant: scene.tenant)
        XCTAssertEqual(work?.items.count, 1)
        let page = try await scene.store.executions(
            of: receipt.activity,
            after: ids[size - 3],
            limit: 10,
            tenant: scene.tenant
        )
        XCTAssertEqual(page.map(\.id.device), Array(ids.suffix(2)))
        XCTAssertEqual(page.map(\.state), [.pending, .pending])
        let expanded = try await scene.store.expand(limit: 500, epoch: scene.epoch, at: scene.now)
        XCTAssertEqual(expanded.added, 500)
        XCTAssertFalse(expanded.isFinished)
        try await scene.store.close()
    }

    func test_anOperationForAHundredThousandNamedDevices_isOneCall() async throws {
        let scene = try await EmbeddedScene.open()
        let ids = try await scene.enrolFleet(size, group: "fleet")
        let before = scene.store.commits
        let receipt = try await scene.enqueue(
            scene.plan(.devices(ids.reversed() + [DeviceID(rawValue: "nobody"), ids[0]]))
        )
        XCTAssertEqual(receipt.addressed, size)
        XCTAssertEqual(receipt.unknown, 1)
        XCTAssertEqual(scene.store.commits - before, 1)
        let pages = try await scene.count("target_page")
        XCTAssertEqual(pages, size / TargetPage.size)
        var seen = 0
        var after: DeviceID?
        while true {
            let page = try await scene.store.executions(
                of: receipt.activity,
                after: after,
                limit: 1_000,
                tenant: scene.tenant
            )
            guard let last = page.last else { break }
            seen += page.count
            after = last.id.device
            if seen >= 5_000 { break }
        }
        XCTAssertEqual(seen, 5_000)
        XCTAssertEqual(after, ids[4_999])
        let closed = try await scene.store.close(
            receipt.activity,
            as: .cancelled,
            tenant: scene.tenant,
            epoch: scene.epoch,
            at: scene.now
        )
        XCTAssertEqual(closed.activity.counts[.cancelled], size)
        let targets = try await scene.count("target")
        XCTAssertEqual(targets, 0, "closed work is not open work")
        try await scene.store.close()
    }
}
#endif
