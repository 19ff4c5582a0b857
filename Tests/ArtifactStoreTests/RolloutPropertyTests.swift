import ArtifactStore
import ClusterRole
import ClusterTestKit
import Foundation
import Logging
import XCTest

/// Random histories: publications, rollouts, commands, words of workers in any order and late, nodes that
/// vanish, managers that crash. Whatever happens, no worker is offered a release before its wave, and no
/// blocked tree is offered or published.
final class RolloutPropertyTests: XCTestCase {
    func test_randomHistories_neverOfferARelease_beyondItsWave_orABlockedTree() async throws {
        var offers = 0
        var ends: Set<ReleaseRolloutState> = []
        for seed in 0..<UInt64(150) {
            let history = try RolloutHistory(seed: seed)
            for _ in 0..<120 { try await history.act() }
            offers += history.offers
            ends.formUnion(history.ends)
            XCTAssertEqual(history.findings, [], "seed \(seed): \(history.log.suffix(20))")
            if !history.findings.isEmpty { return }
        }
        print("rollout histories: \(offers) offers were checked")
        XCTAssertGreaterThan(offers, 2_000)
        XCTAssertEqual(ends, [.completed, .aborted, .reverted], "the histories show every end")
    }
}

/// One random history over an in-memory store.
private final class RolloutHistory {
    let random: SeededRandomSource
    let time = ManualTimeSource()
    let ledger = InMemoryLedger()
    let store: InMemoryReleaseStorage
    let channel: ChannelName = "web/site"
    var capability: WriteCapability
    var rollouts: ReleaseRollouts
    var nodes: [ReleaseNode]
    /// What each worker holds: the newest offer.
    var holding: [NodeID: Release] = [:]
    /// Words that may still arrive, or arrive again.
    var inFlight: [AppliedRelease] = []
    /// Wave by wave, who was ever offered the candidate of a rollout.
    var reached: [ReleaseRolloutID: Set<NodeID>] = [:]
    var findings: [String] = []
    var log: [String] = []
    var offers = 0
    var ends: Set<ReleaseRolloutState> = []

    init(seed: UInt64) throws {
        random = SeededRandomSource(seed: seed)
        store = InMemoryReleaseStorage(ledger: ledger)
        capability = WriteCapability(epoch: ledger.raiseEpoch())
        let random = random
        nodes = (0..<(3 + Int(random.number(below: 8)))).map { index in
            ReleaseNode(
                NodeID(rawValue: "w-\(index)"),
                labels: random.number(below: 3) == 0 ? ["tier": "canary"] : [:],
                abilities: NodeAbilities(
                    capabilities: random.number(below: 4) == 0 ? [] : ["gpu"]
                ),
                channels: ["web/site"]
            )
        }
        rollouts = ReleaseRollouts(
            releases: store,
            storage: store,
            publisher: TestPublisher(store, capability, crashes: random),
            nodes: FixedReleaseNodes { [] },
            capability: capability
        )
        crash()
    }

    private func pick(_ count: Int) -> Int { Int(random.number(below: UInt64(count))) }

    /// A manager's memory is gone; another one goes on with the store.
    private func crash() {
        capability.revoke()
        capability = WriteCapability(epoch: ledger.raiseEpoch())
        remake()
    }

    /// The nodes are values: a new reader for each look.
    private func remake() {
        let nodes = nodes
        var settings = ReleaseRollouts.Settings(clock: time)
        settings.random = random
        settings.logger.logLevel = .critical
        rollouts = ReleaseRollouts(
            releases: store,
            storage: store,
            publisher: TestPublisher(store, capability, crashes: random),
            nodes: FixedReleaseNodes { nodes },
            capability: capability,
            settings: settings
        )
    }

    func act() async throws {
        do {
            switch pick(20) {
            case 0: try await publish()
            case 1: try await start()
            case 2:
                log.append("crash")
                crash()
            case 3: try await command()
            case 4: changeANode()
            case 5: time.advance(by: .seconds(pick(100)))
            case 6...9:
                remake()
                try await rollouts.tick()
                log.append("tick")
            case 10...15: try await ask(nodes[pick(nodes.count)])
            case 16: try await reportHealth()
            default: try await acknowledge()
            }
        } catch let error as ArtifactStoreError {
            // Refusals are answers; what they mean is checked by what is offered.
            log.append("refused \(error.code.rawValue)")
        } catch is TestPublisher.Crash {
            log.append("crash while publishing")
            crash()
        }
        for rollout in try await store.rollouts(.all, tenant: nil, before: nil, limit: 100)
        where rollout.state.isClosed {
            ends.insert(rollout.state)
        }
    }

