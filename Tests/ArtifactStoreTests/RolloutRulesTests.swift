import ClusterRole
import ClusterTestKit
import XCTest

@testable import ArtifactStore

/// The state machine of rollouts, without storage, clock or workers.
final class RolloutRulesTests: XCTestCase {
    private let now = ManualTimeSource.standardStart
    private let oldTree = TreeID(ContentDigest(of: [1]))
    private let newTree = TreeID(ContentDigest(of: [2]))

    private func rollout(
        _ waves: [ReleaseRolloutWave] = [ReleaseRolloutWave(.nodes(2), soak: .seconds(60))],
        failure: ReleaseFailureThreshold = ReleaseFailureThreshold(),
        in state: ReleaseRolloutState = .running,
        named: Set<NodeID> = ["w-0", "w-1"]
    ) -> ReleaseRollout {
        var rollout = ReleaseRollout(
            id: ReleaseRolloutID(bits: 7),
            tenant: .standard,
            channel: "site",
            plan: ReleaseRolloutPlan(waves: waves, failure: failure),
            initiator: "alice",
            startedAt: now,
            candidate: ReleaseNumber(2),
            baseline: .init(number: .first, root: oldTree)
        )
        guard state != .awaitingRelease else { return rollout }
        rollout.candidateRoot = newTree
        rollout.state = state
        rollout.waveBegan = now
        rollout.named = named
        rollout.namingWave = 0
        if state.isClosed { rollout.closedAt = now }
        return rollout
    }

    /// What the nodes of a look say.
    private enum Word { case nothing, applied, refused, unhealthy, lost, unfit }

    private func sight(
        _ rollout: ReleaseRollout,
        _ words: [Word],
        newest: Int64 = 2,
        at time: Timestamp? = nil
    ) -> ChannelSight {
        var input = ReleaseCensus.Input(
            number: ReleaseNumber(2),
            root: newTree,
            requirements: ReleaseRequirements(capabilities: ["gpu"]),
            channel: "site",
            rollout: rollout,
            nodes: []
        )
        for (index, word) in words.enumerated() {
            var node = ReleaseNode(
                NodeID(rawValue: "w-\(index)"),
                abilities: NodeAbilities(capabilities: word == .unfit ? [] : ["gpu"]),
                channels: ["site"]
            )
            if word == .lost { node.presence = .lost(since: now) }
            input.nodes.append(node)
            guard word != .nothing, word != .unfit else { continue }
            input.acknowledgements.append(
                AppliedRelease(
                    node: node.id,
                    channel: "site",
                    number: ReleaseNumber(2),
                    root: newTree,
                    state: word == .refused ? .refused : .applied,
                    errorCode: word == .refused ? "artifacts.deployment-failed" : nil,
                    errorMessage: word == .refused ? "no" : nil,
                    at: now,
                    floorRecord: nil
                )
            )
            if word == .unhealthy {
                input.health.append(
                    ReleaseHealth(
                        node: node.id,
                        channel: "site",
                        number: ReleaseNumber(2),
                        root: newTree,
                        state: .unhealthy,
                        message: "500",
                        at: now
                    )
                )
            }
        }
        let root = newest == 2 ? newTree : oldTree
        return ChannelSight(
            newest: .init(number: ReleaseNumber(newest), root: root),
            census: ReleaseCensus(input)
        )
    }

    /// `state directives`, in short.
    private func text(_ rollout: ReleaseRollout, _ directives: [ReleaseRolloutDirective]) -> String
    {
        let words = directives.map { directive in
            switch directive {
            case .persist(let transition): transition.map { "\($0.event)" } ?? "write"
            case .block: "block"
            case .publishAgain(let number): "publish \(number)"
            case .refuse(let error): error.code.rawValue
            }
        }
        return ([rollout.state.isClosed ? "\(rollout.state)!" : "\(rollout.state)"] + words)
            .joined(separator: " ")
    }

    // MARK: - The table

