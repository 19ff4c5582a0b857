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
    private static let steps = 22

    /// Runs the histories of some seeds, on as many tasks as the machine has cores for; returns the
    /// difference found with the fewest steps.
    private func shortest(
        _ seeds: Range<UInt64>,
        tasks: UInt64 = 2,
        house: @escaping @Sendable (UInt64) async throws -> QueueHouse
    ) async throws -> RandomHistory.Difference? {
        try await withThrowingTaskGroup(of: RandomHistory.Difference?.self) { group in
            for task in 0..<tasks {
                group.addTask {
                    var best: RandomHistory.Difference?
                    for seed in stride(
                        from: seeds.lowerBound + task,
                        to: seeds.upperBound,
                        by: Int(tasks)
                    ) {
                        var history = RandomHistory(seed: seed, house: try await house(seed))
                        do {
                            try await history.run(steps: Self.steps)
                        } catch let found as RandomHistory.Difference {
                            let isShorter = best.map { found.steps.count < $0.steps.count } ?? true
                            if isShorter { best = found }
                        }
                    }
                    return best
                }
            }
            var found: [RandomHistory.Difference] = []
            for try await one in group { if let one { found.append(one) } }
            return found.min { $0.steps.count < $1.steps.count }
        }
    }

    func test_histories_inMemory_keepEveryPromise() async throws {
        let found = try await shortest(1..<10_001) { QueueHouse.inMemory(seed: $0) }
        XCTAssertNil(found, found?.description ?? "")
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
        let found = try await shortest(1..<301, tasks: 1) { seed in
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
        XCTAssertNil(found, found?.description ?? "")
    }
    #endif

    /// The histories are worth something only if they find what is wrong.
    func test_histories_ofADriverWithAMistake_findIt() async throws {
        for bug in PlantedBug.allCases {
            let found = try await shortest(1..<201) {
                QueueHouse.inMemory(seed: $0, decorated: bug.decoration)
            }
            XCTAssertNotNil(found, "\(bug.rawValue) was not found")
        }
    }
}
