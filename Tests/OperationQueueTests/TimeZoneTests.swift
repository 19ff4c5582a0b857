import ClusterRole
import Foundation
import OperationQueue
import XCTest

/// ``SystemTimeZones`` on files made here, and on the machine's own.
final class TimeZoneTests: XCTestCase {
    private var directory = ""
    private var zones: SystemTimeZones { SystemTimeZones(directory: directory) }

    override func setUpWithError() throws {
        let url = FileManager.default.temporaryDirectory
            .appendingPathComponent("zones-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        directory = url.path
    }

    override func tearDownWithError() throws {
        try FileManager.default.removeItem(atPath: directory)
    }

    private func write(_ bytes: [UInt8], as name: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
    }

    private func bigEndian<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }

    /// A TZif file; the types are numbered as `offsets` is.
    private func file(
        version: UInt8 = UInt8(ascii: "2"),
        offsets: [Int32] = [0],
        transitions: [(Int64, UInt8)] = [],
        leaps: Int = 0,
        footer: String
    ) -> [UInt8] {
        func block(_ isLong: Bool) -> [UInt8] {
            let times = isLong ? transitions : []
            let counts = [0, 0, isLong ? leaps : 0, times.count, offsets.count, 4]
            var bytes = Array("TZif".utf8) + [version] + [UInt8](repeating: 0, count: 15)
            for count in counts { bytes += bigEndian(Int32(count)) }
            for time in times { bytes += bigEndian(time.0) }
            for time in times { bytes.append(time.1) }
            for offset in offsets { bytes += bigEndian(offset) + [0, 0] }
            bytes += Array("AAA\0".utf8)
            return bytes + [UInt8](repeating: 0, count: isLong ? leaps * 12 : 0)
        }
        return block(false) + block(true) + Array("\n\(footer)\n".utf8)
    }

    private func offsets(from: Int64 = 0, through: Int64) throws -> [ZoneOffset] {
        try zones.offsets(
            of: "Zone",
            from: Timestamp(milliseconds: from * 1_000),
            through: Timestamp(milliseconds: through * 1_000)
        )
    }

    func test_footer_everyFormOfRule_isFollowedAsPythonFollowsIt() throws {
        for line in zoneRuleTable.split(separator: "\n") {
            let row = try ZoneRow(line)
            try write(file(footer: row.name), as: "Zone")
            XCTAssertEqual(
                try zones.offsets(of: "Zone", from: row.from, through: row.through),
                row.offsets,
                row.name
            )
        }
    }

    func test_offsets_transitionsThenFooter_followOneAnother() throws {
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3"
        // The changes of 2026; those of 2027 by the footer.
        let bytes = file(
            offsets: [3_600, 7_200],
            transitions: [(1_774_746_000, 1), (1_792_890_000, 0)],
            footer: berlin
        )
        try write(bytes, as: "Zone")
        let row = try ZoneRow(try XCTUnwrap(zoneOffsetTable.split(separator: "\n").first))
        XCTAssertEqual(
            try zones.offsets(of: "Zone", from: row.from, through: row.through),
            row.offsets
        )
        // Without a footer the last transition stands; before the first, the first type.
        try write(
            file(offsets: [10, 20], transitions: [(500, 1)], footer: ""),
            as: "Zone"
        )
        XCTAssertEqual(
            try offsets(from: 100, through: 9_000_000_000),
            [
                ZoneOffset(from: .distantPast, seconds: 10),
                ZoneOffset(from: Timestamp(milliseconds: 500_000), seconds: 20),
            ]
        )
        XCTAssertEqual(
            try offsets(from: 500, through: 9_000_000_000),
            [ZoneOffset(from: .distantPast, seconds: 20)]
        )
    }

    func test_offsets_zonesOfTheMachine_areWhatPythonReads() throws {
        let system = SystemTimeZones()
        guard FileManager.default.fileExists(atPath: system.directory + "/Europe/Berlin") else {
            throw XCTSkip("This machine has no time zone data in \(system.directory).")
        }
        for line in zoneOffsetTable.split(separator: "\n") {
            let row = try ZoneRow(line)
            XCTAssertEqual(
                try system.offsets(of: row.name, from: row.from, through: row.through),
                row.offsets,
                row.name
            )
        }
    }

