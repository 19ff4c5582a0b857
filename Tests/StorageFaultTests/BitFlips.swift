#if SQLite
import ClusterTestKit
import CrashImageSupport
import Foundation
import XCTest

/// Flips bits of a file and looks who tells.
enum BitFlips {
    /// What became of the flips.
    struct Tally {
        var reported = 0
        var harmless = 0
        /// Reads returned something else without a word; ``EmbeddedStore/verify()`` told.
        var found = 0
        /// Nobody told.
        var silent: [Int] = []
    }

    enum Answer { case same, different }

    /// Holds that each table of a file has a row: a flip proves nothing about a table that is empty.
    static func assertEveryTableHasARow(
        in path: String,
        file: StaticString = #filePath,
        line: UInt = #line
    ) {
        var names = [CChar](repeating: 0, count: 4_096)
        var tables: Int32 = 0
        let code = crash_empty_tables(path, &names, Int32(names.count), &tables)
        XCTAssertEqual(code, 0, file: file, line: line)
        XCTAssertGreaterThan(tables, 2, file: file, line: line)
        let empty = names.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        let text = String(decoding: empty, as: UTF8.self)
        XCTAssertEqual(text, "", "tables without a row: \(text)", file: file, line: line)
    }

    /// Flips one bit at a time and asks what is returned then.
    ///
    /// - Parameters:
    ///   - answer: opens, reads everything and compares; throws what it is told.
    ///   - verify: opens and looks through the whole file; throws what it is told.
    static func flip(
        _ original: [UInt8],
        at path: String,
        count: Int,
        seed: UInt64,
        answer: (String) async throws -> Answer,
        verify: (String) async throws -> Void
    ) async throws -> Tally {
        // Bytes that hold something: most of a small file is unused space in pages.
        let used = original.indices.filter { original[$0] != 0 }
        let random = SeededRandomSource(seed: seed)
        var tally = Tally()
        for _ in 0..<count {
            let at =
                random.next() % 8 == 0
                ? Int(random.next() % UInt64(original.count))
                : used[Int(random.next() % UInt64(used.count))]
            let bit = UInt8(1) << UInt8(random.next() % 8)
            func damage() throws {
                var bytes = original
                bytes[at] ^= bit
                for suffix in ["-wal", "-shm", "-journal"] {
                    try? FileManager.default.removeItem(atPath: path + suffix)
                }
                try Data(bytes).write(to: URL(fileURLWithPath: path))
            }
            try damage()
            do {
                if try await answer(path) == .same {
                    tally.harmless += 1
                    continue
                }
                try damage()
                do {
                    try await verify(path)
                    tally.silent.append(at)
                } catch {
                    tally.found += 1
                }
            } catch {
                tally.reported += 1
            }
        }
        return tally
    }
}

/// What the walk over a whole file told.
struct DamageFound: Error {
    var summary: String
}
#endif