    // MARK: - Events

    private func publish() async throws {
        let tree = Int64(pick(6))
        let release = try await TestPublisher.append(
            tree,
            to: store,
            epoch: capability.epoch,
            requirements: pick(5) == 0 ? ReleaseRequirements(capabilities: ["gpu"]) : .none
        )
        log.append("publish \(release.number) of tree \(tree)")
        let standing = try await store.standing(of: channel, tenant: .standard)
        if standing.block(of: release.root) != nil {
            findings.append("a blocked tree was published as \(release.number)")
        }
    }

    private func start() async throws {
        let audiences: [ReleaseAudience] = [
            .nodes(1), .nodes(2), .percent(25), .percent(60), .labelled(["tier": "canary"]),
            ReleaseAudience(labels: ["tier": "canary"], count: 1),
        ]
        let waves = (0..<pick(4)).map { _ in
            ReleaseRolloutWave(
                audiences[pick(audiences.count)],
                acknowledgedPercent: [100, 50][pick(2)],
                soak: .seconds([0, 0, 30][pick(3)]),
                timeout: pick(5) == 0 ? .seconds(50) : nil
            )
        }
        let actions = ReleaseFailureThreshold.Action.allCases
        let plan = ReleaseRolloutPlan(
            waves: waves,
            failure: ReleaseFailureThreshold(
                percent: [0, 40][pick(2)],
                minimum: 1,
                action: actions[pick(actions.count)]
            )
        )
        remake()
        let begun = try await rollouts.start(plan, of: channel, by: "test")
        log.append("start \(begun.id) of \(begun.candidate)")
    }

    private func command() async throws {
        guard let open = try await store.standing(of: channel, tenant: .standard).rollout else {
            return
        }
        let commands = ReleaseRolloutCommand.allCases
        let command = commands[pick(commands.count)]
        log.append("\(command)")
        remake()
        try await rollouts.command(command, open.id, by: "test", reason: "test")
    }

    private func changeANode() {
        let index = pick(nodes.count)
        let isHere = nodes[index].presence == .connected
        nodes[index].presence = isHere ? .lost(since: time.now()) : .connected
        log.append("\(nodes[index].id) \(nodes[index].presence)")
    }

    private func reportHealth() async throws {
        guard let (node, release) = holding.sorted(by: { $0.key < $1.key }).randomElement(random)
        else { return }
        _ = try await store.record(
            ReleaseHealth(
                node: node,
                channel: channel,
                number: release.number,
                root: release.root,
                state: pick(4) == 0 ? .unhealthy : .healthy,
                at: time.now()
            ),
            tenant: .standard,
            epoch: capability.epoch
        )
    }

    private func acknowledge() async throws {
        guard let word = inFlight.randomElement(random) else { return }
        // Kept: it may arrive again, late.
        _ = try await store.record(word, tenant: .standard, epoch: capability.epoch)
    }

    // MARK: - The property

    private func ask(_ node: ReleaseNode) async throws {
        let standing = try await store.standing(of: channel, tenant: .standard)
        let nodes = nodes
        let answer = try await ReleaseOffers(
            releases: store,
            rollouts: store,
            nodes: FixedReleaseNodes { nodes }
        ).offer(to: node.id, of: channel, tenant: .standard, unlessAt: nil)
        guard case .release(let stored) = answer else { return }
        offers += 1
        let release = stored.release
        log.append("\(node.id) is offered \(release.number)")
        if standing.block(of: release.root) != nil {
            findings.append("\(node.id) is offered the blocked tree of \(release.number)")
        }
        if !release.requirements.capabilities.allSatisfy(node.abilities.capabilities.contains) {
            findings.append("\(node.id) is offered \(release.number), and lacks what it asks for")
        }
        if let rollout = standing.rollout, release.number == rollout.candidate {
            check(rollout, node)
            let words = try await store.acknowledgements(of: channel, tenant: .standard)
            let hasIt = words.contains {
                $0.node == node.id && $0.number == release.number && $0.state == .applied
            }
            if rollout.state == .paused, !hasIt {
                findings.append("\(node.id) is offered \(release.number) while it is paused")
            }
        }
        holding[node.id] = release
        inFlight.append(
            AppliedRelease(
                node: node.id,
                release: release,
                error: pick(8) == 0 ? ArtifactStoreError(.deploymentFailed, "no") : nil,
                at: time.now()
            )
        )
    }