    /// Every state against everything that can happen. `!` marks a closed rollout.
    private static let table: [ReleaseRolloutState: [String]] = [
        .awaitingRelease: [
            "awaitingRelease artifacts.rollout-state", "awaitingRelease artifacts.rollout-state",
            "aborted! aborted", "awaitingRelease artifacts.rollout-state",
            "awaitingRelease", "running waveBegan", "running waveBegan", "running waveBegan",
            "awaitingRelease",
        ],
        .running: [
            "paused paused", "running", "aborted! aborted block",
            "reverting reverting block publish 1",
            "running", "running", "running satisfied", "reverting reverting block publish 1",
            "running satisfied",
        ],
        .paused: [
            "paused", "running resumed", "aborted! aborted block",
            "reverting reverting block publish 1",
            "paused", "paused", "paused", "reverting reverting block publish 1", "paused",
        ],
        .reverting: [
            "reverting artifacts.rollout-state", "reverting artifacts.rollout-state",
            "reverting artifacts.rollout-state", "reverting",
            "reverting publish 1", "reverting publish 1", "reverting publish 1",
            "reverting publish 1", "reverted! reverted",
        ],
        .completed: [
            "completed! artifacts.rollout-state", "completed! artifacts.rollout-state",
            "completed! artifacts.rollout-state", "completed! artifacts.rollout-state",
            "completed!", "completed!", "completed!", "completed!", "completed!",
        ],
        .aborted: [
            "aborted! artifacts.rollout-state", "aborted! artifacts.rollout-state", "aborted!",
            "aborted! artifacts.rollout-state",
            "aborted!", "aborted!", "aborted!", "aborted!", "aborted!",
        ],
        .reverted: [
            "reverted! artifacts.rollout-state", "reverted! artifacts.rollout-state",
            "reverted! artifacts.rollout-state", "reverted!",
            "reverted!", "reverted!", "reverted!", "reverted!", "reverted!",
        ],
    ]

    func test_everyState_metByEveryEvent_hasItsAnswer() {
        for state in ReleaseRolloutState.allCases {
            let before = rollout(in: state)
            var answers: [String] = []
            for command in [ReleaseRolloutCommand.pause, .resume, .abort, .revert] {
                var after = before
                let directives = after.onCommand(command, by: "alice", reason: "", at: now)
                answers.append(text(after, directives))
                XCTAssertEqual(
                    after.version > before.version,
                    directives.contains { if case .persist = $0 { true } else { false } },
                    "\(state) \(command): a new version is written, and nothing else is"
                )
            }
            let looks: [([Word], Int64)] = [
                ([], state == .awaitingRelease ? 1 : 2), ([.nothing, .nothing], 2),
                ([.applied, .applied], 2), ([.refused, .nothing], 2), ([.applied], 3),
            ]
            for (words, newest) in looks {
                var after = before
                let directives = after.onLook(sight(before, words, newest: newest), at: now)
                answers.append(text(after, directives))
            }
            XCTAssertEqual(answers, Self.table[state], "\(state)")
        }
        XCTAssertEqual(Self.table.count, ReleaseRolloutState.allCases.count)
    }

    // MARK: - Waves

    func test_wave_withoutItsAcknowledgements_waits_andSoaksOnceItHasThem() {
        var rollout = rollout()
        XCTAssertEqual(rollout.onLook(sight(rollout, [.applied, .nothing]), at: now), [])
        _ = rollout.onLook(sight(rollout, [.applied, .applied]), at: now + .seconds(10))
        XCTAssertEqual(rollout.satisfiedSince, now + .seconds(10))
        XCTAssertEqual(
            rollout.onLook(sight(rollout, [.applied, .applied]), at: now + .seconds(69)),
            []
        )
        let directives = rollout.onLook(
            sight(rollout, [.applied, .applied]),
            at: now + .seconds(70)
        )
        XCTAssertEqual(text(rollout, directives), "running waveBegan")
        XCTAssertEqual(rollout.wave, 1)
    }

    func test_soak_duringWhichANodeIsLost_beginsAnew() {
        var rollout = rollout(
            [ReleaseRolloutWave(.nodes(2), soak: .seconds(60))],
            failure: ReleaseFailureThreshold(minimum: 3)
        )
        _ = rollout.onLook(sight(rollout, [.applied, .applied]), at: now)
        let directives = rollout.onLook(sight(rollout, [.applied, .lost]), at: now + .seconds(30))
        XCTAssertEqual(text(rollout, directives), "running unsatisfied")
        _ = rollout.onLook(sight(rollout, [.applied, .applied]), at: now + .seconds(50))
        XCTAssertEqual(
            rollout.onLook(sight(rollout, [.applied, .applied]), at: now + .seconds(100)),
            []
        )
    }

