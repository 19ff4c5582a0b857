import ArtifactStore
import ClusterTestKit
import Foundation
import Synchronization
import XCTest

/// Keeps the prices of a shop in memory; a release that has none is refused.
final class PriceDeployer: Deployer, Sendable {
    let kind = ArtifactKind.files
    private let loaded = Mutex<[ReleaseNumber: String]>([:])

    func prepare(_ new: ActiveRelease, replacing old: ActiveRelease?) async throws {
        let prices = try String(contentsOfFile: new.path(of: "prices.txt"), encoding: .utf8)
        loaded.withLock { $0[new.release.number] = prices }
    }

    func drain(_ old: ActiveRelease) async {
        _ = loaded.withLock { $0.removeValue(forKey: old.release.number) }
    }

    func prices(of release: ActiveRelease) -> String? {
        loaded.withLock { $0[release.release.number] }
    }
}

final class SimulatedDeployerTests: XCTestCase {
    // begin: simulation
    func test_prices_whateverHappensToTheCluster_areThoseOfTheActiveRelease() async throws {
        let deployers = Mutex<[String: PriceDeployer]>([:])
        var plan = SimulationPlan()
        plan.devices = 20
        plan.releases = try await SimulatedReleases(
            of: (1...3).map { ["prices.txt": Array("\($0) EUR".utf8)] }
        )
        plan.parts.deployer = { node in
            let deployer = PriceDeployer()
            deployers.withLock { $0[node.rawValue] = deployer }
            return deployer
        }
        plan.parts.request = { request in
            let deployer = deployers.withLock { $0[request.life.node.id.rawValue] }
            try await request.wait(for: .seconds(1))
            let prices = deployer?.prices(of: request.release)
            if prices != "\(request.release.release.number) EUR" { throw WrongPrices() }
        }
        for seed in 1...20 {
            let report = try Simulation(seed: UInt64(seed), plan: plan).run()
            XCTAssertTrue(report.isGood, "\(report)")
        }
    }
    // end: simulation
}

private struct WrongPrices: Error {}
