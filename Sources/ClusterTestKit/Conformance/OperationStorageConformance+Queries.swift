internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

extension OperationStorageConformance {
    /// All pages of a filtered list, each within its limit.
    private static func numbers(
        _ filter: ActivityFilter,
        limit: Int = 3,
        _ scene: StoreScene,
        tenant: TenantID? = nil
    ) async throws -> [Int64] {
        var found: [Int64] = []
        var before: Int64?
        repeat {
            let page = try await scene.operations.activities(
                matching: filter,
                before: before,
                limit: limit,
                tenant: tenant ?? scene.tenant
            )
            try scene.check.isTrue(page.activities.count <= limit, "a page holds at most its limit")
            found += page.activities.map(\.operation.number)
            if let next = page.next, let last = before {
                try scene.check.isTrue(next < last, "pages go down by number")
            }
            before = page.next
        } while before != nil
        return found
    }

    static func filtersActivities(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"], groups: ["fleet"])
        var plans: [EnqueuePlan] = []
        for index in 0..<12 {
            var plan = scene.plan(
                for: index % 3 == 0 ? .group("fleet") : .devices([rows[index % 2].id]),
                code: index % 2 == 0 ? "lock" : "wipe",
                key: index == 7 ? "seven" : nil
            )
            plan.operation.type = index % 4 == 0 ? .policy : .command
            plan.operation.createdAt = scene.now + .seconds(index)
            plan.initiator = index < 6 ? "anna" : "bert"
            plan.operation.number = try await scene.enqueue(plan).number
            plans.append(plan)
        }
        for index in [1, 4] {
            _ = try await scene.operations.close(
                plans[index].operation.activity,
                as: .cancelled,
                tenant: scene.tenant,
                epoch: scene.epoch,
                at: scene.now
            )
        }
        func expect(
            _ filter: ActivityFilter,
            _ what: String,
            _ wanted: (Int, EnqueuePlan) -> Bool
        ) async throws {
            let expected = plans.enumerated().filter { wanted($0.offset, $0.element) }
                .map(\.element.operation.number).reversed()
            try scene.check.equal(try await numbers(filter, scene), Array(expected), what)
        }
        try await expect(.everything, "all") { _, _ in true }
        try await expect(ActivityFilter(codes: ["lock"]), "a code") { $1.operation.code == "lock" }
        try await expect(ActivityFilter(codes: ["lock", "wipe"]), "codes") { _, _ in true }
        try await expect(ActivityFilter(codes: ["none"]), "an unknown code") { _, _ in false }
        try await expect(ActivityFilter(types: [.policy]), "a type") {
            $1.operation.type == .policy
        }
        try await expect(ActivityFilter(initiator: "anna"), "an initiator") { index, _ in index < 6
        }
        try await expect(ActivityFilter(group: "fleet"), "a group") { index, _ in index % 3 == 0 }
        try await expect(ActivityFilter(states: [.cancelled]), "a state") { index, _ in
            index == 1 || index == 4
        }
        let both = ActivityFilter(codes: ["lock"], states: [.open], initiator: "anna")
        try await expect(both, "several conditions") { index, _ in index == 0 || index == 2 }
        var times = ActivityFilter()
        times.createdFrom = scene.now + .seconds(3)
        times.createdBefore = scene.now + .seconds(8)
        try await expect(times, "a time") { index, _ in (3..<8).contains(index) }
        var key = ActivityFilter()
        key.idempotencyKey = "seven"
        try await expect(key, "a key") { index, _ in index == 7 }
        key.codes = ["lock"]
        try await expect(key, "a key with another code") { _, _ in false }
        try scene.check.equal(
            try await numbers(.everything, scene, tenant: scene.otherTenant),
            [],
            "the neighbour's"
        )
        // What a list shows is what the activity shows, counts included.
        try await scene.apply(scene.result(.completed, of: plans[3].operation, by: rows[0]))
        let page = try await scene.operations.activities(
            matching: ActivityFilter(group: "fleet"),
            before: nil,
            limit: 10,
            tenant: scene.tenant
        )
        for activity in page.activities {
            try scene.check.equal(activity, try await scene.activity(activity.operation), "a row")
        }
    }

