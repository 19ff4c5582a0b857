#if Server && SQLite && Push
import ClusterRole
import Foundation
import HTTPHandling
import ReeveManager
import XCTest

@testable import reeve

/// What an operator does with a worker's channels, over HTTP with the node's own token.
final class ChannelRoutesTests: XCTestCase {
    func test_channelRoutes_applyCheckVerifyAndChangeTheMode() async throws {
        try await withCluster { cluster in
            let worker = cluster.worker(0)
            let path = "/channels/\(DemoCluster.channel)"
            let source = cluster.directory.appendingPathComponent("site").path
            func publish(_ text: String) async throws {
                try FileManager.default.createDirectory(
                    atPath: source,
                    withIntermediateDirectories: true
                )
                try text.write(
                    toFile: "\(source)/index.html",
                    atomically: true,
                    encoding: .utf8
                )
                let answer = try await runReeve(
                    cluster,
                    ["publish", source, "--channel", DemoCluster.channel]
                )
                XCTAssertEqual(answer.status, 0, answer.text)
            }
            let manual = try await worker.put("\(path)/mode", ["mode": "manual"])
            XCTAssertEqual(manual["mode"]?.stringValue, "manual")
            try await publish("one")
            let checked = try await worker.post("\(path)/check", [:])
            XCTAssertEqual(checked["lastOutcome"]?.stringValue, "available")
            XCTAssertEqual(checked["offered"]?.count, 1)
            XCTAssertNil(checked["active"]?.integerValue)
            let applied = try await worker.post("\(path)/apply", [:])
            XCTAssertEqual(applied["active"]?.count, 1)
            XCTAssertEqual(applied["lastOutcome"]?.stringValue, "activated")
            XCTAssertNotNil(applied["lastApply"]?.integerValue)

            let file = cluster.directory.appendingPathComponent(
                "worker-1/channels/\(DemoCluster.channel)/current/index.html"
            )
            try FileManager.default.setAttributes(
                [.posixPermissions: 0o644],
                ofItemAtPath: file.resolvingSymlinksInPath().path
            )
            try Data("two".utf8).write(to: file.resolvingSymlinksInPath())
            let verified = try await worker.post("\(path)/verify", [:])
            XCTAssertEqual(verified["isDamaged"], .bool(false))
            XCTAssertEqual(verified["driftCount"]?.count, 1)
            XCTAssertEqual(try String(contentsOf: file, encoding: .utf8), "one")

            let automatic = try await worker.put("\(path)/mode", ["mode": "automatic"])
            XCTAssertEqual(automatic["mode"]?.stringValue, "automatic")
            try await publish("two")
            _ = try await cluster.poll("release 2 to be active", within: .seconds(60)) {
                let status = try await worker.get("/status")
                return status["channels"]?.elements.first?["active"]?.count == 2 ? true : nil
            }
            try await refusals(cluster, path)
        }
    }

    private func refusals(_ cluster: DemoCluster, _ path: String) async throws {
        func status(_ client: JSONClient, _ path: String, _ body: JSONValue) async throws -> Int {
            do {
                _ =
                    path.hasSuffix("mode")
                    ? try await client.put(path, body) : try await client.post(path, body)
                return 200
            } catch let refusal as JSONClient.Refusal {
                return refusal.status
            }
        }
        let worker = cluster.worker(0)
        let table: [(JSONClient, String, JSONValue, Int)] = [
            (worker, "/channels/other/apply", [:], 404),
            (worker, "/channels/other/mode", ["mode": "manual"], 404),
            (worker, "\(path)/mode", ["mode": "sometimes"], 400),
            (worker, "\(path)/mode", [:], 400),
            (cluster.worker(1), "\(path)/check", [:], 200),
            (
                JSONClient(base: worker.base, token: cluster.adminToken, client: worker.client),
                "\(path)/apply", [:], 401
            ),
            (
                JSONClient(base: worker.base, token: nil, client: worker.client),
                "\(path)/apply", [:], 401
            ),
        ]
        for (client, path, body, expected) in table {
            let found = try await status(client, path, body)
            XCTAssertEqual(found, expected, "\(path) \(body)")
        }
    }
}
#endif
