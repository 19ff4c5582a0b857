internal import ClusterMembership
internal import ClusterRole
internal import DeviceRegistry

/// The contract of `LeaseStore`, and of the epoch it gives out.
public struct LeaseStoreConformance: Sendable {
    private let makeStore: StoreFactory
    private let timeLimit: Duration

    /// - Parameters:
    ///   - timeLimit: the most one step may take.
    ///   - makeStore: makes an empty store for each step.
    public init(
        timeLimit: Duration = standardStepTimeLimit,
        _ makeStore: @escaping StoreFactory
    ) {
        self.timeLimit = timeLimit
        self.makeStore = makeStore
    }

    /// Runs every step.
    ///
    /// - Returns: what passed and what was skipped.
    /// - Throws: ``ConformanceFailure`` from the first step that fails.
    public func run() async throws -> ConformanceReport {
        try await runStoreConformance("LeaseStore", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("a free lease is taken, with an epoch", acquires),
        .init("the same holder takes it again with a higher epoch", acquiresAgain),
        .init("renewing keeps the epoch", renews),
        .init("an older epoch cannot be renewed", refusesOldRenewal),
        .init("giving back what is no longer held is harmless", releasesHarmlessly),
        .init("the store refuses writes of the epoch before", fencesWriters),
        .init("another holder is told who has it", tellsTheHolder),
        .init("the holder is told without taking the lease", tellsWithoutTaking),
        .init("a lease given back is taken at once, with a higher epoch", passesOn),
        .init("a lease that ran out is taken by another", runsOut),
        .init("of many who ask at once, one gets it", letsOneWin),
    ]

    private static let first = NodeID(rawValue: "manager-1")
    private static let second = NodeID(rawValue: "manager-2")
    private static let duration = Duration.seconds(30)

    private static func leases(_ scene: StoreScene) throws -> any LeaseStore {
        try scene.needs(\.leases, "LeaseStore")
    }

    private static func competing(_ scene: StoreScene) throws -> any LeaseStore {
        guard scene.store.capabilities.contains(.competingLeaseHolders) else {
            throw StepSkip(reason: "the store belongs to one holder")
        }
        return try leases(scene)
    }

    private static func acquires(_ scene: StoreScene) async throws {
        let lease = try await leases(scene).acquire(holder: first, duration: duration)
        try scene.check.equal(lease.holder, first, "the holder")
        try scene.check.isTrue(lease.epoch > .none, "an epoch after \(Epoch.none)")
        try scene.check.isTrue(lease.remaining > .zero, "the lease lasts")
    }

    private static func acquiresAgain(_ scene: StoreScene) async throws {
        let leases = try leases(scene)
        let one = try await leases.acquire(holder: first, duration: duration)
        let two = try await leases.acquire(holder: first, duration: duration)
        try scene.check.isTrue(two.epoch > one.epoch, "\(two.epoch) is above \(one.epoch)")
        try scene.check.equal(two.holder, first, "the holder")
    }

    private static func renews(_ scene: StoreScene) async throws {
        let leases = try leases(scene)
        let lease = try await leases.acquire(holder: first, duration: duration)
        let renewed = try await leases.renew(
            holder: first,
            epoch: lease.epoch,
            duration: duration
        )
        try scene.check.equal(renewed.epoch, lease.epoch, "the epoch")
        try scene.check.equal(renewed.holder, first, "the holder")
        try scene.check.isTrue(renewed.remaining > .zero, "the lease lasts")
    }

    private static func expectFenced(
        _ check: ConformanceCheck,
        _ what: String,
        current: Epoch,
        _ call: () async throws -> Void
    ) async throws {
        do {
            try await call()
        } catch let error as ClusterRoleError where error.code == .fenced {
            try check.equal(
                error.currentEpoch,
                current,
                "the epoch named by the refusal of \(what)"
            )
            return
        }
        throw check.failure("\(what): expected fenced, but it was accepted")
    }

    private static func refusesOldRenewal(_ scene: StoreScene) async throws {
        let leases = try leases(scene)
        let old = try await leases.acquire(holder: first, duration: duration)
        let new = try await leases.acquire(holder: first, duration: duration)
        try await expectFenced(scene.check, "renewing an old epoch", current: new.epoch) {
            _ = try await leases.renew(holder: first, epoch: old.epoch, duration: duration)
        }
        let renewed = try await leases.renew(holder: first, epoch: new.epoch, duration: duration)
        try scene.check.equal(renewed.epoch, new.epoch, "the newest epoch is renewed as before")
    }

    private static func releasesHarmlessly(_ scene: StoreScene) async throws {
        let leases = try leases(scene)
        let old = try await leases.acquire(holder: first, duration: duration)
        let new = try await leases.acquire(holder: first, duration: duration)
        try await leases.release(holder: first, epoch: old.epoch)
        let renewed = try await leases.renew(holder: first, epoch: new.epoch, duration: duration)
        try scene.check.equal(renewed.epoch, new.epoch, "the lease after giving back an old one")
        try await leases.release(holder: first, epoch: new.epoch)
        try await leases.release(holder: first, epoch: new.epoch)
        let next = try await leases.acquire(holder: first, duration: duration)
        try scene.check.isTrue(next.epoch > new.epoch, "a higher epoch after giving back")
    }

    private static func fencesWriters(_ scene: StoreScene) async throws {
        let leases = try leases(scene)
        let old = try await leases.acquire(holder: first, duration: duration)
        let record = scene.enrolment(of: DeviceID(rawValue: "d-1"))
        try await scene.change(.enrol(record), epoch: old.epoch)
        let new = try await leases.acquire(holder: first, duration: duration)
        let other = scene.enrolment(of: DeviceID(rawValue: "d-2"))
        try await expectFenced(scene.check, "a write of the old epoch", current: new.epoch) {
            try await scene.change(.enrol(other), epoch: old.epoch)
        }
        try await scene.change(.enrol(other), epoch: new.epoch)
        try scene.check.equal(try await scene.ids(in: nil), ["d-1", "d-2"], "devices")
    }

    private static func tellsTheHolder(_ scene: StoreScene) async throws {
        let leases = try competing(scene)
        let held = try await leases.acquire(holder: first, duration: duration)
        let answer = try await leases.acquire(holder: second, duration: duration)
        try scene.check.equal(answer.holder, first, "the holder")
        try scene.check.equal(answer.epoch, held.epoch, "the epoch")
        try scene.check.isTrue(answer.remaining <= duration, "what is left of the lease")
        _ = try await leases.renew(holder: first, epoch: held.epoch, duration: duration)
    }

    private static func tellsWithoutTaking(_ scene: StoreScene) async throws {
        let leases = try competing(scene)
        let held = try await leases.acquire(holder: first, duration: duration)
        let found = try scene.check.some(try await leases.holder(), "the holder")
        try scene.check.equal(found.holder, first, "the holder")
        try scene.check.equal(found.epoch, held.epoch, "the epoch")
        _ = try await leases.renew(holder: first, epoch: held.epoch, duration: duration)
        try await leases.release(holder: first, epoch: held.epoch)
        try scene.check.isNil(try await leases.holder(), "the holder of a free lease")
        guard let advance = scene.store.advanceLeaseClock else { return }
        _ = try await leases.acquire(holder: second, duration: duration)
        try await advance(.seconds(31))
        try scene.check.isNil(try await leases.holder(), "the holder of one that ran out")
    }

    private static func passesOn(_ scene: StoreScene) async throws {
        let leases = try competing(scene)
        let held = try await leases.acquire(holder: first, duration: duration)
        try await leases.release(holder: second, epoch: held.epoch)
        let refused = try await leases.acquire(holder: second, duration: duration)
        try scene.check.equal(refused.holder, first, "the holder after a stranger gave it back")
        try await leases.release(holder: first, epoch: held.epoch)
        let taken = try await leases.acquire(holder: second, duration: duration)
        try scene.check.equal(taken.holder, second, "the next holder")
        try scene.check.isTrue(taken.epoch > held.epoch, "\(taken.epoch) is above \(held.epoch)")
        try await expectFenced(scene.check, "renewing what was given back", current: taken.epoch) {
            _ = try await leases.renew(holder: first, epoch: held.epoch, duration: duration)
        }
    }

    private static func runsOut(_ scene: StoreScene) async throws {
        let leases = try competing(scene)
        let advance = try scene.needs(\.advanceLeaseClock, "lease clock a test can move")
        let held = try await leases.acquire(holder: first, duration: duration)
        try await advance(.seconds(20))
        let renewed = try await leases.renew(holder: first, epoch: held.epoch, duration: duration)
        try scene.check.equal(renewed.epoch, held.epoch, "the epoch after renewing")
        try await advance(.seconds(20))
        let refused = try await leases.acquire(holder: second, duration: duration)
        try scene.check.equal(refused.holder, first, "the holder within the renewed lease")
        try scene.check.isTrue(
            refused.remaining <= .seconds(10),
            "at most 10 s are left, not \(refused.remaining)"
        )
        try await advance(.seconds(11))
        let taken = try await leases.acquire(holder: second, duration: duration)
        try scene.check.equal(taken.holder, second, "the holder after the lease ran out")
        try scene.check.isTrue(taken.epoch > held.epoch, "\(taken.epoch) is above \(held.epoch)")
        try await expectFenced(scene.check, "renewing too late", current: taken.epoch) {
            _ = try await leases.renew(holder: first, epoch: held.epoch, duration: duration)
        }
    }

    private static func letsOneWin(_ scene: StoreScene) async throws {
        let leases = try competing(scene)
        let answers = try await withThrowingTaskGroup(of: Lease.self) { group in
            for index in 0..<16 {
                group.addTask {
                    try await leases.acquire(
                        holder: NodeID(rawValue: "manager-\(index)"),
                        duration: duration
                    )
                }
            }
            return try await group.reduce(into: [Lease]()) { $0.append($1) }
        }
        try scene.check.equal(Set(answers.map(\.holder)).count, 1, "holders")
        try scene.check.equal(Set(answers.map(\.epoch)).count, 1, "epochs")
    }
}
