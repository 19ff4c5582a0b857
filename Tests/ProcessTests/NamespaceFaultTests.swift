#if Server && SQLite && Push && os(Linux)
import ClusterRole
import ClusterTestKit
import Foundation
import HTTPHandling
import XCTest

@testable import reeve

/// Real processes in network namespaces: links are cut, processes are paused, clocks jump.
final class NamespaceFaultTests: XCTestCase {
    private static let workers = 3
    private static let devices = 9

    private static func setting(_ name: String) -> UInt64? {
        ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
    }

    /// Promises 1, 2, 5, 6 and 10 under faults of the network, the scheduler and the clock.
    ///
    /// `REEVE_FAULT_SCHEDULES` and `REEVE_FAULT_SEED` shorten a run and repeat one.
    func test_cluster_underPartitionsPausesAndClockJumps_losesNothing_andConvergesAfterEachHeal()
        async throws
    {
        if let obstacle = FaultNetwork.obstacle { throw XCTSkip(obstacle) }
        let seed = Self.setting("REEVE_FAULT_SEED") ?? UInt64.random(in: 0...9_999)
        let schedules = Int(Self.setting("REEVE_FAULT_SCHEDULES") ?? 100)
        print("NamespaceFaultTests: \(schedules) schedules, seed \(seed)")
        let cluster = try FaultCluster(workers: Self.workers)
        let fleet = FaultFleet(cluster, devices: Self.devices)
        do {
            try await Self.exercise(cluster, fleet, seed: seed, schedules: schedules)
        } catch {
            XCTFail("seed \(seed), data in \(cluster.directory.path): \(error)")
        }
        await cluster.stop()
        XCTAssertEqual(fleet.complaints, [], "seed \(seed)")
        let failures = testRun?.totalFailureCount ?? 0
        if failures == 0 { try? FileManager.default.removeItem(at: cluster.directory) }
    }

    /// Otherwise the other test would show nothing.
    func test_faults_takeEffect_andEndWithTheHeal() async throws {
        if let obstacle = FaultNetwork.obstacle { throw XCTSkip(obstacle) }
        let cluster = try FaultCluster(workers: 1)
        do {
            try await cluster.startAll()
            _ = try await cluster.enrol("device", through: 1)
            let directions: [[(from: Int, to: Int)]] = [
                [(from: 1, to: 0), (from: 0, to: 1)], [(from: 1, to: 0)], [(from: 0, to: 1)],
            ]
            for cuts in directions { try await Self.proveCut(cuts, of: cluster) }
            for seconds in [3_600, -86_400] { try await Self.proveJump(seconds, of: cluster) }
            cluster.signal(1, SIGSTOP)
            let paused = await cluster.revision(1)
            XCTAssertNil(paused, "a paused process answered")
            cluster.signal(1, SIGCONT)
            try await cluster.eventually("the worker to answer") {
                await cluster.revision(1) != nil
            }
        } catch {
            XCTFail("data in \(cluster.directory.path): \(error)")
        }
        await cluster.stop()
        try? FileManager.default.removeItem(at: cluster.directory)
    }

    /// While the link is cut, in one direction or both, a worker hears nothing new; afterwards it does.
    private static func proveCut(
        _ cuts: [(from: Int, to: Int)],
        of cluster: FaultCluster
    ) async throws {
        for (from, to) in cuts { try cluster.network.cut(from: from, to: to) }
        var seen: [Revision] = []
        // What was on its way arrives with the first; the second must wait for the heal.
        for _ in 0..<2 {
            _ = try await cluster.enqueue("cut-\(UUID().uuidString)")
            try await Task.sleep(for: .milliseconds(500))
            if let revision = await cluster.revision(1) { seen.append(revision) }
        }
        let answered = await cluster.revision(0)
        let newest = try XCTUnwrap(answered)
        XCTAssertEqual(seen.count, 2, "the worker itself is there")
        XCTAssertNotEqual(seen.last, newest, "\(cuts) cut nothing")
        for (from, to) in cuts { try cluster.network.heal(from: from, to: to) }
        try await cluster.eventually("the worker to follow") {
            // It may be further on: a member that was lost and is back is a change too.
            await cluster.revision(1)?.covers(newest) == true
        }
    }

