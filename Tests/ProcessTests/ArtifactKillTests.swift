#if Server && SQLite && Push
import ArtifactStore
import ClusterRole
import ClusterTestKit
import Foundation
import Logging
import Synchronization
import XCTest

@testable import reeve

/// Real worker processes that take real releases, killed at 200 random moments.
final class ArtifactKillTests: XCTestCase {
    private static let rounds = 50
    private static let workers = 4
    private static let channel: ChannelName = "web/site"

    /// Promises 7 and 10: after each kill the disk has a whole release, the one before or one that was on its
    /// way since, and `current` never goes back. One killed between its state and its link goes on to that
    /// release when it starts again, be a newer one offered by then.
    func test_workers_killedAtRandomMomentsOfASync_haveAWholeRelease_andNeverGoBack() async throws {
        let seed = UInt64.random(in: 0...9_999)
        let random = SeededRandomSource(seed: seed)
        let scene = try await Scene()
        defer { scene.remove() }
        // How long a whole run takes here, so that the moments fall into it.
        let whole = try await scene.timeOfAWholeRun()
        var reached = try (0..<Self.workers).map(scene.current)
        var outcomes: [String: Int] = [:]
        for round in 0..<Self.rounds {
            let offered = try await scene.publish()
            let moments = reached.map { _ in random.number(below: UInt64(whole.milliseconds)) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (worker, moment) in moments.enumerated() {
                    group.addTask {
                        let process = try scene.start(worker)
                        try await Task.sleep(for: .milliseconds(moment))
                        process.signal(SIGKILL)
                        _ = try await process.waitForEnd(within: .seconds(60))
                    }
                }
                try await group.waitForAll()
            }
            for worker in 0..<Self.workers {
                let found = try scene.current(worker)
                guard (reached[worker]...offered).contains(found) else {
                    return XCTFail(
                        "seed \(seed), round \(round): \(found) after \(reached[worker]), \(offered)"
                    )
                }
                outcomes[found > reached[worker] ? "new" : "old", default: 0] += 1
                reached[worker] = found
            }
        }
        XCTAssertGreaterThan(outcomes["old"] ?? 0, 0, "\(outcomes)")
        XCTAssertGreaterThan(outcomes["new"] ?? 0, 0, "\(outcomes)")
        // Left alone, each ends at the newest.
        let last = try await scene.publish()
        for worker in 0..<Self.workers { try await scene.run(worker, until: last) }
    }

    /// Worker processes that live on an exported release, which is replaced for each round.
    private final class Scene: Sendable {
        let directory: URL
        private let publisher: ArtifactPublisher
        private let source: InProcessReleaseSource
        private let number = Mutex<Int64>(0)

        init() async throws {
            directory = FileManager.default.temporaryDirectory
                .appendingPathComponent("reeve-kills-\(UUID().uuidString)")
            try FileManager.default.createDirectory(
                at: directory,
                withIntermediateDirectories: true
            )
            let ledger = InMemoryLedger()
            let capability = WriteCapability(epoch: ledger.raiseEpoch())
            let releases = InMemoryReleaseStorage(ledger: ledger)
            let objects = InMemoryObjectStorage()
            let signer = try Ed25519Signer()
            var publishing = PublisherConfiguration()
            publishing.scratchDirectory = directory.path
            publishing.logger.logLevel = .critical
            publisher = ArtifactPublisher(
                storage: releases,
                objects: objects,
                signer: signer,
                capability: capability,
                configuration: publishing
            )
            source = InProcessReleaseSource(
                storage: releases,
                objects: objects,
                capability: capability
            )
            for worker in 0..<ArtifactKillTests.workers {
                let text = """
                    {"node": {"id": "worker-\(worker)", "directory": "\(path(worker))"},
                     "listen": {"port": 0},
                     "link": {"managers": ["http://127.0.0.1:9"], "token": "none"},
                     "channels": ["\(ArtifactKillTests.channel)"],
                     "import": ["\(directory.path)/site.export"],
                     "trust": {"keys": ["\(signer.publicKey)"]}}
                    """
                try Data(text.utf8).write(to: URL(fileURLWithPath: path(worker) + ".json"))
            }
        }

        private func path(_ worker: Int) -> String { "\(directory.path)/worker-\(worker)" }

        func remove() { try? FileManager.default.removeItem(at: directory) }

        /// Publishes and exports the next release: 20 files that say which, and some that stay.
        func publish() async throws -> Int64 {
            let number = number.withLock { number in
                number += 1
                return number
            }
            let tree = directory.appendingPathComponent("tree")
            try? FileManager.default.removeItem(at: tree)
            try FileManager.default.createDirectory(at: tree, withIntermediateDirectories: true)
            for file in 0..<20 {
                let text = "release \(number) " + String(repeating: "file \(file) ", count: 200)
                try Data(text.utf8).write(to: tree.appendingPathComponent("f\(file)"))
                try Data("stays \(file)".utf8).write(to: tree.appendingPathComponent("s\(file)"))
            }
            _ = try await publisher.publish(tree.path, to: ArtifactKillTests.channel)
            try await ReleaseExport.write(
                ArtifactKillTests.channel,
                from: source,
                to: directory.appendingPathComponent("site.export").path
            )
            return number
        }

        func start(_ worker: Int) throws -> ChildProcess {
            let (executable, arguments) = DemoCluster.workerExecutable
            return try ChildProcess(
                name: "worker-\(worker)",
                executable: executable,
                arguments: arguments + ["--config", path(worker) + ".json"],
                log: URL(fileURLWithPath: path(worker) + ".log")
            )
        }

        /// The release `current` shows, after every file was held against it.
        func current(_ worker: Int) throws -> Int64 {
            let link = path(worker) + "/channels/web%2Fsite/current"
            // The link is followed once: a program that follows it for each file may see two releases.
            let tree = URL(fileURLWithPath: link).resolvingSymlinksInPath().path
            var found: Set<String> = []
            for file in 0..<20 {
                let text = try String(contentsOfFile: "\(tree)/f\(file)", encoding: .utf8)
                let words = text.split(separator: " ")
                XCTAssertEqual(words.count, 402, "file \(file) is cut short")
                found.insert(String(words[1]))
                let same = try String(contentsOfFile: "\(tree)/s\(file)", encoding: .utf8)
                XCTAssertEqual(same, "stays \(file)")
            }
            XCTAssertEqual(found.count, 1, "a mixture: \(found)")
            return found.first.flatMap(Int64.init) ?? 0
        }

        /// Runs a worker until it has a release, and kills it.
        func run(_ worker: Int, until number: Int64) async throws {
            let process = try start(worker)
            let deadline = ContinuousClock.now + .seconds(60)
            while (try? current(worker)) != number {
                guard ContinuousClock.now < deadline else {
                    process.signal(SIGKILL)
                    let log = try? String(contentsOfFile: path(worker) + ".log", encoding: .utf8)
                    throw DemoFailure("release \(number) never came: \((log ?? "").suffix(2_000))")
                }
                try await Task.sleep(for: .milliseconds(5))
            }
            process.signal(SIGKILL)
            _ = try await process.waitForEnd(within: .seconds(60))
        }

        /// All workers at once, as in the rounds.
        func timeOfAWholeRun() async throws -> Duration {
            var longest = Duration.zero
            for _ in 0..<2 {
                let next = try await publish()
                let began = ContinuousClock.now
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for worker in 0..<ArtifactKillTests.workers {
                        group.addTask { try await self.run(worker, until: next) }
                    }
                    try await group.waitForAll()
                }
                longest = max(longest, ContinuousClock.now - began)
            }
            return longest
        }
    }
}
#endif