    /// Says the rule once more, in other words than the module does.
    private func check(_ rollout: ReleaseRollout, _ node: ReleaseNode) {
        let rank = rollout.id.rank(of: node.id)
        var mayHave = false
        for (index, wave) in rollout.plan.waves.enumerated() where index <= rollout.wave {
            let audience = wave.audience
            if audience.labels["tier"] != nil, node.labels["tier"] != audience.labels["tier"] {
                continue
            }
            if audience == .everyone || (audience.share == nil && audience.count == nil) {
                mayHave = true
            } else if let share = audience.share, rank < share {
                mayHave = true
            } else if rollout.named.contains(node.id) {
                mayHave = true
            }
        }
        if !mayHave || rollout.state == .awaitingRelease || rollout.state == .reverting {
            findings.append(
                "\(node.id) is offered \(rollout.candidate) in wave \(rollout.wave), \(rollout.state)"
            )
        }
        reached[rollout.id, default: []].insert(node.id)
        let isCounting = rollout.plan.waves[...rollout.wave].allSatisfy {
            $0.audience.count != nil
        }
        let most = rollout.plan.waves[...rollout.wave].reduce(0) {
            $0 + Int($1.audience.count ?? 0)
        }
        if isCounting, reached[rollout.id, default: []].count > most {
            findings.append("more nodes than \(most) were offered \(rollout.candidate)")
        }
    }
}

extension Array {
    fileprivate func randomElement(_ random: some RandomSource) -> Element? {
        isEmpty ? nil : self[Int(random.number(below: UInt64(count)))]
    }
}

/// Publishes without bytes, and crashes now and then just before.
private struct TestPublisher: ReleaseWriter {
    struct Crash: Error {}

    let store: InMemoryReleaseStorage
    let capability: WriteCapability
    let random: SeededRandomSource
    private let catalog: ReleaseCatalog

    init(
        _ store: InMemoryReleaseStorage,
        _ capability: WriteCapability,
        crashes random: SeededRandomSource
    ) {
        self.store = store
        self.capability = capability
        self.random = random
        catalog = ReleaseCatalog(storage: store)
    }

    static func append(
        _ tree: Int64,
        to store: InMemoryReleaseStorage,
        epoch: Epoch,
        requirements: ReleaseRequirements = .none
    ) async throws -> Release {
        let newest = try await store.latest(of: "web/site", tenant: .standard)?.release.number
        let published = try ReleaseStorageConformance.sample(
            (newest?.rawValue ?? 0) + 1,
            tree: tree,
            requirements: requirements
        )
        _ = try await store.append(published, after: newest, epoch: epoch)
        return published.release
    }

    func publish(
        _ directory: String,
        to channel: ChannelName,
        tenant: TenantID,
        options: PublishOptions
    ) async throws -> Publication {
        throw Crash()
    }

    func preview(
        _ directory: String,
        to channel: ChannelName,
        tenant: TenantID,
        options: PublishOptions
    ) async throws -> PublishPreview {
        throw Crash()
    }

    func rollback(
        _ channel: ChannelName,
        to number: ReleaseNumber,
        tenant: TenantID
    ) async throws -> Publication {
        if random.number(below: 4) == 0 { throw Crash() }
        let old = try await catalog.releases(
            of: channel,
            tenant: tenant,
            before: number.next,
            limit: 1
        ).first
        let newest = try await catalog.latest(of: channel, tenant: tenant)
        guard let old, let newest else { throw Crash() }
        let tree = try (0..<6).first {
            try ReleaseStorageConformance.sample(1, tree: $0).release.root == old.release.root
        }
        let again = try ReleaseStorageConformance.sample(
            newest.release.number.rawValue + 1,
            tree: tree
        )
        _ = try await store.append(
            again,
            after: newest.release.number,
            epoch: try capability.requireEpoch()
        )
        // The answer is lost on the way, once in a while.
        throw Crash()
    }

    func latest(of channel: ChannelName, tenant: TenantID) async throws -> StoredRelease? {
        try await catalog.latest(of: channel, tenant: tenant)
    }

    func releases(
        of channel: ChannelName,
        tenant: TenantID,
        before: ReleaseNumber?,
        limit: Int
    ) async throws -> [StoredRelease] {
        try await catalog.releases(of: channel, tenant: tenant, before: before, limit: limit)
    }

    func channels(
        of tenant: TenantID,
        after: ChannelName?,
        limit: Int
    ) async throws -> [ChannelName] {
        try await catalog.channels(of: tenant, after: after, limit: limit)
    }

    func acknowledgements(
        of channel: ChannelName,
        tenant: TenantID
    ) async throws -> [AppliedRelease] {
        try await catalog.acknowledgements(of: channel, tenant: tenant)
    }
}
