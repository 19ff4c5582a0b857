internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

/// The contract of `QuotaStorage`, and of the writes it bounds.
public struct QuotaStorageConformance: Sendable {
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
        try await runStoreConformance("QuotaStorage", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("an override goes before the standard quota", resolves),
        .init("one device more than allowed is refused, also at once", boundsDevices),
        .init("one open activity more than allowed is refused", boundsActivities),
        .init("open activities are counted from before the quota was set", countsFromBefore),
        .init("one operation naming a device more than allowed is refused", boundsNamed),
        .init("an old epoch changes nothing", refusesOldEpoch),
        .init("quotas and counts are there after a restart", survivesReopening),
    ]

    private static func quotas(_ scene: StoreScene) throws -> any QuotaStorage {
        try scene.needs(\.quotas, "QuotaStorage")
    }

    private static func set(
        _ quota: TenantQuota?,
        _ scene: StoreScene,
        of tenant: TenantID?
    ) async throws {
        try await quotas(scene).setQuota(quota, of: tenant, epoch: scene.epoch)
    }

    private static func resolves(_ scene: StoreScene) async throws {
        let storage = try quotas(scene)
        try scene.check.equal(
            try await storage.quota(of: scene.tenant),
            .unlimited,
            "the quota while there is none"
        )
        let standard = TenantQuota(devices: 10, enqueuesPerMinute: 60)
        let own = TenantQuota(openActivities: 5, namedOperationsPerDevice: 7)
        try await set(standard, scene, of: nil)
        try await set(own, scene, of: scene.tenant)
        try scene.check.equal(try await storage.quota(of: scene.tenant), own, "with an override")
        try scene.check.equal(
            try await storage.quota(of: scene.otherTenant),
            standard,
            "without one"
        )
        try await set(nil, scene, of: scene.tenant)
        try scene.check.equal(try await storage.quota(of: scene.tenant), standard, "taken away")
        try scene.check.equal(
            try await storage.storedQuota(of: scene.tenant),
            nil,
            "the override taken away"
        )
    }

    private static func refusedEnrolment(_ name: String, _ scene: StoreScene) async throws -> Bool {
        do {
            try await scene.enrol(name)
            return false
        } catch let error as DeviceRegistryError where error.code == .quotaExceeded {
            try scene.check.equal(error.category, .overloaded, "the category of the refusal")
            try scene.check.isTrue(error.retryAfter != nil, "the refusal says when to repeat")
            return true
        }
    }

    private static func boundsDevices(_ scene: StoreScene) async throws {
        try await set(TenantQuota(devices: 2), scene, of: scene.tenant)
        let refusals = try await withThrowingTaskGroup(of: Bool.self) { group in
            for name in ["a", "b", "c", "d", "e"] {
                group.addTask { try await refusedEnrolment(name, scene) }
            }
            return try await group.reduce(0) { $1 ? $0 + 1 : $0 }
        }
        try scene.check.equal(refusals, 3, "refusals of five enrolments at once")
        let kept = try await scene.ids(in: nil)
        try scene.check.equal(kept.count, 2, "devices")
        try await scene.enrol("x", tenant: scene.otherTenant)
        // Enrolling again takes no place; leaving gives one back.
        try scene.check.equal(try await refusedEnrolment(kept[0], scene), false, "enrolled again")
        try await scene.change(.remove(DeviceID(rawValue: kept[1])))
        try scene.check.equal(try await refusedEnrolment("new", scene), false, "after a removal")
        try scene.check.equal(try await refusedEnrolment("newer", scene), true, "full again")
        try scene.check.equal(
            try await quotas(scene).usage(of: scene.tenant).devices,
            2,
            "devices in use"
        )
    }

    private static func refusedEnqueue(
        _ scene: StoreScene,
        to row: DeviceRow
    ) async throws -> Bool {
        do {
            _ = try await scene.enqueue(to: [row])
            return false
        } catch let error as OperationQueueError where error.code == .quotaExceeded {
            try scene.check.equal(error.category, .overloaded, "the category of the refusal")
            try scene.check.isTrue(error.retryAfter != nil, "the refusal says when to repeat")
            return true
        }
    }

