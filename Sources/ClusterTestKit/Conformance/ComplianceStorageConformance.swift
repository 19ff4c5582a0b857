internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

/// The contract of `ComplianceStorage`.
public struct ComplianceStorageConformance: Sendable {
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
        try await runStoreConformance("ComplianceStorage", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("policies are listed by name, as defined, with their members unknown", lists),
        .init("reports of members are counted, by the newest", countsReports),
        .init("reports of others, and on other policies, change nothing", ignoresStrangers),
        .init("who leaves the group is forgotten", forgetsLeavers),
        .init("violators are taken in due order and move on", reapplies),
        .init("a partition takes the violators of its slots, whoever is due before", takesItsSlots),
        .init("a device that complies again is not taken", forgives),
        .init("a new version forgets what was reported, and is swept", startsAnew),
        .init("a report on a policy satisfies the task about it", satisfiesItsTask),
        .init("tenants never cross", keepsTenantsApart),
        .init("an old epoch changes nothing", refusesOldEpoch),
        .init("policies and reports are there after a restart", survivesReopening),
    ]

    static let fleet = GroupID(rawValue: "fleet")
    static let activity = ActivityID(bits: 77)

    static func policy(_ name: String, version: String = "1") -> CompliancePolicy {
        CompliancePolicy(
            id: PolicyID(rawValue: name),
            group: fleet,
            version: version,
            payload: [1, 2],
            backoff: .seconds(60),
            longestBackoff: .seconds(150),
            maximumTries: 2
        )
    }

    static func storage(_ scene: StoreScene) throws -> any ComplianceStorage {
        try scene.needs(\.compliance, "ComplianceStorage")
    }

    static func put(
        _ policy: CompliancePolicy,
        _ scene: StoreScene,
        tenant: TenantID? = nil
    ) async throws {
        try await storage(scene).put(
            policy,
            activity: activity,
            tenant: tenant ?? scene.tenant,
            epoch: scene.epoch
        )
    }

    static func report(
        _ document: String,
        by row: DeviceRow,
        _ scene: StoreScene,
        after seconds: Int = 0
    ) async throws {
        let time = scene.now + .seconds(seconds)
        let entry = InboxEntry(
            identity: row.identity,
            receivedAt: time,
            body: .information(.compliance, body: Array(document.utf8))
        )
        _ = try await scene.operations.apply(
            [SpooledEntry(number: 0, entry: entry)],
            from: nil,
            epoch: scene.epoch,
            at: time
        )
    }

    static func document(
        _ policy: String,
        _ isCompliant: Bool,
        version: String = "1"
    ) -> String {
        """
        {"policy": "\(policy)", "version": "\(version)", "compliant": \(isCompliant),
         "violations": ["no passcode"]}
        """
    }

    static func counts(_ scene: StoreScene) async throws -> [Int] {
        let standings = try await storage(scene).policies(tenant: scene.tenant)
        let counts = try scene.check.some(standings.first, "a policy").counts
        return [counts.compliant, counts.violating, counts.givenUp, counts.unknown]
    }

    static func names(_ state: ComplianceState, _ scene: StoreScene) async throws -> [String] {
        try await storage(scene).devices(
            of: PolicyID(rawValue: "p"),
            in: state,
            after: nil,
            limit: 100,
            tenant: scene.tenant
        ).map(\.device.rawValue)
    }

    static func taken(_ scene: StoreScene, after seconds: Int, limit: Int = 100) async throws
        -> [ReapplicationStep]
    {
        try await storage(scene).violators(
            at: scene.now + .seconds(seconds),
            limit: limit,
            in: .all
        )
    }

    static func lists(_ scene: StoreScene) async throws {
        _ = try await scene.enrol(["d-1", "d-2"], groups: [fleet])
        let defined = [policy("q"), policy("p")]
        for policy in defined { try await put(policy, scene) }
        var changed = policy("p")
        changed.maximumTries = 9
        changed.payload = [7]
        try await put(changed, scene)
        let standings = try await storage(scene).policies(tenant: scene.tenant)
        try scene.check.equal(standings.map(\.policy), [changed, defined[0]], "the policies")
        try scene.check.equal(standings.map(\.activity), [activity, activity], "activities")
        try scene.check.equal(try await counts(scene), [0, 0, 0, 2], "nobody has reported")
    }

