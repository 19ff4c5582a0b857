import Foundation

/// Wall and processor time of a piece of work, printed as `Peers/limit.c` prints it.
struct Measurement {
    private let wall: ContinuousClock.Instant
    private let processor: Double

    init() {
        wall = .now
        processor = Self.processorSeconds()
    }

    /// Prints one line: who, what, how many, seconds, a second, CPU µs each, peak MB, a note.
    func report(_ contender: String, _ workload: String, _ count: Int, note: String = "") {
        let used = Self.processorSeconds() - processor
        let passed = ContinuousClock.now - wall
        let seconds =
            Double(passed.components.seconds) + Double(passed.components.attoseconds) / 1e18
        line(contender, workload, count, seconds, used * 1e6 / Double(count), note)
    }

    /// User and system time of all threads, to the nanosecond.
    static func processorSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

func line(
    _ contender: String,
    _ workload: String,
    _ count: Int,
    _ seconds: Double,
    _ processor: Double,
    _ note: String
) {
    let fields = [
        contender, workload, "\(count)", String(format: "%.6f", seconds),
        String(format: "%.1f", Double(count) / seconds), String(format: "%.3f", processor),
        String(format: "%.1f", Resident.peak), note,
    ]
    print(fields.joined(separator: "\t"))
}

/// Resident memory of this process in MB, as the kernel counts it.
enum Resident {
    static var peak: Double { field("VmHWM:") }
    static var present: Double { field("VmRSS:") }
    /// Without the pages of files: what the process itself holds.
    static var anonymous: Double { field("RssAnon:") }

    private static func field(_ name: String) -> Double {
        guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else {
            return 0
        }
        for row in text.split(separator: "\n") where row.hasPrefix(name) {
            let digits = row.filter(\.isNumber)
            return (Double(digits) ?? 0) / 1_024
        }
        return 0
    }
}

/// Runs `body` for every number below `count`, `width` at a time, each runner in steps of `width`.
func forEach(
    below count: Int,
    width: Int,
    _ body: @escaping @Sendable (Int) async throws -> Void
) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        for start in 0..<min(width, count) {
            group.addTask {
                for index in stride(from: start, to: count, by: width) { try await body(index) }
            }
        }
        try await group.waitForAll()
    }
}

/// Visits `0..<count` in a scattered order: 61,803 has no factor in common with a power of ten.
func scattered(_ index: Int, of count: Int) -> Int { index * 61_803 % count }
