#if Server && SQLite && Push
import Foundation
import Synchronization

/// What the demonstration tells: live on a terminal, plain lines elsewhere.
final class DemoProgress: Sendable {
    private let isTerminal = isatty(STDOUT_FILENO) == 1
    private let start = ContinuousClock.now
    private let live = Mutex(false)

    /// A heading of one of the steps.
    func step(_ number: Int, _ title: String) { line("\n\(number). \(title)") }

    /// A line that stays.
    func line(_ text: String) {
        live.withLock { isLive in
            if isLive { write("\r\u{1B}[K") }
            isLive = false
            write(text + "\n")
        }
    }

    /// A line that the next one replaces; elsewhere than on a terminal it is not written.
    func update(_ text: String) {
        guard isTerminal else { return }
        live.withLock { isLive in
            write("\r\u{1B}[K   " + text)
            isLive = true
        }
    }

    var elapsed: Duration { start.duration(to: .now) }

    private func write(_ text: String) {
        FileHandle.standardOutput.write(Data(text.utf8))
    }
}

/// Numbers as people read them.
enum Figures {
    static func bytes(_ count: Int) -> String {
        switch count {
        case ..<1_024: "\(count) B"
        case ..<(1_024 * 1_024): "\(tenths(count, 1_024)) KB"
        default: "\(tenths(count, 1_024 * 1_024)) MB"
        }
    }

    static func seconds(_ duration: Duration) -> String {
        let milliseconds = Int(duration / .milliseconds(1))
        return milliseconds < 1_000 ? "\(milliseconds) ms" : "\(tenths(milliseconds, 1_000)) s"
    }

    private static func tenths(_ value: Int, _ unit: Int) -> String {
        let scaled = (value * 10 + unit / 2) / unit
        return "\(scaled / 10).\(scaled % 10)"
    }

    /// A table with aligned columns.
    static func table(_ rows: [[String]]) -> String {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in
            rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        return rows.map { row in
            "   "
                + row.enumerated().map { column, cell in
                    column == row.count - 1
                        ? cell : cell.padding(toLength: widths[column], withPad: " ", startingAt: 0)
                }.joined(separator: "  ")
        }.joined(separator: "\n")
    }
}
#endif