    func test_waveThatCounts_keepsItsNodes_whenOneOfThemDies() {
        var rollout = rollout([ReleaseRolloutWave(.nodes(1))], named: ["w-0"])
        // w-0 vanished before it said anything: nobody takes its place.
        var look = sight(rollout, [.nothing, .nothing, .nothing])
        let gone = look.census.entries.map { entry in
            var node = entry.node
            if node.id == "w-0" { node.presence = .lost(since: now) }
            return node
        }
        look = ChannelSight(
            newest: look.newest,
            census: ReleaseCensus(
                .init(
                    number: ReleaseNumber(2),
                    root: newTree,
                    channel: "site",
                    rollout: rollout,
                    nodes: gone
                )
            )
        )
        XCTAssertEqual(rollout.onLook(look, at: now), [])
        XCTAssertEqual(rollout.named, ["w-0"])
        XCTAssertNil(rollout.admittingWave(of: ReleaseNode("w-1")))
    }

    func test_waveOfAShare_thatIsNobody_takesTheLowestRank() {
        var rollout = rollout([ReleaseRolloutWave(ReleaseAudience(share: 1))], in: .awaitingRelease)
        _ = rollout.onLook(sight(rollout, Array(repeating: .nothing, count: 5)), at: now)
        XCTAssertEqual(rollout.named.count, 1)
        let lowest = (0..<5).map { NodeID(rawValue: "w-\($0)") }
            .min { rollout.id.rank(of: $0) < rollout.id.rank(of: $1) }
        XCTAssertEqual(rollout.named.first, lowest)
    }

    func test_waveWithoutANode_neverPasses() {
        var rollout = rollout(
            [ReleaseRolloutWave(.labelled(["tier": "canary"]))],
            in: .awaitingRelease
        )
        _ = rollout.onLook(sight(rollout, [.nothing, .nothing]), at: now)
        XCTAssertEqual(rollout.onLook(sight(rollout, [.nothing, .nothing]), at: now), [])
        XCTAssertEqual(rollout.wave, 0)
    }

    func test_unfitNodes_areNotWaitedFor() {
        var rollout = rollout([ReleaseRolloutWave(.everyone)], named: [])
        let directives = rollout.onLook(sight(rollout, [.applied, .unfit]), at: now)
        XCTAssertEqual(text(rollout, directives), "completed! completed")
    }

    func test_healthGate_waitsForTheReport() {
        var rollout = rollout(
            [ReleaseRolloutWave(.everyone, health: .reportedHealthy)],
            named: []
        )
        XCTAssertEqual(rollout.onLook(sight(rollout, [.applied]), at: now), [])
    }

    // MARK: - Failures

    func test_failures_ofEachKind_count() {
        for word in [Word.refused, .unhealthy, .lost] {
            var rollout = rollout()
            let directives = rollout.onLook(sight(rollout, [.applied, word]), at: now)
            XCTAssertEqual(
                text(rollout, directives),
                "reverting reverting block publish 1",
                "\(word)"
            )
        }
    }

    func test_failures_belowTheThreshold_stopNothing() {
        var rollout = rollout(
            [ReleaseRolloutWave(.everyone, acknowledgedPercent: 75)],
            failure: ReleaseFailureThreshold(percent: 50),
            named: []
        )
        let directives = rollout.onLook(
            sight(rollout, [.applied, .applied, .applied, .refused]),
            at: now
        )
        XCTAssertEqual(text(rollout, directives), "completed! completed")
    }

    func test_failuresThatPaused_areToleratedOnceSomebodyResumes() {
        var rollout = rollout(failure: ReleaseFailureThreshold(action: .pause))
        _ = rollout.onLook(sight(rollout, [.applied, .refused]), at: now)
        XCTAssertEqual(rollout.state, .paused)
        _ = rollout.onCommand(.resume, by: "alice", reason: "known", at: now)
        XCTAssertEqual(rollout.onLook(sight(rollout, [.applied, .refused]), at: now), [])
        XCTAssertEqual(rollout.state, .running)
        _ = rollout.onLook(sight(rollout, [.refused, .refused]), at: now)
        XCTAssertEqual(rollout.state, .paused)
    }

    func test_wave_thatTakesTooLong_fails() {
        var rollout = rollout([ReleaseRolloutWave(.nodes(2), timeout: .seconds(100))])
        XCTAssertEqual(
            rollout.onLook(sight(rollout, [.applied, .nothing]), at: now + .seconds(99)),
            []
        )
        let directives = rollout.onLook(
            sight(rollout, [.applied, .nothing]),
            at: now + .seconds(100)
        )
        XCTAssertEqual(text(rollout, directives), "reverting reverting block publish 1")
    }

