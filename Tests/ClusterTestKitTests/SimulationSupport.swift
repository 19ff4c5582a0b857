import ArtifactStore
import ClusterMembership
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import OperationQueue
import Synchronization
import XCTest

/// A site of two pages that must always be of one release.
let pages = ["first.txt", "second.txt"]

/// Three releases of the site.
func makeReleases() async throws -> SimulatedReleases {
    try await SimulatedReleases(
        of: (1...3).map { number in
            Dictionary(uniqueKeysWithValues: pages.map { ($0, Array("\(number)".utf8)) })
        }
    )
}

/// Reads both pages, with some time between them.
func readPages(_ request: SimulatedRequest) async throws {
    let first = try Data(contentsOf: URL(filePath: request.release.path(of: pages[0])))
    try await request.wait(for: .milliseconds(800))
    let second = try Data(contentsOf: URL(filePath: request.release.path(of: pages[1])))
    guard first == second, first == Data("\(request.release.release.number)".utf8) else {
        throw Mixture(first: "\(first)", second: "\(second)")
    }
}

struct Mixture: Error {
    var first: String
    var second: String
}

/// Bugs, each in one part.
enum PlantedBug: String, CaseIterable {
    case lease, fencing, activation, resultIdempotence, order

    /// What must find it.
    var invariant: SimulationInvariant {
        switch self {
        case .lease: .oneCoordinator
        case .fencing: .fencing
        case .activation: .atomicActivation
        case .resultIdempotence: .resultsAppliedOnce
        case .order: .orderPerDevice
        }
    }

    func plant(in plan: inout SimulationPlan) {
        switch self {
        case .lease: plan.parts.leases = { GreedyLeases(base: $0) }
        case .fencing:
            // What is looked for is a coordinator that stands still for longer than its lease lasts.
            plan.faults.interval = .seconds(1)
            plan.faults.pauses = 20
            plan.faults.length = .seconds(16)...(.seconds(30))
            plan.parts.operations = { base, ledger in
                var broken = BrokenOperations(base: base)
                broken.onApply = { _, _, epoch in epoch = ledger.epoch }
                return broken
            }
        case .activation:
            plan.parts.deployer = { _ in HastyDeployer() }
            plan.parts.request = { try await HastyDeployer.serve($0) }
        case .resultIdempotence:
            plan.parts.operations = { base, ledger in
                var broken = BrokenOperations(base: base)
                // The mark is kept for each coordinator, so that a new one has none.
                broken.onApply = { _, spool, epoch in
                    spool?.node = NodeID(rawValue: "\(epoch.rawValue)")
                }
                return broken
            }
        case .order: plan.parts.reader = { ForgetfulReader(base: $0) }
        }
    }
}

/// Gives the lease to whoever asks, also while another holds it.
private struct GreedyLeases: LeaseStore {
    let base: any LeaseStore

    func acquire(holder: NodeID, duration: Duration) async throws -> Lease {
        let lease = try await base.acquire(holder: holder, duration: duration)
        if lease.holder == holder { return lease }
        try await base.release(holder: lease.holder, epoch: lease.epoch)
        return try await base.acquire(holder: holder, duration: duration)
    }

    func renew(holder: NodeID, epoch: Epoch, duration: Duration) async throws -> Lease {
        try await base.renew(holder: holder, epoch: epoch, duration: duration)
    }

    func release(holder: NodeID, epoch: Epoch) async throws {
        try await base.release(holder: holder, epoch: epoch)
    }
}

/// Overwrites what is served while it prepares the next release.
private final class HastyDeployer: Deployer {
    let kind = ArtifactKind.files
    private static let loaded = Mutex<[String: ReleaseNumber]>([:])

    /// A worker's releases lie in one directory.
    private static func worker(_ release: ActiveRelease) -> String {
        URL(filePath: release.directory).deletingLastPathComponent().path
    }

    func prepare(_ new: ActiveRelease, replacing old: ActiveRelease?) async throws {
        let worker = Self.worker(new)
        Self.loaded.withLock { $0[worker] = new.release.number }
    }

    static func serve(_ request: SimulatedRequest) async throws {
        let worker = worker(request.release)
        let first = loaded.withLock { $0[worker] }
        try await request.wait(for: .milliseconds(800))
        let second = loaded.withLock { $0[worker] }
        guard first == second else {
            throw Mixture(first: "\(first as Any)", second: "\(second as Any)")
        }
    }
}

/// Overlooks the oldest open operation now and then.
private struct ForgetfulReader: PendingWorkReader {
    let base: any PendingWorkReader

    func openWork(for device: DeviceID, tenant: TenantID) async throws -> OpenWork? {
        guard let work = try await base.openWork(for: device, tenant: tenant) else { return nil }
        guard work.items.count > 1, work.revision.number.isMultiple(of: 5) else { return work }
        return OpenWork(
            revision: work.revision,
            device: work.device,
            items: Array(work.items.dropFirst())
        )
    }
}
