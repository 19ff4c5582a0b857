#if Server && SQLite && Push
import ClusterRole
import ClusterTestKit
import Foundation
import HTTPHandling
import XCTest

@testable import reeve

/// Real processes on loopback, killed without warning.
final class RandomKillTests: XCTestCase {
    private static let kills = 20
    private static let devices = 60
    private static let frequency = 0.4

    /// Promises 1 and 2: what was acknowledged survives kills of any node, and is applied once.
    func test_cluster_killedAtRandom_losesNothing_andAppliesNothingTwice() async throws {
        let seed = UInt64.random(in: 0...9_999)
        let random = SeededRandomSource(seed: seed)
        let progress = DemoProgress()
        let cluster = try DemoCluster(directory: nil, progress: progress)
        do {
            try await exercise(cluster, random)
        } catch {
            await cluster.stop()
            XCTFail("seed \(seed), data in \(cluster.directory.path): \(error)")
            return
        }
        await cluster.stop()
        cluster.removeDirectory(ifTemporary: true)
    }

    private func exercise(_ cluster: DemoCluster, _ random: SeededRandomSource) async throws {
        let trees = ["site-1", "site-2"].map { cluster.directory.appendingPathComponent($0) }
        try DemoTree.make(at: trees[0])
        try DemoTree.makeUpdate(of: trees[0], at: trees[1])
        try await start("manager-1", of: cluster)
        try await start("worker-1", of: cluster)
        try await start("worker-2", of: cluster)
        try await cluster.startFleet(devices: Self.devices, frequency: Self.frequency)
        _ = try await cluster.poll("every device to enrol", within: .seconds(120)) {
            try await cluster.figures().enrolled == Self.devices ? true : nil
        }

        let names = ["manager-1", "worker-1", "worker-2"]
        var activities: Set<String> = []
        for round in 0..<Self.kills {
            activities.insert(try await enqueue(round, on: cluster))
            if round % 4 == 0 {
                try await publish(trees[round / 4 % 2], on: cluster)
            }
            let victim = names[Int(random.number(below: UInt64(names.count)))]
            // A random moment of a running cluster: there is no condition to wait for.
            try await Task.sleep(for: .milliseconds(random.number(below: 600)))
            try await cluster.kill(victim)
            try await start(victim, of: cluster)
        }
        try await verify(activities, trees: trees, on: cluster)
    }

    private func start(_ name: String, of cluster: DemoCluster) async throws {
        switch name {
        case "manager-1":
            try await cluster.startManager(
                frequency: Self.frequency,
                publishRoots: [cluster.directory.path]
            )
        case "worker-1": try await cluster.startWorker(0, frequency: Self.frequency)
        default: try await cluster.startWorker(1, frequency: Self.frequency)
        }
    }

    /// Enqueues to the whole group; the key makes a repeated call harmless.
    private func enqueue(_ round: Int, on cluster: DemoCluster) async throws -> String {
        try await cluster.poll("an enqueue to be taken", within: .seconds(60)) { () -> String? in
            let answer = try? await cluster.admin.post(
                "/admin/v1/operations",
                .object([
                    "target": .object(["group": .string(DemoCluster.group)]),
                    "code": .string("round-\(round)"),
                ]),
                idempotencyKey: "round-\(round)"
            )
            return answer?["activity"]?.stringValue
        }
    }

    private func publish(_ tree: URL, on cluster: DemoCluster) async throws {
        _ = try await cluster.poll("a publish to be taken", within: .seconds(60)) {
            try? await cluster.admin.post(
                "/admin/v1/channels/\(DemoCluster.channel)/releases",
                .object(["directory": .string(tree.path)])
            )
        }
    }

    private func verify(
        _ activities: Set<String>,
        trees: [URL],
        on cluster: DemoCluster
    ) async throws {
        XCTAssertEqual(activities.count, Self.kills, "a key names one activity")
        var stored: [JSONValue] = []
        for id in activities {
            stored.append(
                try await cluster.poll("activity \(id) to finish", within: .seconds(120)) {
                    () -> JSONValue? in
                    let activity = try await cluster.admin.get("/admin/v1/activities/\(id)")
                    return activity["state"]?.stringValue == "finished" ? activity : nil
                }
            )
        }
        let figures = try await cluster.poll("no device to hold a result", within: .seconds(60)) {
            let figures = try await cluster.figures()
            return figures.outstanding == 0 ? figures : nil
        }
        try DemoSummary.requireNothingLost(
            activities: stored,
            figures: figures,
            devices: Self.devices
        )
        XCTAssertEqual(
            figures.executed,
            Self.kills * Self.devices,
            "each operation ran once on each device"
        )
        for index in cluster.workerPorts.indices {
            let current = cluster.directory.appendingPathComponent(
                "\(DemoCluster.workerName(index))/channels/\(DemoCluster.channel)/current"
            )
            // The last of the five publishes was of the first tree.
            let expected = trees[(Self.kills - 1) / 4 % 2]
            _ = try await cluster.poll("a whole, newest release", within: .seconds(60)) {
                (try? TreeComparison.requireEqual(expected, current)).map { true }
            }
        }
    }
}
#endif