    func test_revert_withoutATreeBefore_aborts() {
        var first = ReleaseRollout(
            id: ReleaseRolloutID(bits: 7),
            tenant: .standard,
            channel: "site",
            plan: ReleaseRolloutPlan(waves: []),
            initiator: "alice",
            startedAt: now,
            candidate: .first,
            baseline: nil
        )
        first.candidateRoot = newTree
        first.state = .running
        first.waveBegan = now
        let directives = first.onCommand(.revert, by: "alice", reason: "", at: now)
        XCTAssertEqual(text(first, directives), "aborted! aborted block")
    }

    func test_aTreeThatTheOthersHaveToo_isNotBlocked() {
        var same = rollout()
        same.candidateRoot = oldTree
        let directives = same.onCommand(.abort, by: "alice", reason: "", at: now)
        XCTAssertEqual(text(same, directives), "aborted! aborted")
    }

    // MARK: - Ranks, plans and forms

    func test_ranks_areStableAndEvenlySpread() {
        let id = ReleaseRolloutID(bits: 0x0123_4567_89AB_CDEF_0123_4567_89AB_CDEF)
        XCTAssertEqual(id.rank(of: "worker-1"), id.rank(of: "worker-1"))
        let ranks = (0..<10_000).map { id.rank(of: NodeID(rawValue: "worker-\($0)")) }
        XCTAssertTrue(ranks.allSatisfy { (0..<10_000).contains($0) })
        for tenth in 0..<10 {
            let count = ranks.count { $0 / 1_000 == tenth }
            XCTAssertTrue((850...1_150).contains(count), "\(count) in tenth \(tenth)")
        }
    }

    func test_plans_thatCannotWork_areRefused() {
        let wrong: [[ReleaseRolloutWave]] = [
            [ReleaseRolloutWave(.everyone), ReleaseRolloutWave(.nodes(1))],
            [ReleaseRolloutWave(.nodes(0))], [ReleaseRolloutWave(.nodes(1_001))],
            [ReleaseRolloutWave(ReleaseAudience(share: 0))],
            [ReleaseRolloutWave(ReleaseAudience(share: 10_001))],
            [ReleaseRolloutWave(.nodes(1), acknowledgedPercent: 0)],
            [ReleaseRolloutWave(.nodes(1), acknowledgedPercent: 101)],
            [ReleaseRolloutWave(.nodes(1), soak: .seconds(-1))],
            [ReleaseRolloutWave(.nodes(1), timeout: .zero)],
            Array(repeating: ReleaseRolloutWave(.nodes(1)), count: 32),
        ]
        for waves in wrong {
            XCTAssertThrowsError(try ReleaseRolloutPlan(waves: waves).validate(), "\(waves)") {
                XCTAssertEqual(($0 as? ArtifactStoreError)?.code, .invalidPlan)
            }
        }
        XCTAssertNoThrow(try ReleaseRolloutPlan(waves: []).validate())
        XCTAssertNoThrow(
            try ReleaseRolloutPlan(
                waves: Array(repeating: ReleaseRolloutWave(.nodes(1)), count: 31)
            ).validate()
        )
    }

    func test_aDamagedRollout_isRefused() throws {
        let bytes = rollout().encoded
        XCTAssertEqual(try ReleaseRollout(decoding: bytes), rollout())
        for length in 0..<bytes.count {
            XCTAssertThrowsError(try ReleaseRollout(decoding: Array(bytes[..<length])))
        }
        XCTAssertThrowsError(try ReleaseRollout(decoding: bytes + [0]))
    }

    func test_quorums_areParsedAndReached() throws {
        XCTAssertTrue(try ReleaseQuorum(parsing: "all").isReached(applied: 3, of: 3))
        XCTAssertFalse(try ReleaseQuorum(parsing: "all").isReached(applied: 0, of: 0))
        XCTAssertTrue(try ReleaseQuorum(parsing: "2").isReached(applied: 2, of: 3))
        XCTAssertFalse(try ReleaseQuorum(parsing: "67%").isReached(applied: 2, of: 3))
        XCTAssertTrue(try ReleaseQuorum(parsing: "66%").isReached(applied: 2, of: 3))
        for text in ["", "%", "-1", "101%", "some", "1.5"] {
            XCTAssertThrowsError(try ReleaseQuorum(parsing: text), text)
        }
    }
}
