import ClusterRole
import OperationQueue
import XCTest

final class MaintenanceWindowTests: XCTestCase {
    private struct Row {
        let zone: String
        let window: MaintenanceWindow
        let now: Timestamp
        let state: WindowState
    }

    private func days(_ mask: UInt8) -> Set<Weekday> {
        Set(Weekday.allCases.filter { mask & (1 << $0.rawValue) != 0 })
    }

    /// The offsets of 2026 and 2027 for each zone of the table.
    private func zones() throws -> FixedTimeZones {
        let zones = FixedTimeZones()
        for line in zoneOffsetTable.split(separator: "\n") {
            let row = try ZoneRow(line)
            if row.from.milliseconds < 1_800_000_000_000 { zones.set(row.name, to: row.offsets) }
        }
        return zones
    }

    private func table() throws -> [Row] {
        let zones = try zones()
        return try maintenanceWindowTable.split(separator: "\n").map { line in
            let fields = line.split(separator: " ").map(String.init)
            let numbers = fields.map { Int64($0) ?? 0 }
            let now = Timestamp(milliseconds: numbers[4])
            let edge = Timestamp(milliseconds: numbers[6])
            return Row(
                zone: fields[0],
                window: try .resolve(
                    days: days(UInt8(numbers[1])),
                    start: Int32(numbers[2]),
                    duration: .seconds(numbers[3] * 60),
                    zone: fields[0],
                    from: now,
                    through: now + .seconds(30 * 86_400),
                    using: zones
                ),
                now: now,
                state: fields[5] == "open" ? .open(until: edge) : .closed(opens: edge)
            )
        }
    }

    func test_state_aroundTheChangesOf2026And2027_isWhatThePythonTableSays() throws {
        let rows = try table()
        XCTAssertEqual(rows.count, 236)
        for row in rows {
            XCTAssertEqual(row.window.state(at: row.now), row.state, "\(row.zone) at \(row.now)")
        }
    }

    private func berlin(start: Int32, minutes: Int, days: Set<Weekday> = Set(Weekday.allCases))
        throws -> MaintenanceWindow
    {
        try .resolve(
            days: days,
            start: start,
            duration: .seconds(minutes * 60),
            zone: "Europe/Berlin",
            from: Timestamp(milliseconds: 1_767_225_600_000),
            through: Timestamp(milliseconds: 1_798_761_600_000),
            using: try zones()
        )
    }

    func test_state_startInTheGapOfSpring_opensAtTheGapsEnd() throws {
        // 29 March 2026, 02:00 CET is 03:00 CEST: 02:30 does not exist.
        let change = Timestamp(milliseconds: 1_774_746_000_000)
        let window = try berlin(start: 150, minutes: 30)
        XCTAssertEqual(window.state(at: change - .seconds(1)), .closed(opens: change))
        XCTAssertEqual(window.state(at: change), .open(until: change + .seconds(1_800)))
    }

    func test_state_startThatExistsTwice_opensAtTheFirst() throws {
        // 25 October 2026, 03:00 CEST is 02:00 CET: 02:30 exists twice.
        let change = Timestamp(milliseconds: 1_792_890_000_000)
        let first = change - .seconds(1_800)
        let window = try berlin(start: 150, minutes: 15)
        XCTAssertEqual(window.state(at: first - .seconds(60)), .closed(opens: first))
        XCTAssertEqual(window.state(at: first), .open(until: first + .seconds(900)))
        let again = first + .seconds(3_600)
        XCTAssertEqual(window.state(at: again), .closed(opens: first + .seconds(25 * 3_600)))
    }

    func test_state_openingsThatJoin_areOneThatNeverEnds() throws {
        let now = Timestamp(milliseconds: 1_792_890_000_000)
        for window in [
            try berlin(start: 90, minutes: 1_440),
            try berlin(start: 0, minutes: 7 * 1_440, days: [.sunday]),
            try berlin(start: 0, minutes: 4 * 1_440, days: [.monday, .thursday]),
        ] {
            XCTAssertEqual(window.state(at: now), .open(until: .distantFuture))
        }
        // Monday and Tuesday, 24 h each, are one time of 48 h.
        let two = try berlin(start: 0, minutes: 1_440, days: [.monday, .tuesday])
        let monday = Timestamp(milliseconds: 1_768_172_400_000)
        XCTAssertEqual(two.state(at: monday), .open(until: monday + .seconds(2 * 86_400)))
    }