    private static func boundsActivities(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("a")
        let other = try await scene.enrol("x", tenant: scene.otherTenant)
        try await set(TenantQuota(openActivities: 2), scene, of: scene.tenant)
        let first = try await scene.enqueue(to: [row])
        let second = try await scene.enqueue(to: [row])
        try scene.check.equal(try await refusedEnqueue(scene, to: row), true, "the third")
        _ = try await scene.enqueue(to: [other])
        try await scene.apply(scene.result(.completed, of: first, by: row))
        try scene.check.equal(try await refusedEnqueue(scene, to: row), false, "after a result")
        try scene.check.equal(try await refusedEnqueue(scene, to: row), true, "full again")
        _ = try await scene.operations.close(
            second.activity,
            as: .cancelled,
            tenant: scene.tenant,
            epoch: scene.epoch,
            at: scene.now
        )
        try scene.check.equal(try await refusedEnqueue(scene, to: row), false, "after a cancel")
        try scene.check.equal(try await refusedEnqueue(scene, to: row), true, "full once more")
    }

    private static func countsFromBefore(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("a")
        for _ in 0..<3 { _ = try await scene.enqueue(to: [row]) }
        try await set(TenantQuota(openActivities: 4), scene, of: nil)
        try scene.check.equal(try await refusedEnqueue(scene, to: row), false, "the fourth")
        try scene.check.equal(try await refusedEnqueue(scene, to: row), true, "the fifth")
        // What cannot be stored for another reason is not counted.
        try await set(TenantQuota(openActivities: 5), scene, of: nil)
        try await scene.expect(.noTarget, from: "an enqueue to nobody") {
            _ = try await scene.enqueue(scene.plan(for: .devices([DeviceID(rawValue: "nobody")])))
        }
        try scene.check.equal(try await refusedEnqueue(scene, to: row), false, "the fifth again")
    }

    private static func boundsNamed(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["a", "b"], groups: [GroupID(rawValue: "fleet")])
        try await set(TenantQuota(namedOperationsPerDevice: 2), scene, of: scene.tenant)
        let first = try await scene.enqueue(to: rows)
        _ = try await scene.enqueue(to: [rows[0]])
        try scene.check.equal(try await refusedEnqueue(scene, to: rows[0]), true, "the third")
        try scene.check.equal(try await refusedEnqueue(scene, to: rows[1]), false, "the other's")
        _ = try await scene.enqueue(to: GroupID(rawValue: "fleet"))
        try await scene.apply(
            scene.result(.completed, of: first, by: rows[0]),
            scene.result(.completed, of: first, by: rows[1])
        )
        try scene.check.equal(try await refusedEnqueue(scene, to: rows[0]), false, "room again")
    }

    private static func refusesOldEpoch(_ scene: StoreScene) async throws {
        let storage = try quotas(scene)
        try await scene.expectFenced("setting a quota") {
            try await storage.setQuota(TenantQuota(devices: 1), of: nil, epoch: $0)
        }
        try scene.check.equal(
            try await storage.quota(of: scene.tenant),
            .unlimited,
            "the quota after a fenced write"
        )
    }

    private static func survivesReopening(_ scene: StoreScene) async throws {
        let reopen = try scene.needs(\.reopen, "way to be opened again")
        let row = try await scene.enrol("a")
        try await set(TenantQuota(openActivities: 2), scene, of: scene.tenant)
        _ = try await scene.enqueue(to: [row])
        let store = try await reopen()
        let again = StoreScene(store: store, epoch: try await store.newEpoch(), check: scene.check)
        try scene.check.equal(try await refusedEnqueue(again, to: row), false, "the second")
        try scene.check.equal(try await refusedEnqueue(again, to: row), true, "the third")
        try await store.close()
    }
}
