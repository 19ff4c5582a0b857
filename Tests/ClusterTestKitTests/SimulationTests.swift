import ClusterMembership
import ClusterRole
import ClusterTestKit
import Foundation
import Synchronization
import XCTest

/// The seeded simulation: the cluster under faults, and the simulation itself.
final class SimulationTests: XCTestCase {
    /// Runs the simulations of these seeds, as many at once as there are cores.
    private func run(
        seeds: ClosedRange<UInt64>,
        _ plan: @escaping @Sendable (UInt64) -> SimulationPlan
    ) throws -> [SimulationReport] {
        let reports = Mutex<[SimulationReport]>([])
        let problems = Mutex<[String]>([])
        DispatchQueue.concurrentPerform(iterations: seeds.count) { index in
            let seed = seeds.lowerBound + UInt64(index)
            do {
                let report = try Simulation(seed: seed, plan: plan(seed)).run()
                reports.withLock { $0.append(report) }
            } catch {
                problems.withLock { $0.append("seed \(seed): \(error)") }
            }
        }
        XCTAssertEqual(problems.withLock { $0 }, [])
        return reports.withLock { $0 }.sorted { $0.seed < $1.seed }
    }

    private func plan(_ releases: SimulatedReleases?) -> SimulationPlan {
        var plan = SimulationPlan()
        plan.releases = releases
        plan.parts.request = { try await readPages($0) }
        return plan
    }

    /// Every fifth with releases, whose files cost as much as all the rest.
    func test_cluster_fiveHundredSeedsOfFaults_keepsEveryInvariant() async throws {
        let whole = plan(try await makeReleases())
        let small = plan(nil)
        let reports = try run(seeds: 1...500) { $0.isMultiple(of: 5) ? whole : small }
        XCTAssertEqual(reports.count, 500)
        for report in reports where !report.isGood { XCTFail("\(report)") }
        XCTAssertTrue(reports.allSatisfy { $0.events >= 2_000 })
        XCTAssertTrue(reports.allSatisfy { $0.escapedJobs == 0 })
        // It is no proof of anything unless something happens.
        let results = reports.reduce(0) { $0 + $1.counts.results }
        let elections = reports.reduce(0) { $0 + $1.counts.elections }
        let restarts = reports.reduce(0) { $0 + $1.counts.restarts }
        XCTAssertGreaterThan(results, 20_000)
        XCTAssertGreaterThan(elections, 750)
        XCTAssertGreaterThan(restarts, 500)
    }

    func test_simulation_sameSeedTwentyTimes_hasOneHash() async throws {
        let plan = plan(try await makeReleases())
        var hashes: Set<UInt64> = []
        for _ in 0..<20 { hashes.insert(try runOnce(4, plan).hash) }
        XCTAssertEqual(hashes.count, 1)
        XCTAssertNotEqual(try runOnce(5, plan).hash, hashes.first)
    }

    /// On a thread of its own: a task's thread must not be kept.
    private func runOnce(_ seed: UInt64, _ plan: SimulationPlan) throws -> SimulationReport {
        try XCTUnwrap(run(seeds: seed...seed) { _ in plan }.first)
    }