    static func countsReports(_ scene: StoreScene) async throws {
        try await put(policy("p"), scene)
        let rows = try await scene.enrol(["d-1", "d-2", "d-3", "d-4"], groups: [fleet])
        try await report(document("p", true), by: rows[0], scene)
        try await report(document("p", false), by: rows[1], scene)
        try await report("[\(document("p", true, version: "0"))]", by: rows[2], scene)
        try scene.check.equal(try await counts(scene), [1, 2, 0, 1], "the counts")
        try await report(document("p", true), by: rows[1], scene, after: 10)
        try await report(document("p", false), by: rows[1], scene, after: 5)
        try scene.check.equal(try await counts(scene), [2, 1, 0, 1], "by the newest report")
        try scene.check.equal(try await names(.compliant, scene), ["d-1", "d-2"], "who complies")
        let violating = try await storage(scene).devices(
            of: PolicyID(rawValue: "p"),
            in: .violating,
            after: DeviceID(rawValue: "d-2"),
            limit: 1,
            tenant: scene.tenant
        )
        try scene.check.equal(
            violating,
            [
                DeviceCompliance(
                    device: rows[2].id,
                    state: .violating,
                    since: scene.now,
                    reportedAt: scene.now,
                    version: "0",
                    violations: ["no passcode"],
                    next: scene.now + .seconds(60)
                )
            ],
            "who has not taken the version yet"
        )
    }

    static func ignoresStrangers(_ scene: StoreScene) async throws {
        try await put(policy("p"), scene)
        let stranger = try await scene.enrol("d-1")
        let member = try await scene.enrol("d-2", groups: [fleet])
        try await report(document("p", false), by: stranger, scene)
        try await report(document("other", false), by: member, scene)
        try await report("{\"policy\": 5}", by: member, scene)
        try await report("[]", by: member, scene)
        try scene.check.equal(try await counts(scene), [0, 0, 0, 1], "the counts")
        try scene.check.equal(try await taken(scene, after: 9_999), [], "who is due")
    }

    static func forgetsLeavers(_ scene: StoreScene) async throws {
        try await put(policy("p"), scene)
        let rows = try await scene.enrol(["d-1", "d-2", "d-3"], groups: [fleet])
        for row in rows { try await report(document("p", row.id != rows[0].id), by: row, scene) }
        try scene.check.equal(try await counts(scene), [2, 1, 0, 0], "before")
        try await scene.change(.leave(fleet, [rows[0].id]))
        try await scene.change(.remove(rows[1].id))
        try scene.check.equal(try await counts(scene), [1, 0, 0, 0], "after")
        try scene.check.equal(try await taken(scene, after: 9_999), [], "who is due")
    }

    static func reapplies(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        try await put(policy("p"), scene)
        let rows = try await scene.enrol(["d-1", "d-2", "d-3"], groups: [fleet])
        for (index, row) in rows.enumerated() {
            try await report(document("p", false), by: row, scene, after: 30 - 10 * index)
        }
        let two = try await taken(scene, after: 30, limit: 2)
        try scene.check.equal(two.map(\.policy), [policy("p")], "the policy")
        try scene.check.equal(
            two.flatMap(\.violators),
            [.init(device: rows[1].id, tries: 0), .init(device: rows[2].id, tries: 0)],
            "the longest overdue"
        )
        // Waits of 60 and 120 seconds, and the third time it is given up.
        var now = 30
        for (tries, wait) in [60, 120].enumerated() {
            let steps = try await taken(scene, after: now)
            let due = steps.flatMap(\.violators)
            try scene.check.equal(
                due.map(\.tries),
                [Int32](repeating: Int32(tries), count: 3),
                "due"
            )
            for step in steps {
                for _ in 0..<2 {
                    let time = scene.now + .seconds(now)
                    try await storage.advance(step, epoch: scene.epoch, at: time)
                }
            }
            // A report in between does not hurry it.
            try await report(document("p", false), by: rows[0], scene, after: now + 5)
            try scene.check.equal(try await taken(scene, after: now + wait - 1), [], "too early")
            now += wait
        }
        for step in try await taken(scene, after: now) {
            try await storage.advance(step, epoch: scene.epoch, at: scene.now + .seconds(now))
        }
        try scene.check.equal(try await counts(scene), [0, 0, 3, 0], "given up")
        try scene.check.equal(try await names(.givenUp, scene), ["d-1", "d-2", "d-3"], "who")
        try scene.check.equal(try await taken(scene, after: 999_999), [], "never again")
        try await report(document("p", true), by: rows[0], scene, after: 1_000)
        try scene.check.equal(try await counts(scene), [1, 0, 2, 0], "unless it complies")
    }
}
