import ArtifactStore
import ClusterRole
import ClusterTestKit
import XCTest

/// The suite finds drivers that do what they must not.
final class BrokenRolloutTests: XCTestCase {
    func test_everyBrokenDriver_isFound() async throws {
        for fault in BrokenRollouts.Fault.allCases {
            do {
                _ = try await RolloutStorageConformance {
                    let cluster = InMemoryCluster()
                    var store = cluster.storeUnderTest
                    store.rollouts = BrokenRollouts(fault, cluster)
                    return store
                }.run()
                XCTFail("\(fault) was not found")
            } catch let failure as ConformanceFailure {
                XCTAssertEqual(failure.suite, "RolloutStorage")
            }
        }
    }
}

/// A storage with one defect.
private struct BrokenRollouts: RolloutStorage {
    enum Fault: CaseIterable {
        case forgetsTheEpoch, overwrites, losesHistory, losesBlocks, keepsBlocks, mixesTenants
        case listsOldestFirst, keepsStaleHealth
    }

    private let base: InMemoryReleaseStorage
    private let ledger: InMemoryLedger
    private let fault: Fault

    init(_ fault: Fault, _ cluster: InMemoryCluster) {
        self.fault = fault
        base = cluster.releases
        ledger = cluster.ledger
    }

    private func epoch(_ epoch: Epoch) -> Epoch {
        fault == .forgetsTheEpoch ? ledger.epoch : epoch
    }

    func write(
        _ change: ReleaseRolloutChange,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Revision {
        var version = change.version
        if fault == .overwrites, version != nil, let rollout = change.rollout {
            let known = try await base.rollouts(
                .id(rollout.id),
                tenant: tenant,
                before: nil,
                limit: 1
            ).first
            version = known?.version ?? version
        }
        return try await base.write(
            ReleaseRolloutChange(
                channel: change.channel,
                rollout: change.rollout,
                version: version,
                unpublished: change.unpublished,
                transitions: fault == .losesHistory ? [] : change.transitions,
                blocks: fault == .losesBlocks ? [] : change.blocks,
                unblocked: fault == .keepsBlocks ? [] : change.unblocked
            ),
            tenant: tenant,
            epoch: self.epoch(epoch)
        )
    }

    func standing(of channel: ChannelName, tenant: TenantID) async throws -> ChannelStanding {
        try await base.standing(of: channel, tenant: tenant)
    }

    func rollouts(
        _ filter: ReleaseRolloutFilter,
        tenant: TenantID?,
        before: ReleaseRolloutID?,
        limit: Int
    ) async throws -> [ReleaseRollout] {
        let found = try await base.rollouts(
            filter,
            tenant: fault == .mixesTenants ? nil : tenant,
            before: before,
            limit: limit
        )
        return fault == .listsOldestFirst ? found.reversed() : found
    }

    func transitions(
        of rollout: ReleaseRolloutID,
        tenant: TenantID
    ) async throws -> [ReleaseRolloutTransition] {
        try await base.transitions(of: rollout, tenant: tenant)
    }

    func record(
        _ health: ReleaseHealth,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Revision {
        var health = health
        if fault == .keepsStaleHealth {
            health = ReleaseHealth(
                node: health.node,
                channel: health.channel,
                number: ReleaseNumber(99),
                root: health.root,
                state: health.state,
                message: health.message,
                at: Timestamp(milliseconds: 99)
            )
        }
        return try await base.record(health, tenant: tenant, epoch: self.epoch(epoch))
    }

    func health(of channel: ChannelName, tenant: TenantID) async throws -> [ReleaseHealth] {
        try await base.health(of: channel, tenant: tenant)
    }
}
