#if Server && SQLite && Push
import Foundation
import HTTPHandling
import XCTest

@testable import reeve

/// Administration as an operator meets it: each command a process of its own, its answer parsed.
final class AdministrationCommandTests: XCTestCase {
    private static let devices = 3

    private func withCluster(_ body: (DemoCluster) async throws -> Void) async throws {
        try await ProcessTests.withCluster(devices: Self.devices, body)
    }

    /// Enqueues to everybody and waits until all have done it.
    private func done(_ cluster: DemoCluster, _ code: String) async throws -> String {
        let answer = try await runReeve(cluster, ["enqueue", code, "--group", DemoCluster.group])
        XCTAssertEqual(answer.status, 0, answer.text)
        let activity = try XCTUnwrap(answer.json?["activity"]?.stringValue, answer.text)
        _ = try await cluster.poll("\(code) to be done", within: .seconds(120)) {
            let shown = try await cluster.admin.get("/admin/v1/activities/\(activity)")
            return shown["counts"]?["completed"]?.count == Self.devices ? true : nil
        }
        return activity
    }

    func test_activitiesEventsAndGroups_printWhatHappened() async throws {
        try await withCluster { cluster in
            let activity = try await done(cluster, "lock")
            try await activities(cluster, activity)
            try await events(cluster, activity)
            try await groups(cluster)
        }
    }

    private func activities(_ cluster: DemoCluster, _ activity: String) async throws {
        let all = try await runReeve(
            cluster,
            ["activities", "--code", "lock", "--state", "finished"]
        )
        XCTAssertEqual(all.status, 0, all.text)
        XCTAssertEqual(all.json?["activities"]?.elements.map { $0["id"]?.stringValue }, [activity])
        let none = try await runReeve(cluster, ["activities", "--code", "wipe"])
        XCTAssertEqual(none.json?["activities"]?.elements.count, 0, none.text)
        let one = try await runReeve(cluster, ["activities", activity])
        let executions = one.json?["executions"]?.elements ?? []
        XCTAssertEqual(
            executions.map { $0["state"]?.stringValue },
            Array(repeating: "completed", count: Self.devices)
        )
        let device = try XCTUnwrap(executions.first?["device"]?.stringValue, one.text)
        let own = try await runReeve(cluster, ["activities", "--device", device])
        XCTAssertTrue(own.text.contains(activity), own.text)
        let pending = try await runReeve(cluster, ["activities", "--device", device, "--pending"])
        XCTAssertEqual(pending.status, 0, pending.text)
        XCTAssertFalse(pending.text.contains(activity), pending.text)
        let both = try await runReeve(cluster, ["activities", activity, "--device", device])
        XCTAssertEqual(both.status, 64, both.text)
        let unknown = try await runReeve(
            cluster,
            ["activities", String(repeating: "0", count: 32)]
        )
        XCTAssertEqual(unknown.status, 1)
        XCTAssertTrue(unknown.text.contains("operations.unknown-activity"), unknown.text)
    }

    private func events(_ cluster: DemoCluster, _ activity: String) async throws {
        let all = try await runReeve(
            cluster,
            ["events", "--since", "0", "--activity", activity, "--state-changes"]
        )
        XCTAssertEqual(all.status, 0, all.text)
        XCTAssertFalse(all.lines.contains(nil), "one object a line: \(all.text)")
        let completed = all.lines.count { $0?["to"] == "completed" || $0?["state"] == "completed" }
        XCTAssertEqual(completed, Self.devices, all.text)
        let other = try await runReeve(cluster, ["events", "--since", "0", "--code", "wipe"])
        XCTAssertEqual(other.text, "")
    }