    static func listsADevicesWork(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"], groups: ["fleet"])
        let before = try await scene.enqueue(to: "fleet", code: "before")
        let late = try await scene.enrol("d-3", groups: ["fleet"])
        let named = try await scene.enqueue(to: [rows[0]], code: "named")
        let foreign = try await scene.enqueue(to: [rows[1]], code: "foreign")
        let grouped = try await scene.enqueue(to: "fleet", code: "grouped")
        let cancelled = try await scene.enqueue(to: "fleet", code: "cancelled")
        try await scene.apply(
            scene.claim(named, by: rows[0]),
            scene.result(.failed, of: before, by: rows[0], detail: "no")
        )
        _ = try await scene.operations.close(
            cancelled.activity,
            as: .cancelled,
            tenant: scene.tenant,
            epoch: scene.epoch,
            at: scene.now
        )
        func list(_ device: DeviceID, limit: Int = 2) async throws -> [DeviceExecution] {
            var found: [DeviceExecution] = []
            var before: Int64?
            repeat {
                let page = try scene.check.some(
                    try await scene.operations.executions(
                        on: device,
                        before: before,
                        limit: limit,
                        tenant: scene.tenant
                    ),
                    "the page of a known device"
                )
                try scene.check.isTrue(page.executions.count <= limit, "a page's limit")
                found += page.executions
                before = page.next
            } while before != nil
            return found
        }
        let mine = try await list(rows[0].id)
        try scene.check.equal(
            mine.map { "\($0.operation.code) \($0.execution.state.name)" },
            ["cancelled cancelled", "grouped pending", "named delivered", "before failed"],
            "the work of d-1, newest first"
        )
        for execution in mine {
            try scene.check.equal(
                execution.execution,
                try await scene.execution(of: execution.operation, on: rows[0]),
                "the execution of \(execution.operation.code), as its activity lists it"
            )
            try scene.check.equal(execution.operation.payload, [], "payloads are left out")
        }
        try scene.check.equal(
            try await list(rows[1].id).map(\.operation.number),
            [cancelled.number, grouped.number, foreign.number, before.number],
            "the work of d-2"
        )
        try scene.check.equal(
            try await list(late.id).map(\.operation.number),
            [cancelled.number, grouped.number],
            "the work of one who joined later"
        )
        let unknown = try await scene.operations.executions(
            on: "d-9",
            before: nil,
            limit: 10,
            tenant: scene.tenant
        )
        try scene.check.isTrue(unknown == nil, "an unknown device has no page")
        let stranger = try await scene.operations.executions(
            on: rows[0].id,
            before: nil,
            limit: 10,
            tenant: scene.otherTenant
        )
        try scene.check.isTrue(stranger == nil, "a neighbour's device has no page")
        // A new enrolment inherits nothing; its list begins anew.
        try await scene.change(.remove(rows[1].id))
        try await scene.enrol("d-2", groups: ["fleet"])
        try scene.check.equal(try await list(rows[1].id).count, 0, "the work of a new enrolment")
    }

    static func boundsQueries(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        let wanted = try await scene.enqueue(to: [rows[0]], code: "rare")
        let count = maximumOperationsExamined + 10
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<(count / 8 + 1) {
                        _ = try await scene.enqueue(to: [rows[1]], code: "common")
                    }
                }
            }
            try await group.waitForAll()
        }
        // Neither call looks at more than its share, and each says where to go on.
        let first = try scene.check.some(
            try await scene.operations.executions(
                on: rows[0].id,
                before: nil,
                limit: 10,
                tenant: scene.tenant
            ),
            "the first page"
        )
        try scene.check.equal(first.executions, [], "the first page")
        let next = try scene.check.some(first.next, "where to go on")
        let second = try await scene.operations.executions(
            on: rows[0].id,
            before: next,
            limit: 10,
            tenant: scene.tenant
        )
        try scene.check.equal(
            second?.executions.map(\.operation.number),
            [wanted.number],
            "the second page"
        )
        let codes = ActivityFilter(codes: ["rare", "rarer"])
        let sifted = try await scene.operations.activities(
            matching: codes,
            before: nil,
            limit: 10,
            tenant: scene.tenant
        )
        try scene.check.equal(sifted.activities, [], "a page that was sifted for nothing")
        try scene.check.isTrue(sifted.next != nil, "it says where to go on")
        try scene.check.equal(try await numbers(codes, scene), [wanted.number], "over all pages")
    }
}
