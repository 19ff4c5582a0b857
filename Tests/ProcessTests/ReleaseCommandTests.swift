#if Server && SQLite && Push
import ArtifactStore
import ClusterRole
import Foundation
import HTTPHandling
import XCTest

@testable import reeve

/// Keys, root records, exports, watched directories and rollouts, as an operator meets them.
final class ReleaseCommandTests: XCTestCase {
    private func publish(
        _ text: String,
        _ cluster: DemoCluster,
        _ more: [String] = []
    ) async throws -> CommandAnswer {
        let source = cluster.directory.appendingPathComponent("site").path
        try FileManager.default.createDirectory(
            atPath: source,
            withIntermediateDirectories: true
        )
        try text.write(toFile: "\(source)/index.html", atomically: true, encoding: .utf8)
        return try await runReeve(
            cluster,
            ["publish", source, "--channel", DemoCluster.channel] + more
        )
    }

    private func workersHave(_ number: Int, _ cluster: DemoCluster) async throws {
        let answer = try await runReeve(
            cluster,
            ["rollout", "await", DemoCluster.channel, "--release", "\(number)"]
        )
        XCTAssertEqual(answer.status, 0, answer.text)
        XCTAssertEqual(answer.json?["isReached"], .bool(true), answer.text)
    }

    /// Waits until a rollout stands so.
    private func reach(
        _ state: String,
        _ rollout: String,
        _ cluster: DemoCluster
    ) async throws -> CommandAnswer {
        try await cluster.poll("rollout \(rollout) to be \(state)", within: .seconds(60)) {
            let shown = try await runReeve(cluster, ["rollout", "show", rollout])
            return shown.json?["rollout"]?["state"]?.stringValue == state ? shown : nil
        }
    }

    private func start(_ cluster: DemoCluster, _ more: [String]) async throws -> String {
        let begun = try await runReeve(cluster, ["rollout", "start", DemoCluster.channel] + more)
        XCTAssertEqual(begun.status, 0, begun.text)
        return try XCTUnwrap(begun.json?["rollout"]?.stringValue, begun.text)
    }

    // MARK: - Rollouts

    func test_rollout_everySubcommand_doesWhatItSays() async throws {
        try await withCluster { cluster in
            let first = try await publish("one", cluster)
            XCTAssertEqual(first.status, 0, first.text)
            try await workersHave(1, cluster)
            try await pauseAndResume(cluster)
            let root = try await abort(cluster)
            try await unblock(root, cluster)
            try await revert(cluster)
            try await refusals(cluster)
        }
    }

    /// Two: one worker, then everybody, with a pause between.
    private func pauseAndResume(_ cluster: DemoCluster) async throws {
        let rollout = try await start(
            cluster,
            [
                "--canary", "1", "--percent", "100", "--soak", "600", "--failures", "10",
                "--on-failure", "pause", "--timeout", "1200", "--acknowledged", "90",
            ]
        )
        let open = try await runReeve(cluster, ["rollout", "start", DemoCluster.channel])
        XCTAssertEqual(open.status, 1, open.text)
        XCTAssertTrue(open.text.contains("artifacts.rollout-open"), open.text)
        _ = try await publish("two", cluster)
        let canary = try await runReeve(
            cluster,
            ["rollout", "await", DemoCluster.channel, "--quorum", "1"]
        )
        XCTAssertEqual(canary.status, 0, canary.text)
        let lagging = try await runReeve(
            cluster,
            ["rollout", "await", DemoCluster.channel, "--release", "2", "--wait", "0"]
        )
        XCTAssertEqual(lagging.status, 1, lagging.text)
        XCTAssertEqual(
            lagging.json?["progress"]?["laggards"]?.elements.map { $0["reason"]?.stringValue },
            ["held"],
            lagging.text
        )
        let paused = try await runReeve(
            cluster,
            ["rollout", "pause", rollout, "--reason", "a look at the canary"]
        )
        XCTAssertEqual(paused.json?["state"]?.stringValue, "paused", paused.text)
        XCTAssertEqual(paused.json?["reason"]?.stringValue, "a look at the canary", paused.text)
        let resumed = try await runReeve(cluster, ["rollout", "resume", rollout])
        XCTAssertEqual(resumed.json?["state"]?.stringValue, "running", resumed.text)
        // The soak is too long to wait for: the rest is told by ending it.
        let ended = try await runReeve(
            cluster,
            ["rollout", "revert", rollout, "--reason", "enough"]
        )
        XCTAssertEqual(ended.status, 0, ended.text)
        let shown = try await reach("reverted", rollout, cluster)
        let events = shown.json?["history"]?.elements.map { $0["event"]?.stringValue ?? "" } ?? []
        for event in ["paused", "resumed", "reverted"] {
            XCTAssertTrue(events.contains(event), "\(events)")
        }
        try await workersHave(3, cluster)
        let listed = try await runReeve(
            cluster,
            ["rollout", "list", "--channel", DemoCluster.channel, "--limit", "1"]
        )
        XCTAssertEqual(
            listed.json?["rollouts"]?.elements.map { $0["rollout"]?.stringValue },
            [rollout],
            listed.text
        )
        let next = listed.json?["next"]?.stringValue ?? rollout
        let rest = try await runReeve(cluster, ["rollout", "list", "--next", next])
        XCTAssertEqual(rest.json?["rollouts"]?.elements.count, 0, rest.text)
    }

