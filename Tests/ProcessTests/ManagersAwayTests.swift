#if Server && SQLite && Push
import ClusterRole
import Foundation
import HTTPHandling
import XCTest

@testable import reeve

/// Promise 10 for a whole minute: no manager, work that becomes due meanwhile, a worker that restarts, one
/// that is new.
final class ManagersAwayTests: XCTestCase {
    private static let devices = 20
    private static let frequency = 1.0
    /// `REEVE_OUTAGE_SECONDS` shortens it while one works on this test.
    private static let outage = Duration.seconds(
        ProcessInfo.processInfo.environment["REEVE_OUTAGE_SECONDS"].flatMap { Int64($0) } ?? 60
    )
    /// Enqueued before the outage, due within it.
    private static let waves = 4
    private static let newcomer = 2

    func test_workers_withEveryManagerAway_serveRestartAndSpool_andANewOneStartsFromAPeer()
        async throws
    {
        var topology = DemoTopology()
        topology.workers = 3
        topology.sharesReleases = true
        let cluster = try DemoCluster(
            directory: nil,
            progress: DemoProgress(),
            topology: topology
        )
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
        let tree = cluster.directory.appendingPathComponent("site")
        try DemoTree.make(at: tree)
        try await start(cluster, tree)
        let activities = try await enqueue(cluster)
        try await cluster.kill("manager-1")
        let began = ContinuousClock.now
        let before = try await cluster.figures()

        // One worker is killed and serves from its own files; one is new and has none.
        try await cluster.kill("worker-1")
        try await cluster.startWorker(0, frequency: Self.frequency)
        try await cluster.startWorker(
            Self.newcomer,
            frequency: Self.frequency,
            withoutManager: true
        )
        try await verifyNewcomer(cluster, tree)
        _ = try await cluster.poll("the outage to end", within: Self.outage + .seconds(30)) {
            began.duration(to: .now) >= Self.outage ? true : nil
        }
        let after = try await cluster.poll("every device to answer", within: .seconds(60)) {
            let figures = try await cluster.figures()
            return Self.answered(figures) == Self.waves * Self.devices ? figures : nil
        }
        XCTAssertEqual(Self.answered(before), 0, "the work became due while no manager was there")
        XCTAssertEqual(after.stranded, before.stranded, "a device found no worker")
        XCTAssertGreaterThan(after.exchanges, before.exchanges + Self.waves * Self.devices)
        try await verifySpools(cluster)

        try await startManager(cluster)
        try await verifyNothingLost(cluster, activities)
        _ = try await cluster.poll("the newcomer to be ready", within: .seconds(60)) {
            try? await cluster.worker(Self.newcomer).get("/readyz")
        }
    }

    private static func answered(_ figures: FleetCounters) -> Int {
        figures.acknowledged.values.reduce(0) { $0 + $1.values.reduce(0, +) }
    }

    private func startManager(_ cluster: DemoCluster) async throws {
        try await cluster.startManager(
            frequency: Self.frequency,
            publishRoots: [cluster.directory.path]
        )
    }

    private func start(_ cluster: DemoCluster, _ tree: URL) async throws {
        try await startManager(cluster)
        for index in 0..<Self.newcomer {
            try await cluster.startWorker(index, frequency: Self.frequency)
        }
        _ = try await cluster.admin.post(
            "/admin/v1/channels/\(DemoCluster.channel)/releases",
            .object(["directory": .string(tree.path)])
        )
        for index in 0..<Self.newcomer {
            _ = try await cluster.poll("the release to be active", within: .seconds(60)) {
                (try? TreeComparison.requireEqual(tree, cluster.activeTrees[index])).map { true }
            }
        }
        try await cluster.startFleet(devices: Self.devices, frequency: Self.frequency)
        _ = try await cluster.poll("every device to enrol", within: .seconds(60)) {
            try await cluster.figures().enrolled == Self.devices ? true : nil
        }
    }

