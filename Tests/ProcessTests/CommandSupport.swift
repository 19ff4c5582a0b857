#if Server && SQLite && Push
import Foundation
import HTTPHandling
import XCTest

@testable import reeve

/// Runs `body` with a manager, two workers and a few devices.
func withCluster(
    devices: Int = 0,
    _ body: (DemoCluster) async throws -> Void
) async throws {
    let cluster = try DemoCluster(directory: nil, progress: DemoProgress())
    do {
        try await cluster.startManager(frequency: 0.3, publishRoots: [cluster.directory.path])
        try await cluster.startWorker(0, frequency: 0.3)
        try await cluster.startWorker(1, frequency: 0.3)
        if devices > 0 {
            try await cluster.startFleet(devices: devices, frequency: 0.3)
            _ = try await cluster.poll("every device to enrol", within: .seconds(120)) {
                try await cluster.figures().enrolled == devices ? true : nil
            }
        }
        try await body(cluster)
    } catch {
        await cluster.stop()
        XCTFail("data in \(cluster.directory.path): \(error)")
        return
    }
    await cluster.stop()
    cluster.removeDirectory(ifTemporary: true)
}

/// What a command printed, and how it ended.
struct CommandAnswer {
    var status: Int32
    var text: String
    var json: JSONValue? { try? JSONValue(parsing: Array(text.utf8)) }
    var lines: [JSONValue?] {
        text.split(separator: "\n").map { try? JSONValue(parsing: Array($0.utf8)) }
    }
}

/// Runs the command as a process of its own.
///
/// - Parameters:
///   - cluster: whose manager it asks, and whose directory has its log.
///   - arguments: the command's.
///   - asksManager: whether it is told where the manager is, with the administrator's token.
///   - input: what it reads from standard input.
func runReeve(
    _ cluster: DemoCluster,
    _ arguments: [String],
    asksManager: Bool = true,
    input: String? = nil
) async throws -> CommandAnswer {
    let log = cluster.directory.appendingPathComponent("command-\(UUID().uuidString).log")
    let place = ["--manager", cluster.managerAddress, "--token", cluster.adminToken]
    var executable = DemoCluster.ownExecutable
    var all = arguments + (asksManager ? place : [])
    if let input {
        let file = log.path + ".in"
        try input.write(toFile: file, atomically: true, encoding: .utf8)
        all = ["-c", "exec \"$@\" < \"$0\"", file, executable] + all
        executable = "/bin/sh"
    }
    let child = try ChildProcess(
        name: arguments.joined(separator: " "),
        executable: executable,
        arguments: all,
        log: log
    )
    let ending = try await child.waitForEnd(within: .seconds(60))
    guard case .exited(let status) = ending else {
        throw DemoFailure("\(arguments) ended with \(ending)")
    }
    return CommandAnswer(status: status, text: try String(contentsOf: log, encoding: .utf8))
}
#endif