    private func assertRefused(
        _ zone: String,
        saying words: String,
        line: UInt = #line,
        _ body: () throws -> Void
    ) {
        XCTAssertThrowsError(try body(), zone, line: line) {
            let error = $0 as? OperationQueueError
            XCTAssertEqual(error?.code, .invalidRequest, zone, line: line)
            let message = error?.message ?? ""
            XCTAssertTrue(message.contains(words), "\(zone): \(message)", line: line)
        }
    }

    func test_zone_unknownOrNoName_isRefusedWithWhatToDo() throws {
        let good = file(footer: "UTC0")
        try write(good, as: "Zone")
        // What a name must not reach, were it followed.
        try FileManager.default.createDirectory(
            atPath: directory + "/Inner",
            withIntermediateDirectories: true
        )
        let inner = SystemTimeZones(directory: directory + "/Inner")
        for zone in badZoneNames + ["../Zone"] {
            assertRefused(zone, saying: "Give an IANA name") {
                _ = try inner.offsets(of: zone, from: .distantPast, through: .distantFuture)
            }
        }
        for (zone, words) in [("Mars/Olympus", "install the package tzdata"), ("Inner", "IANA")] {
            assertRefused(zone, saying: words) {
                _ = try zones.offsets(of: zone, from: .distantPast, through: .distantFuture)
            }
        }
        assertRefused("Mars/Olympus", saying: "Set its offsets") {
            _ = try FixedTimeZones().offsets(
                of: "Mars/Olympus",
                from: .distantPast,
                through: .distantFuture
            )
        }
    }

    func test_file_badOrTooLarge_isRefusedWithItsReason() throws {
        let good = file(footer: "UTC0")
        let bad: [([UInt8], String)] = [
            (Array("# zone table\n".utf8), "is not a time zone"),
            ([], "is not a time zone"),
            (file(version: 0, footer: ""), "old format"),
            (file(leaps: 1, footer: "UTC0"), "leap seconds"),
            (good + [UInt8](repeating: 0, count: 65_536), "damaged"),
            (file(offsets: [200_000], footer: "UTC0"), "damaged"),
            (file(transitions: [(5, 1)], footer: "UTC0"), "damaged"),
            (file(transitions: [(5, 0), (5, 0)], footer: "UTC0"), "damaged"),
            (file(footer: "CET-1CEST"), "damaged"),
            (file(footer: "CET-1CEST,M13.5.0,M10.5.0/3"), "damaged"),
            (file(footer: "CET-1CEST,M3.5.0,M10.5.0/168"), "damaged"),
            (file(footer: "CET"), "damaged"),
        ]
        for (bytes, words) in bad {
            try write(bytes, as: "Zone")
            assertRefused("Zone", saying: words) { _ = try offsets(through: 9_000_000_000) }
        }
        for length in 0..<good.count {
            try write(Array(good[..<length]), as: "Zone")
            XCTAssertThrowsError(try offsets(through: 9_000_000_000), "\(length)")
        }
    }

    func test_file_bytesFlippedAtRandom_neverStopTheProcess() throws {
        let random = SeededRandom(3)
        let good = file(
            offsets: [3_600, 7_200],
            transitions: [(1_774_746_000, 1), (1_792_890_000, 0)],
            footer: "CET-1CEST,M3.5.0,M10.5.0/3"
        )
        var read = 0
        for _ in 0..<1_000 {
            var bytes = good
            for _ in 0...random.number(below: 3) {
                bytes[Int(random.number(below: UInt64(bytes.count)))] = UInt8(
                    truncatingIfNeeded: random.next()
                )
            }
            try write(bytes, as: "Zone")
            if (try? offsets(through: 1_900_000_000)) != nil { read += 1 }
        }
        XCTAssertGreaterThan(read, 0)
    }

    func test_offsets_spanWithTooManyChanges_isRefused() throws {
        try write(file(footer: "CET-1CEST,M3.5.0,M10.5.0/3"), as: "Zone")
        assertRefused("Zone", saying: "expire earlier") {
            _ = try zones.offsets(of: "Zone", from: .distantPast, through: .distantFuture)
        }
        // A window looks ahead only so far.
        let window = try MaintenanceWindow.resolve(
            days: [.sunday],
            start: 0,
            duration: .seconds(3_600),
            zone: "Zone",
            from: Timestamp(milliseconds: 1_774_746_000_000),
            through: .distantFuture,
            using: zones
        )
        XCTAssertEqual(window.offsets.count, 22)
    }
}
