#if SQLite
import ClusterTestKit
import Foundation
import SQLiteEngine
import SQLiteStore
import XCTest

/// One flipped bit anywhere in a file: it is reported, or nothing that is returned differs.
final class BitFlipTests: XCTestCase {
    func test_store_aFlippedBit_isReportedOrChangesNothing() async throws {
        let directory = try TestDirectory()
        let path = directory.path + "/store.sqlite"
        let house = try await StoreHouse.open(path, seed: 3)
        try await FilledStore.fill(house)
        let now = house.time.now()
        let report = try await house.store.verify()
        XCTAssertTrue(report.isSound, report.summary)
        XCTAssertGreaterThan(report.rows, 100)
        let expected = try await FilledStore.read(house.store, now)
        try await house.store.close()
        BitFlips.assertEveryTableHasARow(in: path)
        let original = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        let tally = try await BitFlips.flip(original, at: path, count: 2_000, seed: 77) { path in
            let house = try await StoreHouse.open(path)
            do {
                let found = try await FilledStore.read(house.store, now)
                try await house.store.close()
                return found == expected ? .same : .different
            } catch {
                try? await house.store.close()
                throw error
            }
        } verify: { path in
            let house = try await StoreHouse.open(path)
            do {
                let report = try await house.store.verify()
                guard report.isSound else { throw DamageFound(summary: report.summary) }
            } catch {
                try? await house.store.close()
                throw error
            }
            try await house.store.close()
        }
        print("store: \(tally)")
        XCTAssertGreaterThan(tally.reported, 700)
        XCTAssertEqual(tally.silent, [])
    }
}
#endif
