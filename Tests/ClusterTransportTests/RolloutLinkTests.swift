#if Server && SQLite
import ArtifactStore
import ClusterMembership
import ClusterRole
import ClusterTestKit
import ClusterTransport
import Foundation
import XCTest

@testable import ClusterLink

/// Offers and health over the link.
final class RolloutLinkTests: XCTestCase {
    private static let channel: ChannelName = "web/site"
    private var channel: ChannelName { Self.channel }

    private func client(_ node: String, _ address: String) throws -> LinkClient {
        try LinkClient(
            node: NodeID(rawValue: node),
            configuration: LinkClientConfiguration(
                addresses: [address],
                token: node,
                requestTimeout: .seconds(10),
                releaseWait: .seconds(8)
            ),
            random: SeededRandomSource(seed: 1),
            logger: quiet
        )
    }

    private func hello(_ node: String, _ labels: [String: String]) throws -> LinkHello {
        LinkHello(
            node: NodeID(rawValue: node),
            version: "2.1.0",
            applied: nil,
            highestEpoch: .none,
            properties: try ReleaseNodeProperties.make(
                labels: labels,
                capabilities: labels.isEmpty ? [] : ["gpu"],
                channels: [channel]
            )
        )
    }

    private static func number(_ client: LinkClient, unlessAt known: Revision? = nil) async throws
        -> Int64?
    {
        let answer = try await client.latestRelease(
            of: channel,
            tenant: .standard,
            unlessAt: known
        )
        guard case .release(let stored) = answer else { return nil }
        return stored.release.number.rawValue
    }

    /// A manager whose workers are offered what a rollout says.
    private func manager() throws -> (ManagerScene, ReleaseRollouts) {
        let manager = try ManagerScene(offering: true)
        let rollouts = ReleaseRollouts(
            releases: manager.releases,
            storage: manager.releases,
            publisher: ArtifactPublisher(
                storage: manager.releases,
                objects: manager.objects,
                signer: try Ed25519Signer(),
                capability: manager.capability
            ),
            nodes: manager.nodes,
            capability: manager.capability
        )
        return (manager, rollouts)
    }

    func test_workers_areOfferedReleasesByLabel_andAWaitingOneHearsOfItsWave() async throws {
        let (manager, rollouts) = try manager()
        _ = try await manager.releases.append(
            try ReleaseStorageConformance.sample(1),
            after: nil,
            epoch: manager.capability.epoch
        )
        try await withServer(manager) { address in
            let canary = try client("worker-1", "http://\(address)")
            let other = try client("worker-2", "http://\(address)")
            _ = try await canary.hello(try hello("worker-1", ["tier": "canary"]))
            _ = try await other.hello(try hello("worker-2", [:]))
            let plan = ReleaseRolloutPlan(waves: [
                ReleaseRolloutWave(.labelled(["tier": "canary"]))
            ])
            _ = try await rollouts.start(plan, of: channel, by: "alice")
            let two = try ReleaseStorageConformance.sample(2)
            _ = try await manager.releases.append(
                two,
                after: .first,
                epoch: manager.capability.epoch
            )
            var offered = try await Self.number(canary)
            XCTAssertEqual(offered, 1, "the rollout has not seen the release yet")
            try await rollouts.tick()
            offered = try await Self.number(canary)
            XCTAssertEqual(offered, 2)
            offered = try await Self.number(other)
            XCTAssertEqual(offered, 1)

            let first = try await manager.releases.releases(
                of: channel,
                tenant: .standard,
                before: ReleaseNumber(2),
                limit: 1
            ).first
            let known = try XCTUnwrap(first).revision
            async let waiting = Self.number(other, unlessAt: known)
            try await canary.acknowledge(
                AppliedRelease(
                    node: "worker-1",
                    release: two.release,
                    at: Timestamp(milliseconds: 1)
                ),
                tenant: .standard
            )
            try await rollouts.tick()
            manager.hints.publish(manager.ledger.revision)
            offered = try await waiting
            XCTAssertEqual(offered, 2)
        }
    }

    func test_healthReports_reachTheRollout_andSpeakForTheirNodeOnly() async throws {
        let (manager, _) = try manager()
        try await withServer(manager) { address in
            let worker = try client("worker-1", "http://\(address)")
            func health(_ node: NodeID) throws -> ReleaseHealth {
                ReleaseHealth(
                    node: node,
                    channel: channel,
                    number: .first,
                    root: try ReleaseStorageConformance.sample(1).release.root,
                    state: .unhealthy,
                    message: "answers 500",
                    at: Timestamp(milliseconds: 1)
                )
            }
            try await worker.report(try health("worker-1"), tenant: .standard)
            do {
                try await worker.report(try health("worker-2"), tenant: .standard)
                XCTFail("a worker spoke for another")
            } catch {
                XCTAssertTrue("\(error)".contains("wrong-node"), "\(error)")
            }
            let kept = try await manager.releases.health(of: channel, tenant: .standard)
            XCTAssertEqual(kept, [try health("worker-1")])
        }
    }

    func test_unfitWorkers_keepWhatTheyHave_andTheManagerSaysWhy() async throws {
        let (manager, rollouts) = try manager()
        let needs = ReleaseRequirements(
            capabilities: ["gpu"],
            softwareVersion: try SoftwareVersion(parsing: "2.1")
        )
        _ = try await manager.releases.append(
            try ReleaseStorageConformance.sample(1),
            after: nil,
            epoch: manager.capability.epoch
        )
        _ = try await manager.releases.append(
            try ReleaseStorageConformance.sample(2, requirements: needs),
            after: .first,
            epoch: manager.capability.epoch
        )
        try await withServer(manager) { address in
            let fit = try client("worker-1", "http://\(address)")
            let unfit = try client("worker-2", "http://\(address)")
            _ = try await fit.hello(try hello("worker-1", ["tier": "canary"]))
            _ = try await unfit.hello(try hello("worker-2", [:]))
            var offered = try await Self.number(fit)
            XCTAssertEqual(offered, 2)
            offered = try await Self.number(unfit)
            XCTAssertEqual(offered, 1)
            let progress = try await rollouts.progress(of: channel)
            XCTAssertEqual(
                progress.laggards.first { $0.node == "worker-2" }?.standing,
                .unfit([.capability("gpu")])
            )
        }
    }
}
#endif