    private static func proveJump(_ seconds: Int, of cluster: FaultCluster) async throws {
        try cluster.jump(0, by: seconds)
        let activity = try await cluster.enqueue("jump-\(UUID().uuidString)")
        try cluster.jump(0, by: 0)
        let stored = try await cluster.client(0).get("/admin/v1/activities/\(activity)")
        let created = Double(stored["createdAt"]?.integerValue ?? 0) / 1_000
        let offset = created - Date().timeIntervalSince1970
        XCTAssertEqual(offset, Double(seconds), accuracy: 120, "the clock did not jump")
    }

    private static func exercise(
        _ cluster: FaultCluster,
        _ fleet: FaultFleet,
        seed: UInt64,
        schedules: Int
    ) async throws {
        try await cluster.startAll()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await fleet.run() }
            group.addTask {
                try await script(cluster, fleet, seed: seed, schedules: schedules)
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private static func script(
        _ cluster: FaultCluster,
        _ fleet: FaultFleet,
        seed: UInt64,
        schedules: Int
    ) async throws {
        try await cluster.eventually("every device to enrol") {
            fleet.figures.enrolled == Self.devices
        }
        let random = SeededRandomSource(seed: seed)
        var activities: [JSONValue] = []
        var slowest = Duration.zero
        for number in 0..<schedules {
            let schedule = FaultSchedule(from: random, workers: Self.workers)
            do {
                async let enqueued = cluster.enqueue("round-\(number)")
                try await schedule.play(on: cluster)
                let healed = ContinuousClock.now
                let activity = try await enqueued
                activities.append(try await converge(cluster, activity))
                slowest = max(slowest, healed.duration(to: .now))
            } catch {
                throw DemoFailure("schedule \(number), \(schedule): \(error)")
            }
        }
        print("NamespaceFaultTests: slowest convergence after a heal \(slowest)")
        try await verify(cluster, fleet, activities)
    }

    /// Every device has answered, the manager has it, and every worker has the manager's state.
    private static func converge(_ cluster: FaultCluster, _ activity: String) async throws
        -> JSONValue
    {
        var found = JSONValue.null
        try await cluster.eventually("activity \(activity) to finish") {
            guard let now = try? await cluster.client(0).get("/admin/v1/activities/\(activity)")
            else { return false }
            found = now
            return now["state"]?.stringValue == "finished"
        }
        guard let newest = await cluster.revision(0) else {
            throw DemoFailure("the manager does not answer")
        }
        for worker in 1...cluster.workers {
            try await cluster.eventually("worker-\(worker) to reach \(newest)") {
                guard let revision = await cluster.revision(worker) else { return false }
                return revision.covers(newest)
            }
        }
        return found
    }

    private static func verify(
        _ cluster: FaultCluster,
        _ fleet: FaultFleet,
        _ activities: [JSONValue]
    ) async throws {
        try await cluster.eventually("no device to hold a result") {
            fleet.figures.acknowledged.values.reduce(0) { $0 + ($1["completed"] ?? 0) }
                == activities.count * Self.devices
        }
        try DemoSummary.requireNothingLost(
            activities: activities,
            figures: fleet.figures,
            devices: Self.devices
        )
        XCTAssertEqual(
            fleet.figures.executed,
            activities.count * Self.devices,
            "each operation ran once on each device"
        )
        let final = try await finalTransitions(cluster)
        XCTAssertEqual(final.count, activities.count * Self.devices)
        XCTAssertEqual(final.filter { $0.value != 1 }, [:], "a result was applied twice")
        print(
            "NamespaceFaultTests: \(fleet.figures.exchanges) exchanges, "
                + "\(fleet.figures.failedCalls) that failed, "
                + "\(fleet.figures.redelivered) offered again"
        )
    }

    /// How often each execution has become final, as the manager's log tells.
    private static func finalTransitions(_ cluster: FaultCluster) async throws -> [String: Int] {
        var counts: [String: Int] = [:]
        var position: String?
        while true {
            let page = try await cluster.client(0, timeout: .seconds(30)).get(
                "/admin/v1/events"
                    + JSONClient.query([
                        ("limit", "1000"), ("changes", "state"), ("after", position),
                        ("since", position == nil ? "0" : nil),
                    ])
            )
            for event in page["events"]?.elements ?? []
            where event["type"]?.stringValue == "execution"
                && event["to"]?.stringValue == "completed"
            {
                let activity = event["activity"]?.stringValue ?? ""
                counts["\(activity) \(event["device"]?.stringValue ?? "")", default: 0] += 1
            }
            position = page["next"]?.stringValue
            if page["last"]?.boolValue == true { return counts }
        }
    }
}

/// Some faults at once, and when they end: drawn from a seed, so that it can be told and repeated.
struct FaultSchedule: CustomStringConvertible, Sendable {
    enum Fault: Sendable {
        /// Both directions between the manager and a worker.
        case cut(Int)
        case cutUp(Int)
        case cutDown(Int)
        /// Cut and healed so many times.
        case flap(Int, times: Int)
        case pause(Int)
        case jump(Int, seconds: Int)
        case restart(Int)
    }

