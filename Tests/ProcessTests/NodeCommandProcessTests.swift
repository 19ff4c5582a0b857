#if Server && SQLite && Push
import ClusterRole
import Foundation
import HTTPHandling
import XCTest

@testable import reeve

/// Commands to nodes as an operator meets them: real processes, one of which is told to restart.
final class NodeCommandProcessTests: XCTestCase {
    private func withCluster(_ body: (DemoCluster) async throws -> Void) async throws {
        let cluster = try DemoCluster(directory: nil, progress: DemoProgress())
        do {
            try await cluster.startManager(frequency: 0.3, publishRoots: [cluster.directory.path])
            try await cluster.startWorker(0, frequency: 0.3)
            try await body(cluster)
        } catch {
            await cluster.stop()
            XCTFail("data in \(cluster.directory.path): \(error)")
            return
        }
        await cluster.stop()
        cluster.removeDirectory(ifTemporary: true)
    }

    private func run(
        _ cluster: DemoCluster,
        _ arguments: [String]
    ) async throws -> (status: ChildProcess.Ending, json: JSONValue?, text: String) {
        let log = cluster.directory.appendingPathComponent("command-\(UUID().uuidString).log")
        let child = try ChildProcess(
            name: arguments.joined(separator: " "),
            executable: DemoCluster.ownExecutable,
            arguments: arguments + [
                "--manager", cluster.managerAddress, "--token", cluster.adminToken,
            ],
            log: log
        )
        let ending = try await child.waitForEnd(within: .seconds(60))
        let text = try String(contentsOf: log, encoding: .utf8)
        return (ending, try? JSONValue(parsing: Array(text.utf8)), text)
    }

    /// Whether a member says that it takes work.
    private func mode(of node: String, _ cluster: DemoCluster) async throws -> String? {
        let nodes = try await cluster.admin.get("/admin/v1/nodes")["nodes"]?.elements ?? []
        return nodes.first { $0["node"]?.stringValue == node }?["mode"]?.stringValue
    }

    func test_gracefulRestart_ofAWorker_endsItWithStatus75_isAcknowledged_andIsNotObeyedAgain()
        async throws
    {
        try await withCluster { cluster in
            let worker = try cluster.process("worker-1")
            let answer = try await run(
                cluster,
                ["nodes", "restart", "worker-1", "--wait", "60"]
            )
            XCTAssertEqual(answer.status, .exited(0), answer.text)
            XCTAssertEqual(answer.json?["command"], "graceful-restart")
            XCTAssertEqual(answer.json?["nodes"]?[0]?["state"], "handled")
            let ending = try await worker.waitForEnd(within: .seconds(60))
            XCTAssertEqual(ending, .exited(75), worker.lastLines(5))

            // The supervisor starts it again; the command is still kept, and must not be obeyed twice.
            try await cluster.startWorker(0, frequency: 0.3)
            let again = try cluster.process("worker-1")
            let resting = try await run(
                cluster,
                ["nodes", "maintenance", "--role", "worker", "--wait", "60"]
            )
            XCTAssertEqual(resting.json?["nodes"]?[0]?["state"], "handled", resting.text)
            XCTAssertNil(again.ending, "it restarted a second time")
            _ = try await cluster.poll("the maintenance to be seen by all", within: .seconds(60)) {
                try await mode(of: "worker-1", cluster) == "maintenance" ? true : nil
            }
            let client = cluster.worker(0)
            do {
                _ = try await client.get("/readyz")
                XCTFail("a node in maintenance is ready")
            } catch let refusal as JSONClient.Refusal {
                XCTAssertEqual(refusal.status, 503)
            }
            let down = try await run(
                cluster,
                ["nodes", "shutdown", "--now", "worker-1", "--wait", "60"]
            )
            XCTAssertEqual(down.json?["nodes"]?[0]?["state"], "handled", down.text)
            let last = try await again.waitForEnd(within: .seconds(60))
            XCTAssertEqual(last, .exited(0), again.lastLines(5))
        }
    }
}
#endif