    func test_state_atTheEndsOfTime_answers() throws {
        let window = try berlin(start: 150, minutes: 30)
        for raw in [Int64.min, -1, 0, Timestamp.distantFuture.rawValue, Int64.max] {
            _ = window.state(at: Timestamp(rawValue: raw))
        }
        XCTAssertEqual(window.state(at: .distantFuture), .closed(opens: .distantFuture))
    }

    /// A slow second opinion: each minute of 60 days, the wall clock read and compared.
    private func openMinutes(of window: MaintenanceWindow, from: Int64, count: Int) -> [Bool] {
        let day: Int64 = 1_440
        let wholeDays = window.duration.milliseconds / 86_400_000
        let rest = Int(window.duration.milliseconds / 60_000 - wholeDays * day)
        var isOpen = [Bool](repeating: false, count: count)
        var opened: [Int64: Int] = [:]
        var lastPassed: [Int64: Int] = [:]
        var latestLocal = Int64.min
        for minute in 0..<count {
            let now = (from + Int64(minute)) * 60_000
            let offset = window.offsets.last { $0.from.milliseconds <= now }!
            let local = from + Int64(minute) + Int64(offset.seconds) / 60
            if local <= latestLocal { continue }
            if latestLocal == .min { latestLocal = local - 1 }
            for wall in (latestLocal + 1)...local {
                guard (wall - Int64(window.start)) % day == 0 else { continue }
                let number = (wall - Int64(window.start)) / day
                lastPassed[number] = minute
                let weekday = Weekday(rawValue: UInt8((number + 3) % 7))!
                if window.days.contains(weekday) { opened[number] = minute }
            }
            latestLocal = local
        }
        for (number, minute) in opened {
            let nominal = wholeDays == 0 ? minute : lastPassed[number + wholeDays] ?? count
            for place in minute..<max(minute, min(count, nominal + rest)) { isOpen[place] = true }
        }
        return isOpen
    }

    private func randomWindow(_ random: SeededRandom, from: Int64, count: Int) throws
        -> MaintenanceWindow
    {
        var offset = Int64(random.number(below: 100)) * 15 - 720
        var offsets = [ZoneOffset(from: .distantPast, seconds: Int32(offset * 60))]
        var minute = from
        for _ in 0..<random.number(below: 6) {
            minute += 1 + Int64(random.number(below: UInt64(count / 5)))
            offset += random.pick([-1_440, -120, -60, -30, 30, 60, 120, 1_440])
            offset = max(-1_400, min(1_500, offset))
            offsets.append(
                ZoneOffset(
                    from: Timestamp(milliseconds: minute * 60_000),
                    seconds: Int32(offset * 60)
                )
            )
        }
        let minutes = random.pick([
            1 + random.number(below: 10_080), 1 + random.number(below: 1_440), 1_440, 1_439, 2_880,
        ])
        return try MaintenanceWindow(
            days: days(UInt8(1 + random.number(below: 127))),
            start: Int32(random.number(below: 1_440)),
            duration: .seconds(Int64(minutes) * 60),
            zone: "Test/Random",
            offsets: offsets
        )
    }

    func test_state_randomWindowsAndZones_agreesWithAMinuteByMinuteEvaluation() throws {
        let random = SeededRandom(31)
        let count = 60 * 1_440
        let margin = 14 * 1_440
        for round in 0..<60 {
            let from = 29_500_000 + Int64(random.number(below: 50_000))
            let window = try randomWindow(random, from: from, count: count)
            let isOpen = openMinutes(of: window, from: from, count: count)
            for _ in 0..<60 {
                let minute = margin + Int(random.number(below: UInt64(count - 3 * margin)))
                let now = Timestamp(milliseconds: (from + Int64(minute)) * 60_000)
                let edge = isOpen[minute...].firstIndex(of: !isOpen[minute])
                let moment = edge.map {
                    Timestamp(milliseconds: (from + Int64($0)) * 60_000)
                }
                switch window.state(at: now) {
                case .open(let until):
                    XCTAssertTrue(isOpen[minute], "round \(round), minute \(minute), \(window)")
                    // An end behind the horizon of the slow evaluation is not compared.
                    if let moment { XCTAssertEqual(until, moment, "round \(round), \(window)") }
                case .closed(let opens):
                    XCTAssertFalse(isOpen[minute], "round \(round), minute \(minute), \(window)")
                    XCTAssertEqual(opens, moment, "round \(round), \(window)")
                }
            }
        }
    }