    /// - Returns: the root that is blocked then.
    private func abort(_ cluster: DemoCluster) async throws -> String {
        let rollout = try await start(cluster, ["--canary", "1", "--soak", "600"])
        _ = try await publish("four", cluster)
        _ = try await reach("running", rollout, cluster)
        let aborted = try await runReeve(
            cluster,
            ["rollout", "abort", rollout, "--reason", "wrong"]
        )
        XCTAssertEqual(aborted.json?["state"]?.stringValue, "aborted", aborted.text)
        let blocks = try await runReeve(cluster, ["rollout", "blocks", DemoCluster.channel])
        let found = try XCTUnwrap(
            blocks.json?["blocks"]?.elements.first { $0["release"]?.count == 4 },
            blocks.text
        )
        XCTAssertEqual(found["reason"]?.stringValue, "wrong")
        return try XCTUnwrap(found["root"]?.stringValue)
    }

    private func unblock(_ root: String, _ cluster: DemoCluster) async throws {
        let refused = try await publish("four", cluster, ["--force"])
        XCTAssertEqual(refused.status, 1, refused.text)
        XCTAssertTrue(refused.text.contains("artifacts.blocked"), refused.text)
        let lifted = try await runReeve(
            cluster,
            ["rollout", "unblock", DemoCluster.channel, root, "--reason", "it was right"]
        )
        XCTAssertEqual(lifted.status, 0, lifted.text)
        let again = try await publish("four", cluster, ["--force"])
        XCTAssertEqual(again.status, 0, again.text)
        try await workersHave(5, cluster)
    }

    private func revert(_ cluster: DemoCluster) async throws {
        _ = try await publish("six", cluster)
        try await workersHave(6, cluster)
        // A rollout of what is published already.
        let rollout = try await start(
            cluster,
            ["--release", "6", "--percent", "50", "--soak", "600"]
        )
        _ = try await reach("running", rollout, cluster)
        let reverted = try await runReeve(cluster, ["rollout", "revert", rollout])
        XCTAssertEqual(reverted.status, 0, reverted.text)
        _ = try await reach("reverted", rollout, cluster)
        try await workersHave(7, cluster)
    }

    private func refusals(_ cluster: DemoCluster) async throws {
        let unknown = String(repeating: "0", count: 32)
        for command in ["show", "pause", "resume", "abort", "revert"] {
            let answer = try await runReeve(cluster, ["rollout", command, unknown])
            XCTAssertEqual(answer.status, 1, answer.text)
            XCTAssertTrue(
                answer.text.hasPrefix("error: 404 artifacts.unknown-rollout"),
                answer.text
            )
            XCTAssertEqual(answer.text.split(separator: "\n").count, 1, answer.text)
        }
        let badLabel = try await runReeve(
            cluster,
            ["rollout", "start", DemoCluster.channel, "--label", "canary"]
        )
        XCTAssertEqual(badLabel.status, 64, badLabel.text)
        let badAction = try await runReeve(
            cluster,
            ["rollout", "start", DemoCluster.channel, "--on-failure", "hope"]
        )
        XCTAssertEqual(badAction.status, 1, badAction.text)
        let labelled = try await runReeve(
            cluster,
            ["rollout", "start", DemoCluster.channel, "--label", "tier=canary"]
        )
        let wave = labelled.json?["waves"]?.elements.first
        XCTAssertEqual(wave?["labels"]?["tier"]?.stringValue, "canary", labelled.text)
    }