    /// Through a file, as through a pipe: each line is there when it has happened, not when a buffer
    /// is full.
    func test_events_thatAreFollowed_arePrintedWhenTheyHappen() async throws {
        try await withCluster { cluster in
            let log = cluster.directory.appendingPathComponent("follow.log")
            let follower = try ChildProcess(
                name: "events --follow",
                executable: DemoCluster.ownExecutable,
                arguments: [
                    "events", "--follow", "--since", "0", "--state-changes",
                    "--manager", cluster.managerAddress, "--token", cluster.adminToken,
                ],
                log: log
            )
            for code in ["lock", "locate"] {
                let activity = try await done(cluster, code)
                _ = try await cluster.poll("\(code) to be followed", within: .seconds(60)) {
                    let text = try String(contentsOf: log, encoding: .utf8)
                    let own = text.split(separator: "\n").filter { $0.contains(activity) }
                    return own.count { $0.contains(#""completed""#) } >= Self.devices ? true : nil
                }
            }
            XCTAssertNil(follower.ending, "it follows until it is interrupted")
            follower.signal(SIGTERM)
            let ending = try await follower.waitForEnd(within: .seconds(60))
            XCTAssertEqual(ending, .signalled(SIGTERM))
        }
    }

    private func groups(_ cluster: DemoCluster) async throws {
        let query = "member \"\(DemoCluster.group)\""
        let defined = try await runReeve(cluster, ["groups", "define", "chosen", query])
        XCTAssertEqual(defined.status, 0, defined.text)
        func chosen() async throws -> JSONValue? {
            let listed = try await runReeve(cluster, ["groups"])
            XCTAssertEqual(listed.status, 0, listed.text)
            return listed.json?["groups"]?.elements.first { $0["group"] == "chosen" }
        }
        let group = try await chosen()
        XCTAssertEqual(group?["members"]?.count, Self.devices, "\(String(describing: group))")
        XCTAssertEqual(group?["query"]?.stringValue, query)
        let undefined = try await runReeve(cluster, ["groups", "undefine", "chosen"])
        XCTAssertEqual(undefined.status, 0, undefined.text)
        let kept = try await chosen()
        XCTAssertEqual(kept?["members"]?.count, Self.devices)
        XCTAssertNil(kept?["query"]?.stringValue)
        let wrong = try await runReeve(cluster, ["groups", "define", "chosen", "member ("])
        XCTAssertEqual(wrong.status, 1, wrong.text)
    }

    func test_webhooks_areAddedListedAndRemoved_andRefusalsAreOneLine() async throws {
        try await withCluster { cluster in
            let url = "http://127.0.0.1:9/hook"
            let added = try await runReeve(cluster, ["webhooks", "add", url, "--code", "lock"])
            XCTAssertEqual(added.status, 0, added.text)
            let id = try XCTUnwrap(
                added.json?["webhook"]?["webhook"]?.stringValue,
                added.text
            )
            let secret = try XCTUnwrap(added.json?["secret"]?.stringValue, added.text)
            let listed = try await runReeve(cluster, ["webhooks"])
            XCTAssertTrue(listed.text.contains(url), listed.text)
            XCTAssertFalse(listed.text.contains(secret), "the secret is shown once")
            let letters = try await runReeve(cluster, ["webhooks", "dead-letters", id])
            XCTAssertEqual(letters.status, 0, letters.text)
            let none = try await runReeve(cluster, ["webhooks", "redeliver", id, "7"])
            XCTAssertEqual(none.status, 1, none.text)
            XCTAssertTrue(none.text.hasPrefix("error: 404 "), none.text)
            XCTAssertEqual(none.text.split(separator: "\n").count, 1)
            let removed = try await runReeve(cluster, ["webhooks", "remove", id])
            XCTAssertEqual(removed.status, 0, removed.text)
            let after = try await runReeve(cluster, ["webhooks"])
            XCTAssertFalse(after.text.contains(url), after.text)
        }
    }

    func test_backupPurgeAndRestore_sayWhatTheyDid() async throws {
        try await withCluster { cluster in
            _ = try await done(cluster, "lock")
            let file = cluster.directory.appendingPathComponent("backup.db").path
            let manager = cluster.directory.appendingPathComponent("manager").path
            let taken = try await runReeve(cluster, ["backup", "--to", file])
            XCTAssertEqual(taken.status, 0, taken.text)
            XCTAssertGreaterThan(taken.json?["rows"]?.count ?? 0, 5)
            let again = try await runReeve(cluster, ["backup", "--to", file])
            XCTAssertEqual(again.status, 1)
            XCTAssertTrue(again.text.contains("storage.exists"), again.text)
            let locked = try await runReeve(
                cluster,
                ["backup", "--directory", manager, "--to", file + "2"],
                asksManager: false
            )
            XCTAssertEqual(locked.status, 1)
            XCTAssertTrue(locked.text.contains("storage.locked"), locked.text)

            let purge = try await runReeve(cluster, ["purge", "--dry-run"])
            XCTAssertEqual(purge.status, 0, purge.text)
            XCTAssertEqual(purge.json?["activities"]?.count, 0, purge.text)

            await cluster.stop()
            let stopped = try await runReeve(
                cluster,
                ["backup", "--directory", manager, "--to", file + "3"],
                asksManager: false
            )
            XCTAssertEqual(stopped.status, 0, stopped.text)
            XCTAssertTrue(FileManager.default.fileExists(atPath: file + "3"))
            let restore = ["restore", "--from", file, "--directory", manager]
            let refused = try await runReeve(cluster, restore, asksManager: false)
            XCTAssertEqual(refused.status, 1)
            XCTAssertTrue(refused.text.contains("storage.exists"), refused.text)
            let restored = try await runReeve(cluster, restore + ["--replace"], asksManager: false)
            XCTAssertEqual(restored.status, 0, restored.text)
            XCTAssertTrue(restored.text.contains("epoch"), restored.text)
        }
    }
}
#endif
