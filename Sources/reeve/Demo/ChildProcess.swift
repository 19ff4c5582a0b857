#if Server && SQLite && Push
import Foundation
import Synchronization

/// A node of the demonstration: an operating-system process of its own, its output in a file.
final class ChildProcess: Sendable {
    enum Ending: Equatable, Sendable {
        case exited(Int32)
        case signalled(Int32)
    }

    let name: String
    let processID: pid_t
    let log: URL
    private let state = Mutex<(ending: Ending?, peakMemory: Int)>((nil, 0))

    /// Starts `executable` with `arguments`; standard output and error are appended to `log`.
    init(name: String, executable: String, arguments: [String], log: URL) throws {
        self.name = name
        self.log = log
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(
            &actions,
            1,
            log.path,
            O_WRONLY | O_CREAT | O_APPEND,
            0o600
        )
        posix_spawn_file_actions_adddup2(&actions, 1, 2)

        var pointers: [UnsafeMutablePointer<CChar>?] =
            ([executable] + arguments).map { strdup($0) } + [nil]
        defer { pointers.forEach { free($0) } }
        var pid: pid_t = 0
        let result = posix_spawn(&pid, executable, &actions, nil, &pointers, environ)
        guard result == 0 else {
            throw DemoFailure(
                "cannot start \(name) (\(executable)): \(String(cString: strerror(result)))"
            )
        }
        processID = pid
    }

    /// Sends a signal; harmless once the process has ended.
    func signal(_ number: Int32) {
        if ending == nil { kill(processID, number) }
    }

    /// How it ended, or `nil` while it runs. Reaps the process.
    var ending: Ending? {
        state.withLock { state in
            if let ending = state.ending { return ending }
            state.peakMemory = max(state.peakMemory, Self.peakMemory(of: processID))
            var status: Int32 = 0
            guard waitpid(processID, &status, WNOHANG) == processID else { return nil }
            let signal = status & 0x7F
            state.ending = signal == 0 ? .exited((status >> 8) & 0xFF) : .signalled(signal)
            return state.ending
        }
    }

    /// The largest resident memory seen, in bytes; looked up each time ``ending`` is asked.
    var peakMemory: Int {
        _ = ending
        return state.withLock { $0.peakMemory }
    }

    /// Waits for the end.
    func waitForEnd(within limit: Duration) async throws -> Ending {
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            if let ending { return ending }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw DemoFailure("\(name) (process \(processID)) did not end within \(limit)")
    }

    /// The last lines of its log, for an error message.
    func lastLines(_ count: Int) -> String {
        let text = (try? String(contentsOf: log, encoding: .utf8)) ?? ""
        return text.split(separator: "\n").suffix(count).joined(separator: "\n")
    }

    private static func peakMemory(of process: pid_t) -> Int {
        guard let text = try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }),
            let kilobytes = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst()
                .first
        else { return 0 }
        return (Int(kilobytes) ?? 0) * 1_024
    }
}

/// Why the demonstration did not converge.
struct DemoFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
#endif