    // MARK: - Keys and roots

    func test_root_isMadeSignedInstalledAndListed_andWrongOnesAreRefused() async throws {
        try await withCluster { cluster in
            func path(_ name: String) -> String {
                cluster.directory.appendingPathComponent(name).path
            }
            let releaseKey = try String(
                contentsOfFile: path("manager/signing-key.pub"),
                encoding: .utf8
            ).trimmingCharacters(in: .whitespacesAndNewlines)
            let keys = try ["root-1", "root-2"].map {
                "\(try Ed25519Signer(file: path($0)).publicKey)"
            }
            let record = path("root.1")
            let made = try await runReeve(
                cluster,
                [
                    "root", "make", record, "--version", "1", "--root-key", keys[0],
                    "--root-key", keys[1], "--root-threshold", "2", "--release-key", releaseKey,
                    "--pointer-key", releaseKey, "--expires-after", "30", "--key",
                    path("root-1"),
                ],
                asksManager: false
            )
            XCTAssertEqual(made.status, 0, made.text)
            let early = try await runReeve(cluster, ["root", "install", record])
            XCTAssertEqual(early.status, 1, early.text)
            XCTAssertTrue(early.text.contains("artifacts.untrusted-signature"), early.text)
            for _ in 0..<2 {
                // Signing twice with one key is one signature.
                let signed = try await runReeve(
                    cluster,
                    ["root", "sign", record, "--key", path("root-2")],
                    asksManager: false
                )
                XCTAssertEqual(signed.status, 0, signed.text)
            }
            let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: record)))
            XCTAssertEqual(try SignedRoot(decoding: bytes).signatures.count, 2)
            let installed = try await runReeve(cluster, ["root", "install", record])
            XCTAssertEqual(installed.status, 0, installed.text)
            let listed = try await runReeve(cluster, ["root", "list"])
            XCTAssertEqual(listed.status, 0, listed.text)
            XCTAssertEqual(listed.json?["roots"]?.elements.count, 1, listed.text)
            XCTAssertEqual(listed.json?["roots"]?.elements.first?["version"]?.count, 1)
            let nothing = try await runReeve(
                cluster,
                ["root", "sign", path("missing"), "--key", path("root-2")],
                asksManager: false
            )
            XCTAssertNotEqual(nothing.status, 0)
            XCTAssertTrue(nothing.text.contains("missing"), nothing.text)
        }
    }

    func test_secret_sealedByTheCommand_isOpenedByTheWorkersKeyAlone() async throws {
        let cluster = try DemoCluster(directory: nil, progress: DemoProgress())
        defer { cluster.removeDirectory(ifTemporary: true) }
        func path(_ name: String) -> String {
            cluster.directory.appendingPathComponent(name).path
        }
        let printed = try await runReeve(cluster, ["opening-key", path("key")], asksManager: false)
        XCTAssertEqual(printed.status, 0, printed.text)
        let again = try await runReeve(cluster, ["opening-key", path("key")], asksManager: false)
        XCTAssertEqual(again.text, printed.text)
        let key = printed.text.trimmingCharacters(in: .whitespacesAndNewlines)
        let sealed = try await runReeve(
            cluster,
            ["seal", "database-password", "--to", key, "--output", path("sealed")],
            asksManager: false,
            input: "top secret"
        )
        XCTAssertEqual(sealed.status, 0, sealed.text)
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path("sealed"))))
        XCTAssertFalse(String(decoding: bytes, as: UTF8.self).contains("top secret"))
        let value = try SealedValue(decoding: bytes)
        let opened = try OpeningKey(file: path("key")).open(value, name: "database-password")
        XCTAssertEqual(String(decoding: opened, as: UTF8.self), "top secret")
        XCTAssertThrowsError(try OpeningKey(file: path("other")).open(value))
        let wrong = try await runReeve(
            cluster,
            ["seal", "database-password", "--to", "nonsense", "--output", path("none")],
            asksManager: false,
            input: "x"
        )
        XCTAssertEqual(wrong.status, 1, wrong.text)
        XCTAssertFalse(FileManager.default.fileExists(atPath: path("none")))
    }

    // MARK: - Exports and watched directories

    func test_export_writesWhatAWorkerStartsFrom_andNamesAnEmptyChannel() async throws {
        try await withCluster { cluster in
            _ = try await publish("one", cluster)
            try await workersHave(1, cluster)
            let file = cluster.directory.appendingPathComponent("site.export").path
            let link = ["--manager", cluster.managerAddress, "--token", cluster.workerToken(0)]
            let written = try await runReeve(
                cluster,
                ["export", "--channel", DemoCluster.channel, "--to", file] + link,
                asksManager: false
            )
            XCTAssertEqual(written.status, 0, written.text)
            XCTAssertEqual(written.json?["number"]?.count, 1, written.text)
            let source = ExportedReleaseSource(paths: [file])
            let answer = try await source.latestRelease(
                of: ChannelName(rawValue: DemoCluster.channel),
                tenant: .standard,
                unlessAt: nil
            )
            guard case .release(let stored) = answer else { return XCTFail("\(answer)") }
            XCTAssertEqual(stored.release.number, .first)
            let empty = try await runReeve(
                cluster,
                ["export", "--channel", "nothing", "--to", file + "2"] + link,
                asksManager: false
            )
            XCTAssertEqual(empty.status, 1, empty.text)
            XCTAssertTrue(empty.text.contains("artifacts.not-found"), empty.text)
            XCTAssertFalse(FileManager.default.fileExists(atPath: file + "2"))
            let administrator = try await runReeve(
                cluster,
                [
                    "export", "--channel", DemoCluster.channel, "--to", file, "--manager",
                    cluster.managerAddress, "--token", cluster.adminToken,
                ],
                asksManager: false
            )
            XCTAssertEqual(administrator.status, 1, administrator.text)
        }
    }

    func test_publishing_showsChangesAndCommitsAWatchedDirectory() async throws {
        let cluster = try DemoCluster(directory: nil, progress: DemoProgress())
        do {
            let source = cluster.directory.appendingPathComponent("watched").path
            try FileManager.default.createDirectory(
                atPath: source,
                withIntermediateDirectories: true
            )
            try "one".write(toFile: "\(source)/a", atomically: true, encoding: .utf8)
            try await cluster.startManager(
                frequency: 0.3,
                publishRoots: [],
                publishing: ["watch": .array([.string("web=\(source)")]), "mode": "manual"]
            )
            let shown = try await runReeve(cluster, ["publishing", "web"])
            XCTAssertEqual(shown.status, 0, shown.text)
            XCTAssertEqual(shown.json?["mode"]?.stringValue, "manual", shown.text)
            let committed = try await runReeve(cluster, ["publishing", "web", "--commit"])
            XCTAssertEqual(committed.status, 0, committed.text)
            let releases = try await cluster.admin.get("/admin/v1/channels/web/releases")
            XCTAssertEqual(releases["releases"]?.elements.count, 1)
            let changed = try await runReeve(cluster, ["publishing", "web", "--mode", "automatic"])
            XCTAssertEqual(changed.json?["mode"]?.stringValue, "automatic", changed.text)
            let wrong = try await runReeve(cluster, ["publishing", "web", "--mode", "sometimes"])
            XCTAssertEqual(wrong.status, 1, wrong.text)
            let unknown = try await runReeve(cluster, ["publishing", "other"])
            XCTAssertEqual(unknown.status, 1, unknown.text)
            XCTAssertTrue(unknown.text.hasPrefix("error: 404 "), unknown.text)
        } catch {
            await cluster.stop()
            XCTFail("data in \(cluster.directory.path): \(error)")
            return
        }
        await cluster.stop()
        cluster.removeDirectory(ifTemporary: true)
    }
}
#endif
