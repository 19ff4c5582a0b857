import ArtifactStore
import ClusterRole
import ClusterTestKit
import Logging
import XCTest

private let channel: ChannelName = "web/site"

/// Who has a release, who lags, and why.
final class RolloutProgressTests: XCTestCase {
    private struct Manager {
        let store: InMemoryReleaseStorage
        let rollouts: ReleaseRollouts
        let time: ManualTimeSource
        let epoch: Epoch

        init(_ nodes: [ReleaseNode]) throws {
            let ledger = InMemoryLedger()
            let time = ManualTimeSource()
            let store = InMemoryReleaseStorage(ledger: ledger)
            let epoch = ledger.raiseEpoch()
            let capability = WriteCapability(epoch: epoch)
            var settings = ReleaseRollouts.Settings(clock: time)
            settings.random = SeededRandomSource(seed: 3)
            settings.logger.logLevel = .critical
            rollouts = ReleaseRollouts(
                releases: store,
                storage: store,
                publisher: ArtifactPublisher(
                    storage: store,
                    objects: InMemoryObjectStorage(),
                    signer: try Ed25519Signer(),
                    capability: capability
                ),
                nodes: FixedReleaseNodes { nodes },
                capability: capability,
                settings: settings
            )
            self.store = store
            self.time = time
            self.epoch = epoch
        }

        @discardableResult
        func append(
            _ number: Int64,
            _ requirements: ReleaseRequirements = .none
        ) async throws -> Release {
            let published = try ReleaseStorageConformance.sample(number, requirements: requirements)
            _ = try await store.append(
                published,
                after: number == 1 ? nil : ReleaseNumber(number - 1),
                epoch: epoch
            )
            return published.release
        }

        func say(
            _ node: NodeID,
            _ release: Release,
            _ error: ArtifactStoreError? = nil,
            root: TreeID? = nil
        ) async throws {
            _ = try await store.record(
                AppliedRelease(
                    node: node,
                    channel: release.channel,
                    number: release.number,
                    root: root ?? release.root,
                    state: error == nil ? .applied : .refused,
                    errorCode: error?.codeName,
                    errorMessage: error?.message,
                    at: time.now(),
                    floorRecord: nil
                ),
                tenant: .standard,
                epoch: epoch
            )
        }
    }

    private func node(
        _ name: String,
        _ presence: ReleaseNode.Presence = .connected,
        can: Set<CapabilityName> = ["gpu"],
        channels: Set<ChannelName>? = ["web/site"]
    ) -> ReleaseNode {
        ReleaseNode(
            NodeID(rawValue: name),
            abilities: NodeAbilities(capabilities: can),
            channels: channels,
            presence: presence
        )
    }

    func test_progress_namesEveryLaggardWithItsReason() async throws {
        let then = Timestamp(milliseconds: 5)
        let manager = try Manager([
            node("applied"), node("refused"), node("unhealthy"), node("lost", .lost(since: then)),
            node("behind"), node("silent"), node("away", .lost(since: then)),
            node("left", .left(since: then)), node("unfit", can: []),
            node("elsewhere", channels: ["api"]), node("unsaid", channels: nil),
            node("follower", channels: nil), node("impostor"),
        ])
        let one = try await manager.append(1)
        let two = try await manager.append(2, ReleaseRequirements(capabilities: ["gpu"]))
        for name in ["applied", "unhealthy", "lost"] {
            try await manager.say(NodeID(rawValue: name), two)
        }
        try await manager.say("refused", two, ArtifactStoreError(.deploymentFailed, "no"))
        for name in ["behind", "follower"] {
            try await manager.say(NodeID(rawValue: name), one)
        }
        // The same number in another history: a word that counts for nothing.
        try await manager.say("impostor", two, root: one.root)
        _ = try await manager.store.record(
            ReleaseHealth(
                node: "unhealthy",
                channel: channel,
                number: two.number,
                root: two.root,
                state: .unhealthy,
                message: "answers 500",
                at: then
            ),
            tenant: .standard,
            epoch: manager.epoch
        )
        let progress = try await manager.rollouts.progress(of: channel)
        XCTAssertEqual(progress.number, ReleaseNumber(2))
        XCTAssertEqual(progress.applied, 1)
        XCTAssertEqual(progress.nodes, 11)
        let expected: [NodeID: ReleaseNodeStanding] = [
            "refused": .refused(code: "artifacts.deployment-failed", message: "no"),
            "unhealthy": .unhealthy("answers 500"), "lost": .lost(since: then),
            "behind": .behind(.first), "silent": .behind(nil),
            "away": .notConnected(since: then), "left": .notConnected(since: then),
            "unfit": .unfit([.capability("gpu")]), "follower": .behind(.first),
            "impostor": .behind(ReleaseNumber(2)),
        ]
        let found = Dictionary(
            uniqueKeysWithValues: progress.laggards.map { ($0.node, $0.standing) }
        )
        XCTAssertEqual(found, expected)
        XCTAssertTrue(progress.laggards.allSatisfy { !$0.standing.explanation.isEmpty })
        // An older release: newer words count.
        let older = try await manager.rollouts.progress(.first, of: channel)
        XCTAssertTrue(older.applied > progress.applied)
    }