    let faults: [Fault]
    let length: Duration

    /// Draws one or two faults of different nodes. Node 0 is the manager.
    init(from random: SeededRandomSource, workers: Int) {
        func below(_ bound: Int) -> Int { Int(random.number(below: UInt64(bound))) }
        var nodes = Array(0...workers)
        var faults: [Fault] = []
        for _ in 0...(below(3) == 0 ? 1 : 0) {
            let node = nodes.remove(at: below(nodes.count))
            faults.append(Self.fault(of: node, workers: workers, below))
        }
        self.faults = faults
        length = .milliseconds(300 + below(2_000))
    }

    private static func fault(of node: Int, workers: Int, _ below: (Int) -> Int) -> Fault {
        // The manager's links are the workers': cutting them is a fault of those.
        let link = node == 0 ? 1 + below(workers) : node
        switch below(8) {
        case 0: return .cut(link)
        case 1: return .cutUp(link)
        case 2: return .cutDown(link)
        case 3: return .flap(link, times: 2 + below(4))
        case 4, 5: return .pause(node)
        case 6: return .jump(node, seconds: [3_600, -3_600, -86_400][below(3)])
        default: return .restart(node)
        }
    }

    var description: String { "\(faults) for \(length)" }

    /// Lets the faults happen at once, and heals everything.
    func play(on cluster: FaultCluster) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for fault in faults {
                group.addTask { try await Self.play(fault, for: length, on: cluster) }
            }
            try await group.waitForAll()
        }
    }

    private static func play(
        _ fault: Fault,
        for length: Duration,
        on cluster: FaultCluster
    ) async throws {
        let network = cluster.network
        switch fault {
        case .cut(let worker):
            try network.cut(from: worker, to: 0)
            try network.cut(from: 0, to: worker)
            try await Task.sleep(for: length)
            try network.heal(from: worker, to: 0)
            try network.heal(from: 0, to: worker)
        case .cutUp(let worker):
            try network.cut(from: worker, to: 0)
            try await Task.sleep(for: length)
            try network.heal(from: worker, to: 0)
        case .cutDown(let worker):
            try network.cut(from: 0, to: worker)
            try await Task.sleep(for: length)
            try network.heal(from: 0, to: worker)
        case .flap(let worker, let times):
            for _ in 0..<times {
                try await play(.cut(worker), for: length / (2 * times), on: cluster)
                try await Task.sleep(for: length / (2 * times))
            }
        case .pause(let node):
            cluster.signal(node, SIGSTOP)
            try await Task.sleep(for: length)
            cluster.signal(node, SIGCONT)
        case .jump(let node, let seconds):
            try cluster.jump(node, by: seconds)
            try await Task.sleep(for: length)
            try cluster.jump(node, by: 0)
        case .restart(let node):
            try await Task.sleep(for: length / 4)
            try await cluster.restart(node)
        }
    }
}
#endif
