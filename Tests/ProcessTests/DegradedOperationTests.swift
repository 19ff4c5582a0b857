#if Server && SQLite && Push
import Foundation
import HTTPHandling
import XCTest

@testable import reeve

/// Promise 10: with the manager gone, workers serve what they last accepted, restarts included.
final class DegradedOperationTests: XCTestCase {
    func test_workers_whileTheManagerIsStopped_serveDevices_andReportLater() async throws {
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
        let devices = 20
        // Rarely polling devices: the work is still open when the manager goes.
        try await cluster.startManager(frequency: 4, publishRoots: [cluster.directory.path])
        try await cluster.startWorker(0, frequency: 4)
        try await cluster.startWorker(1, frequency: 4)
        try await cluster.startFleet(devices: devices, frequency: 4)
        _ = try await cluster.poll("every device to enrol", within: .seconds(60)) {
            try await cluster.figures().enrolled == devices ? true : nil
        }
        let answer = try await cluster.admin.post(
            "/admin/v1/operations",
            .object([
                "target": .object(["group": .string(DemoCluster.group)]), "code": "lock",
                "wake": "none",
            ])
        )
        let activity = try XCTUnwrap(answer["activity"]?.stringValue)
        let revision = Int64(answer["revision"]?.stringValue?.split(separator: ":").last ?? "") ?? 0
        for name in ["worker-1", "worker-2"] {
            _ = try await cluster.poll("\(name) to have the work", within: .seconds(30)) {
                () -> Bool? in
                let nodes = try await cluster.admin.get("/admin/v1/nodes")["nodes"]?.elements ?? []
                let applied = nodes.first { $0["node"]?.stringValue == name }?["applied"]
                let number = applied?.stringValue?.split(separator: ":").last.flatMap { Int64($0) }
                return number ?? 0 >= revision ? true : nil
            }
        }
        try await cluster.stopGracefully("manager-1")
        // One worker is restarted while the manager is away: it must serve from its own files.
        try await cluster.kill("worker-1")
        try await cluster.startWorker(0, frequency: 4)
        let figures = try await cluster.poll("every device to answer", within: .seconds(120)) {
            let figures = try await cluster.figures()
            return figures.acknowledged.values.reduce(0) { $0 + $1.values.reduce(0, +) } == devices
                ? figures : nil
        }
        XCTAssertEqual(figures.executed, devices)

        try await cluster.startManager(frequency: 4, publishRoots: [cluster.directory.path])
        let finished = try await cluster.poll("the reports to arrive", within: .seconds(60)) {
            () -> JSONValue? in
            let stored = try await cluster.admin.get("/admin/v1/activities/\(activity)")
            return stored["state"]?.stringValue == "finished" ? stored : nil
        }
        XCTAssertEqual(finished["counts"]?["completed"]?.integerValue, Int64(devices))
    }
}
#endif
