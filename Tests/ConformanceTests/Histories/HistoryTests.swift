import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import XCTest

#if SQLite
import ClusterMembership
import SQLiteStore
#endif

/// Random histories through the façades against a small independent model.
final class HistoryTests: XCTestCase {
    private static let steps = 26

    /// What some histories found: the difference with the fewest steps, and what they saw.
    private struct Finding {
        var shortest: RandomHistory.Difference?
        var tally = TermTally()

        mutating func add(_ other: Finding) {
            tally.add(other.tally)
            if let found = other.shortest, found.steps.count < shortest?.steps.count ?? .max {
                shortest = found
            }
        }
    }

    /// Runs the histories of some seeds, on as many tasks as the machine has cores for.
    private func explore(
        _ seeds: Range<UInt64>,
        tasks: UInt64 = 2,
        house: @escaping @Sendable (UInt64) async throws -> QueueHouse
    ) async throws -> Finding {
        try await withThrowingTaskGroup(of: Finding.self) { group in
            for task in 0..<tasks {
                group.addTask {
                    var finding = Finding()
                    let own = stride(
                        from: seeds.lowerBound + task,
                        to: seeds.upperBound,
                        by: Int(tasks)
                    )
                    for seed in own {
                        var history = RandomHistory(seed: seed, house: try await house(seed))
                        var one = Finding()
                        do {
                            try await history.run(steps: Self.steps)
                        } catch let found as RandomHistory.Difference {
                            one.shortest = found
                        }
                        one.tally.count(history.model.seen)
                        finding.add(one)
                    }
                    return finding
                }
            }
            return try await group.reduce(into: Finding()) { $0.add($1) }
        }
    }

    /// Nothing was found, and every term had its effect in so many histories.
    private func assertSound(
        _ finding: Finding,
        rarest: Int,
        file: StaticString = #filePath,
        line: UInt = #line
    ) {
        let found = finding.shortest
        XCTAssertNil(found, found?.description ?? "", file: file, line: line)
        print(finding.tally.summary)
        XCTAssertEqual(finding.tally.rarer(than: rarest), [], file: file, line: line)
    }

    func test_histories_inMemory_keepEveryPromise() async throws {
        let finding = try await explore(1..<10_001) { QueueHouse.inMemory(seed: $0) }
        XCTAssertEqual(finding.tally.histories, 10_000)
        assertSound(finding, rarest: 4)
    }

    #if SQLite
    func test_histories_embedded_keepEveryPromise() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let node = NodeID(rawValue: "manager-1")
        let store = try await EmbeddedStore.open(
            path: directory.path + "/store.sqlite",
            node: node,
            secrets: SecretBox(key: Array(repeating: 7, count: SecretBox.keySize))
        )
        let epoch = try await store.acquire(holder: node, duration: .seconds(30)).epoch
        let time = ManualTimeSource()
        let finding = try await explore(1..<201, tasks: 1) { seed in
            QueueHouse(
                tenant: TenantID(rawValue: "tenant-\(seed)"),
                devices: store,
                operations: store,
                epoch: epoch,
                time: time,
                random: SeededRandomSource(seed: seed)
            )
        }
        try await store.close()
        assertSound(finding, rarest: 0)
    }

    /// Devices are served by a worker, which hands on what it has accepted only now and then.
    func test_histories_onAReplica_keepEveryPromise() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        var finding = Finding()
        for seed in UInt64(1)..<151 {
            let (ledger, time) = (InMemoryLedger(), ManualTimeSource())
            let devices = InMemoryDeviceStorage(ledger: ledger)
            let manager = InMemoryOperationStorage(ledger: ledger, devices: devices)
            let epoch = ledger.raiseEpoch()
            let worker = try ReplicaWorker(
                path: directory.path + "/worker-\(seed).sqlite",
                manager: manager,
                epoch: epoch,
                time: time,
                seed: seed
            )
            let house = QueueHouse(
                devices: devices,
                operations: manager,
                epoch: epoch,
                time: time,
                random: SeededRandomSource(seed: seed),
                worker: worker
            )
            finding.add(try await explore(seed..<seed + 1, tasks: 1) { _ in house })
            try await worker.close()
        }
        assertSound(finding, rarest: 0)
    }
    #endif

    /// The histories are worth something only if they find what is wrong.
    func test_histories_ofADriverWithAMistake_findIt() async throws {
        for bug in PlantedBug.allCases {
            var found: RandomHistory.Difference?
            for start in stride(from: UInt64(1), to: 2_001, by: 50) where found == nil {
                let finding = try await explore(start..<start + 50) {
                    QueueHouse.inMemory(seed: $0, decorated: bug.decoration)
                }
                found = finding.shortest
            }
            XCTAssertNotNil(found, "\(bug.rawValue) was not found")
            if let found { print("\(bug.rawValue): seed \(found.seed)") }
        }
    }
}