    func test_window_badValues_areRefusedWithWhatToDo() {
        let good = [ZoneOffset(from: .distantPast, seconds: 0)]
        func attempt(
            days: Set<Weekday> = [.monday],
            start: Int32 = 0,
            duration: Duration = .seconds(60),
            zone: String = "UTC",
            offsets: [ZoneOffset]
        ) throws {
            _ = try MaintenanceWindow(
                days: days,
                start: start,
                duration: duration,
                zone: zone,
                offsets: offsets
            )
        }
        XCTAssertNoThrow(try attempt(offsets: good))
        let late = ZoneOffset(from: Timestamp(milliseconds: 5), seconds: 0)
        let bad: [() throws -> Void] = [
            { try attempt(days: [], offsets: good) },
            { try attempt(start: 1_440, offsets: good) },
            { try attempt(start: -1, offsets: good) },
            { try attempt(duration: .seconds(59), offsets: good) },
            { try attempt(duration: .seconds(604_801), offsets: good) },
            { try attempt(offsets: []) },
            { try attempt(offsets: [late]) },
            { try attempt(offsets: good + good) },
            { try attempt(offsets: good + [late, late]) },
            { try attempt(offsets: [ZoneOffset(from: .distantPast, seconds: 93_600)]) },
            {
                let many = (0...MaintenanceWindow.maximumOffsets).map {
                    ZoneOffset(from: Timestamp(milliseconds: Int64($0)), seconds: Int32($0))
                }
                try attempt(offsets: many)
            },
        ]
        for (index, body) in bad.enumerated() {
            XCTAssertThrowsError(try body(), "\(index)") {
                XCTAssertEqual(($0 as? OperationQueueError)?.code, .invalidRequest)
            }
        }
        for zone in badZoneNames {
            XCTAssertThrowsError(try attempt(zone: zone, offsets: good), zone)
        }
    }

    func test_coding_windows_comeBackAndDamageNeverStopsTheProcess() throws {
        let random = SeededRandom(5)
        for _ in 0..<200 {
            let window = try randomWindow(random, from: 29_500_000, count: 50_000)
            var writer = ByteWriter()
            writer.write(window)
            let bytes = writer.bytes
            var reader = ByteReader(bytes)
            XCTAssertEqual(try reader.readMaintenanceWindow(), window)
            XCTAssertNoThrow(try reader.expectEnd())
            for length in 0..<bytes.count {
                var short = ByteReader(Array(bytes[..<length]))
                XCTAssertThrowsError(try short.readMaintenanceWindow())
            }
            for _ in 0..<50 {
                var damaged = bytes
                for _ in 0...random.number(below: 3) {
                    let place = Int(random.number(below: UInt64(bytes.count)))
                    damaged[place] = UInt8(truncatingIfNeeded: random.next())
                }
                var reader = ByteReader(damaged)
                guard let read = try? reader.readMaintenanceWindow() else { continue }
                _ = read.state(at: Timestamp(milliseconds: 1_774_746_000_000))
                var again = ByteWriter()
                again.write(read)
                var second = ByteReader(again.bytes)
                XCTAssertEqual(try second.readMaintenanceWindow(), read)
            }
        }
    }
}

let badZoneNames = [
    "", "/etc/passwd", "../../etc/passwd", "Europe/../Berlin", "Europe//Berlin", "Europe/Berlin/",
    "europe/Berlin", "Europe/Ber lin", "Europe/Berl\u{ED}n", "Europe/Berlin\0", ".", "zone.tab",
    "posixrules", "localtime", "right/UTC", String(repeating: "A", count: 64),
]

/// A line of ``zoneOffsetTable`` or ``zoneRuleTable``.
struct ZoneRow {
    let name: String
    let from: Timestamp
    let through: Timestamp
    let offsets: [ZoneOffset]

    init(_ line: Substring) throws {
        let fields = line.split(separator: " ").map(String.init)
        name = fields[0]
        from = Timestamp(milliseconds: try XCTUnwrap(Int64(fields[1])) * 1_000)
        through = Timestamp(milliseconds: try XCTUnwrap(Int64(fields[2])) * 1_000)
        offsets = try fields[3...].map { field in
            let pair = field.split(separator: ":")
            return ZoneOffset(
                from: Timestamp(milliseconds: try XCTUnwrap(Int64(pair[0])) * 1_000),
                seconds: try XCTUnwrap(Int32(pair[1]))
            )
        }
    }
}