    /// Sets and dictionaries are ordered otherwise in each process.
    func test_simulation_inAnotherProcess_hasTheSameHash() throws {
        let hash = try runOnce(7, plan(nil)).hash
        let key = "REEVE_SIMULATION_HASH_FILE"
        if let path = ProcessInfo.processInfo.environment[key] {
            try "\(hash)".write(toFile: path, atomically: true, encoding: .utf8)
            return
        }
        let file = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: file) }
        for _ in 0..<2 {
            let process = Process()
            process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
            process.arguments = [
                "ClusterTestKitTests.SimulationTests/"
                    + "test_simulation_inAnotherProcess_hasTheSameHash"
            ]
            process.environment = ProcessInfo.processInfo.environment.merging([key: file.path]) {
                $1
            }
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            try process.run()
            process.waitUntilExit()
            XCTAssertEqual(try String(contentsOf: file, encoding: .utf8), "\(hash)")
        }
    }

    func test_simulation_codeThatLeavesTheExecutor_isReported() throws {
        var plan = plan(nil)
        plan.events = 300
        plan.parts.inbox = { base in
            let escaped = Task {}
            escaped.cancel()
            return base
        }
        let report = try runOnce(1, plan)
        XCTAssertGreaterThan(report.escapedJobs, 0)
        XCTAssertTrue(report.failures.contains { $0.invariant == .noEscape })
    }

    // MARK: - Planted bugs

    private func find(_ bug: PlantedBug, line: UInt = #line) async throws {
        var plan = plan(bug == .activation ? try await makeReleases() : nil)
        bug.plant(in: &plan)
        let planted = plan
        for first in stride(from: UInt64(1), through: 493, by: 8) {
            let reports = try run(seeds: first...(first + 7)) { _ in planted }
            let failures = reports.flatMap(\.failures)
            guard let found = failures.first(where: { $0.invariant == bug.invariant }) else {
                continue
            }
            XCTAssertFalse(found.tail.isEmpty, line: line)
            XCTAssertGreaterThan(found.event, 0, line: line)
            return
        }
        XCTFail("No seed finds the bug planted in \(bug).", line: line)
    }

    func test_bugPlantedInTheLease_isFound() async throws { try await find(.lease) }
    func test_bugPlantedInFencing_isFound() async throws { try await find(.fencing) }
    func test_bugPlantedInActivation_isFound() async throws { try await find(.activation) }
    func test_bugPlantedInTheIdempotenceOfResults_isFound() async throws {
        try await find(.resultIdempotence)
    }
    func test_bugPlantedInTheOrder_isFound() async throws { try await find(.order) }

    // MARK: - Stories

    func test_cluster_allManagersAwayForAnHour_losesNothingAndServesOn() throws {
        var plan = plan(nil)
        plan.faults = .none
        // Seldom, so that an hour is not a hundred thousand events.
        plan.exchangeInterval = .seconds(20)...(.seconds(60))
        plan.linkPolls = .seconds(30)
        plan.events = 8_000
        let away = Duration.seconds(3_600)
        let managers = (1...3).map { SimulationPlan.manager($0) }
        plan.script =
            managers.map { .crash($0, at: .seconds(120), restartAfter: away) }
            + (1...5).map { .crash(SimulationPlan.worker($0), at: .seconds(600 * Int64($0))) }
        let report = try runOnce(3, plan)
        XCTAssertTrue(report.isGood, "\(report)")
        XCTAssertGreaterThan(report.duration, away)
        XCTAssertEqual(report.counts.restarts, 8)
        // Eight devices at a time come every 20 to 60 seconds, and few of them in vain.
        XCTAssertGreaterThan(report.counts.exchangesWithoutManagers, 500)
    }

    func test_script_crashAtEachPoint_losesNothing() throws {
        var plan = plan(nil)
        plan.devices = 20
        plan.events = 1_600
        plan.faults = .none
        let base = plan
        let reports = try run(seeds: 1...30) { seed in
            var plan = base
            plan.script = [
                .crash(
                    SimulationPlan.worker(1),
                    atPoint: Int(seed),
                    from: .seconds(5),
                    restartAfter: .seconds(3)
                )
            ]
            return plan
        }
        for report in reports where !report.isGood { XCTFail("\(report)") }
        XCTAssertEqual(reports.count { $0.counts.restarts == 1 }, 30)
    }

    func test_script_everyKindOfFault_isDone() throws {
        var plan = plan(nil)
        plan.devices = 20
        plan.events = 900
        plan.faults = .none
        let (worker, manager) = (SimulationPlan.worker(1), SimulationPlan.manager(1))
        plan.script = [
            .partition(
                [worker],
                from: [manager],
                .flapping(every: .seconds(1)),
                at: .zero,
                for: .seconds(9)
            ),
            .partition(
                [manager],
                from: [SimulationPlan.store],
                .outgoing,
                at: .seconds(3),
                for: .seconds(20)
            ),
            .duplicate(0.5, at: .seconds(1), for: .seconds(4)),
            .delay(.milliseconds(1)...(.milliseconds(900)), at: .seconds(6), for: .seconds(4)),
            .reorder(0.3, at: .seconds(11), for: .seconds(4)),
            .lose(0.3, at: .seconds(16), for: .seconds(4)),
            .disk(of: worker, DiskFaults(refused: 0.5), at: .seconds(2), for: .seconds(10)),
            .jumpClock(of: worker, by: .seconds(-86_400), at: .seconds(8)),
            .pause(manager, at: .seconds(21), for: .seconds(20)),
            .crash(worker, at: .seconds(14)),
        ]
        let report = try runOnce(11, plan)
        XCTAssertTrue(report.isGood, "\(report)")
        XCTAssertEqual(report.counts.restarts, 1)
    }
}