    /// Enqueues work that becomes due at even steps of the outage, and waits until both workers have it.
    private func enqueue(_ cluster: DemoCluster) async throws -> [String] {
        let now = Int64(Date().timeIntervalSince1970 * 1_000)
        let step = Self.outage.milliseconds / Int64(Self.waves + 1)
        var activities: [String] = []
        var newest: Revision?
        for wave in 1...Self.waves {
            let answer = try await cluster.admin.post(
                "/admin/v1/operations",
                .object([
                    "target": .object(["group": .string(DemoCluster.group)]),
                    "code": .string("wave-\(wave)"), "wake": "none",
                    // Well after the manager is gone.
                    "notBefore": .integer(now + max(step * Int64(wave), 3_000)),
                ])
            )
            activities.append(try XCTUnwrap(answer["activity"]?.stringValue))
            newest = try Revision(parsing: answer["revision"]?.stringValue ?? "")
        }
        let goal = try XCTUnwrap(newest)
        for index in 0..<Self.newcomer {
            _ = try await cluster.poll("the work to reach the workers", within: .seconds(30)) {
                () -> Bool? in
                let text = try await cluster.worker(index).get("/status")["revision"]?.stringValue
                let applied = text.flatMap { try? Revision(parsing: $0) }
                return applied?.covers(goal) == true ? true : nil
            }
        }
        return activities
    }

    /// What a worker that never met a manager can do: serve releases from a peer. It knows no device, says so
    /// with 503, and is not ready, so that no load balancer sends it any.
    private func verifyNewcomer(_ cluster: DemoCluster, _ tree: URL) async throws {
        _ = try await cluster.poll("the newcomer to have the release", within: .seconds(60)) {
            (try? TreeComparison.requireEqual(tree, cluster.activeTrees[Self.newcomer])).map {
                true
            }
        }
        let status = try await cluster.worker(Self.newcomer).get("/status")
        XCTAssertEqual(status["channels"]?.elements.first?["active"]?.integerValue, 1)
        let place = cluster.workerAddresses[Self.newcomer]
        for (path, token) in [("/readyz", nil), ("/device/v1/exchange", "some-credential")] {
            let client = JSONClient(base: place, token: token)
            do {
                _ =
                    try await token == nil
                    ? client.get(path) : client.post(path, .object([:]))
                XCTFail("\(path) of a worker without state was answered with success")
            } catch let refusal as JSONClient.Refusal {
                XCTAssertEqual(refusal.status, 503, "\(path): \(refusal)")
            }
        }
    }

    /// The reports wait on disk, and the workers say how old they are.
    private func verifySpools(_ cluster: DemoCluster) async throws {
        var spooled = 0
        for index in 0..<Self.newcomer {
            let status = try await cluster.worker(index).get("/status")
            spooled += status["spooled"]?.count ?? 0
            // The one that was restarted has heard no manager in this life.
            if index != 0 {
                let age = try XCTUnwrap(status["age"]?.numberValue)
                XCTAssertGreaterThan(age, Double(Self.outage.milliseconds) / 1_000 - 5)
            }
        }
        XCTAssertGreaterThanOrEqual(spooled, Self.waves * Self.devices)
    }

    private func verifyNothingLost(
        _ cluster: DemoCluster,
        _ activities: [String]
    ) async throws {
        var stored: [JSONValue] = []
        for id in activities {
            stored.append(
                try await cluster.poll("the reports to arrive", within: .seconds(60)) {
                    () -> JSONValue? in
                    let activity = try await cluster.admin.get("/admin/v1/activities/\(id)")
                    return activity["state"]?.stringValue == "finished" ? activity : nil
                }
            )
        }
        let figures = try await cluster.figures()
        try DemoSummary.requireNothingLost(
            activities: stored,
            figures: figures,
            devices: Self.devices
        )
        XCTAssertEqual(
            figures.executed,
            Self.waves * Self.devices,
            "each operation ran once on each device"
        )
    }
}
#endif
