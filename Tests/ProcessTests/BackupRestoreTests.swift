#if Server && SQLite && Push
import ClusterRole
import Foundation
import HTTPHandling
import ReeveManager
import XCTest

@testable import reeve

/// A running manager is backed up under load, killed, and restored; its worker comes back to it with the
/// results the backup does not have.
final class BackupRestoreTests: XCTestCase {
    private static let devices = 10

    func test_manager_backedUpKilledAndRestored_hasAHigherEpochAndTheWorkersResults() async throws {
        let cluster = try DemoCluster(directory: nil, progress: DemoProgress())
        do {
            try await exercise(cluster)
        } catch {
            await cluster.stop()
            XCTFail("data in \(cluster.directory.path): \(error)")
            return
        }
        await cluster.stop()
        cluster.removeDirectory(ifTemporary: true)
    }

    private func exercise(_ cluster: DemoCluster) async throws {
        try await start(cluster)
        try await cluster.startWorker(0, frequency: 0.3)
        try await cluster.startWorker(1, frequency: 0.3)
        try await cluster.startFleet(devices: Self.devices, frequency: 0.3)
        _ = try await cluster.poll("every device to enrol", within: .seconds(120)) {
            try await cluster.figures().enrolled == Self.devices ? true : nil
        }
        let before = try await enqueue("before", on: cluster)
        let file = cluster.directory.appendingPathComponent("backup.db").path
        let backup = try await cluster.admin.post("/admin/v1/backups", ["path": .string(file)])
        XCTAssertGreaterThan(backup["rows"]?.count ?? 0, Self.devices)
        try await finish(before, on: cluster)
        let lost = try await enqueue("after", on: cluster)
        try await finish(lost, on: cluster)
        let epoch = try await status(cluster)["epoch"]?.count ?? 0

        try await cluster.kill("manager-1")
        let report = try await StoppedManager.restore(
            from: file,
            directory: cluster.directory.appendingPathComponent("manager").path,
            replaces: true
        )
        XCTAssertTrue(report.contains { $0.hasPrefix("LOST: 1 operations") }, "\(report)")
        XCTAssertFalse(report.contains { $0.hasPrefix("MISSING") }, "\(report)")
        try await start(cluster)
        let restored = try await status(cluster)["epoch"]?.count ?? 0
        XCTAssertGreaterThan(restored, max(epoch, 1_600_000_000_000))
        // The backup has the activity open; the workers still keep what its devices answered.
        try await finish(before, on: cluster)
        do {
            _ = try await cluster.admin.get("/admin/v1/activities/\(lost)")
            XCTFail("what was enqueued after the backup is there")
        } catch let refusal as JSONClient.Refusal {
            XCTAssertEqual(refusal.code, "operations.unknown-activity")
        }
        let next = try await enqueue("again", on: cluster)
        try await finish(next, on: cluster)
    }

    private func start(_ cluster: DemoCluster) async throws {
        try await cluster.startManager(
            frequency: 0.3,
            publishRoots: [cluster.directory.path]
        )
    }

    private func status(_ cluster: DemoCluster) async throws -> JSONValue {
        try await cluster.admin.get("/admin/v1/status")
    }

    private func enqueue(_ code: String, on cluster: DemoCluster) async throws -> String {
        let answer = try await cluster.admin.post(
            "/admin/v1/operations",
            .object([
                "target": .object(["group": .string(DemoCluster.group)]), "code": .string(code),
            ])
        )
        return try XCTUnwrap(answer["activity"]?.stringValue)
    }

    private func finish(_ activity: String, on cluster: DemoCluster) async throws {
        _ = try await cluster.poll("activity \(activity) to finish", within: .seconds(120)) {
            let shown = try? await cluster.admin.get("/admin/v1/activities/\(activity)")
            return shown?["counts"]?["completed"]?.count == Self.devices ? true : nil
        }
    }
}
#endif