    func test_awaitApplied_returnsWhenTheQuorumIsReached_orTheTimeIsOver() async throws {
        let manager = try Manager([node("a"), node("b")])
        let one = try await manager.append(1)
        let now = try await manager.rollouts.awaitApplied(
            .first,
            of: channel,
            quorum: .count(1),
            within: .zero
        )
        XCTAssertFalse(now.isReached)
        XCTAssertEqual(now.progress.laggards.map(\.node), ["a", "b"])
        async let first = manager.rollouts.awaitApplied(
            .first,
            of: channel,
            quorum: .percent(50),
            within: .seconds(60)
        )
        try await manager.time.waitForSleepers(1)
        try await manager.say("b", one)
        manager.time.advance(by: .milliseconds(250))
        let reached = try await first
        XCTAssertTrue(reached.isReached)
        XCTAssertEqual(reached.progress.laggards.map(\.node), ["a"])

        async let second = manager.rollouts.awaitApplied(
            .first,
            of: channel,
            within: .milliseconds(400)
        )
        for _ in 0..<2 {
            try await manager.time.waitForSleepers(1)
            manager.time.advance(by: .milliseconds(250))
        }
        let late = try await second
        XCTAssertFalse(late.isReached)
        do {
            _ = try await manager.rollouts.awaitApplied(
                ReleaseNumber(9),
                of: channel,
                within: .zero
            )
            XCTFail("a release the channel does not have")
        } catch let error as ArtifactStoreError {
            XCTAssertEqual(error.code, .notFound)
        }
    }

    // MARK: - Offers

    func test_offers_skipWhatAWorkerLacks_andNeverGoBack() async throws {
        let nodes = [node("fit"), node("unfit", can: [])]
        let manager = try Manager(nodes)
        let offers = ReleaseOffers(
            releases: manager.store,
            rollouts: manager.store,
            nodes: FixedReleaseNodes { nodes }
        )
        func offer(_ name: NodeID, _ known: Revision? = nil) async throws -> ReleaseAnswer {
            try await offers.offer(to: name, of: channel, tenant: .standard, unlessAt: known)
        }
        var answer = try await offer("fit")
        XCTAssertEqual(answer, .empty)
        let needs = ReleaseRequirements(capabilities: ["gpu"])
        try await manager.append(1, needs)
        answer = try await offer("unfit")
        XCTAssertEqual(answer, .empty, "nothing is for it")
        answer = try await offer("nobody knows it")
        XCTAssertEqual(answer, .empty)
        try await manager.append(2)
        try await manager.append(3, needs)
        for (name, number) in [("fit", 3), ("unfit", 2)] as [(NodeID, Int64)] {
            answer = try await offer(name)
            guard case .release(let stored) = answer else { return XCTFail("\(name)") }
            XCTAssertEqual(stored.release.number, ReleaseNumber(number))
            answer = try await offer(name, stored.revision)
            XCTAssertEqual(answer, .unchanged)
        }
        // It had release 3 before it lost its capability: it is not sent back while it has its disk.
        let newest = try await manager.store.latest(of: channel, tenant: .standard)
        let three = try XCTUnwrap(newest)
        try await manager.say("unfit", three.release)
        answer = try await offer("unfit", three.revision)
        XCTAssertEqual(answer, .unchanged)
    }
}
