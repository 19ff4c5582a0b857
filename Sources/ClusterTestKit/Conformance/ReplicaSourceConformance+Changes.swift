internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

extension ReplicaSourceConformance {
    /// The rows of the delta since `revision`.
    private static func delta(
        since revision: Revision?,
        _ scene: StoreScene,
        for asking: NodeID = node
    ) async throws -> [ReplicaRow] {
        let page = try await source(scene).page(
            after: revision,
            cursor: nil,
            limit: 100,
            for: asking
        )
        try scene.check.equal(page.content, .delta, "the page after a revision of this history")
        return page.rows
    }

    /// Makes a change and expects rows that meet a condition in the delta since before it.
    private static func expect(
        _ what: String,
        _ scene: StoreScene,
        _ change: () async throws -> Void,
        brings matches: (ReplicaRow) -> Bool
    ) async throws {
        let before = try await source(scene).currentRevision()
        try await change()
        let rows = try await delta(since: before, scene)
        try scene.check.isTrue(
            rows.contains(where: matches),
            "\(what) is in the delta after it; the delta holds \(rows)"
        )
    }

    static func carriesEveryChange(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let row = try await scene.enrol("d-0")
        let other = scene.enrolment(of: DeviceID(rawValue: "d-1"))
        try await expect("an enrolment", scene) {
            try await scene.change(.enrol(other))
        } brings: {
            if case .device(let row) = $0 { row.credential == other.credential } else { false }
        }
        try await expect("a membership of everyone", scene) {
            try await scene.enrol("d-2")
        } brings: {
            if case .membership(_, let interval) = $0 { interval.group == .everyone } else { false }
        }
        try await expect("a join", scene) {
            try await scene.change(.join(fleet, [row.id]))
        } brings: {
            if case .membership(_, let interval) = $0 { interval.left == nil } else { false }
        }
        let grouped = try await scene.enqueue(to: fleet, code: "grouped")
        try await expect("a leave", scene) {
            try await scene.change(.leave(fleet, [row.id]))
        } brings: {
            if case .membership(_, let interval) = $0 { interval.left != nil } else { false }
        }
        try await expect("a polling frequency", scene) {
            try await scene.change(.setPollingFrequency(row.id, .seconds(5)))
        } brings: {
            if case .device(let row) = $0 { row.pollingFrequency == .seconds(5) } else { false }
        }
        try await expect("a group's polling frequency", scene) {
            try await scene.change(.setGroupPollingFrequency(.everyone, .seconds(6)))
        } brings: {
            $0 == .group(scene.tenant, .everyone, pollingFrequency: .seconds(6))
        }
        let plan = scene.plan(for: .devices([row.id]), code: "named")
        try await expect("an operation", scene) {
            _ = try await scene.enqueue(plan)
        } brings: {
            if case .activity(_, let activity) = $0 {
                activity.operation.id == plan.operation.id
                    && activity.operation.payload == plan.operation.payload
            } else {
                false
            }
        }
        let next = scene.plan(for: .devices([row.id]), code: "next")
        try await expect("a named target", scene) {
            _ = try await scene.enqueue(next)
        } brings: {
            if case .target(_, _, let device, let incarnation) = $0 {
                device == row.id && incarnation == row.incarnation
            } else {
                false
            }
        }
        try await expect("a claim", scene) {
            try await scene.apply(scene.claim(grouped, by: row))
        } brings: {
            if case .execution(_, _, let row) = $0 { row.state == .delivered } else { false }
        }
        try await expect("a cancellation", scene) {
            _ = try await scene.operations.close(
                grouped.activity,
                as: .cancelled,
                tenant: scene.tenant,
                epoch: scene.epoch,
                at: scene.now
            )
        } brings: {
            if case .activity(_, let activity) = $0 { activity.state == .cancelled } else { false }
        }
        try await expect("the end of an activity", scene) {
            try await scene.apply(scene.result(.completed, of: plan.operation, by: row))
        } brings: {
            if case .activityGone = $0 { true } else { false }
        }
        try await expect("a removal", scene) {
            try await scene.change(.remove(row.id))
        } brings: {
            if case .device(let row) = $0 { row.state == .removed } else { false }
        }
    }

    static func dropsClosedActivities(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["held", "idle"])
        let held = try await scene.enqueue(to: rows, code: "held")
        let idle = try await scene.enqueue(to: rows, code: "idle")
        try await scene.apply(scene.claim(held, by: rows[0]))
        var content = try await snapshot(scene)
        for operation in [held, idle] {
            _ = try await scene.operations.close(
                operation.activity,
                as: .cancelled,
                tenant: scene.tenant,
                epoch: scene.epoch,
                at: scene.now
            )
        }
        try await catchUp(&content, scene)
        try scene.check.equal(
            content.activities.values.map { "\($0.operation.code) \($0.state)" },
            ["held cancelled"],
            "activities of the replica"
        )
        try await scene.apply(scene.result(.cancelled, of: held, by: rows[0]))
        try await catchUp(&content, scene)
        try scene.check.equal(content.activities.count, 0, "activities once the device answered")
        try await expectSame(content, scene, "the replica")
    }

    static func carriesMarks(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let operation = try await scene.enqueue(to: [row])
        let spool = scene.newSpool(of: node.rawValue)
        let other = NodeID(rawValue: "worker-2")
        let before = try await source(scene).currentRevision()
        let receipt = try await scene.drain(
            [scene.contact(row, answeredAt: nil), scene.claim(operation, by: row)],
            from: 1,
            of: spool
        )
        try scene.check.isTrue(
            receipt.revision.number > before.number,
            "storing a mark takes a revision"
        )
        let mark = ReplicaRow.mark(
            SpoolMark(node: node, incarnation: spool.incarnation, number: 2)
        )
        let rows = try await delta(since: before, scene)
        try scene.check.isTrue(rows.contains(mark), "the delta holds \(mark); it holds \(rows)")
        let foreign = try await delta(since: before, scene, for: other)
        try scene.check.isTrue(
            !foreign.contains { if case .mark = $0 { true } else { false } },
            "another node's delta holds no mark; it holds \(foreign)"
        )
        let content = try await snapshot(scene)
        try scene.check.equal(content.marks[node]?.number, 2, "the mark in a snapshot")
        // Contacts alone change no row of a replica, but the mark must still travel.
        let next = try await scene.drain([scene.contact(row, answeredAt: nil)], from: 3, of: spool)
        try scene.check.isTrue(
            next.revision.number > receipt.revision.number,
            "a mark takes a revision even when the entries change nothing a replica holds"
        )
        let later = try await delta(since: receipt.revision, scene)
        let moved = SpoolMark(node: node, incarnation: spool.incarnation, number: 3)
        try scene.check.equal(later, [.mark(moved)], "the delta after contacts only")
    }

    static func answersLikeTheStore(_ scene: StoreScene) async throws {
        let fleet = try await Fleet(scene)
        var content = try await snapshot(scene)
        for round in 0..<4 {
            if round > 0 { try await fleet.disturb(scene, round: round - 1) }
            try await catchUp(&content, scene, limit: 5)
            for tenant in [scene.tenant, scene.otherTenant] {
                let all = try await scene.devices.devices(
                    in: nil,
                    after: nil,
                    limit: maximumPageSize,
                    tenant: tenant
                )
                for id in all.map(\.id) {
                    try await compare(content, id, tenant, scene, round: round)
                }
            }
        }
    }

    private static func compare(
        _ content: ReplicaContent,
        _ id: DeviceID,
        _ tenant: TenantID,
        _ scene: StoreScene,
        round: Int
    ) async throws {
        let here = content.openWork(for: id, tenant: tenant)
        let there = try await scene.operations.openWork(for: id, tenant: tenant)
        let what = "\(id) of \(tenant) in round \(round)"
        try scene.check.equal(here == nil, there == nil, "whether \(what) is enrolled")
        guard let here, let there else { return }
        try scene.check.equal(here.device, there.device, "the row of \(what)")
        try scene.check.equal(
            here.pollingFrequency,
            there.pollingFrequency,
            "how often \(what) polls"
        )
        try scene.check.equal(here.cancellations, there.cancellations, "cancellations for \(what)")
        for seconds in [0, 61] {
            let time = scene.now + .seconds(seconds)
            try scene.check.equal(
                here.batch(limit: 50, redelivery: .afterLease, at: time),
                there.batch(limit: 50, redelivery: .afterLease, at: time),
                "what \(what) is offered after \(seconds) s"
            )
        }
    }

    static func holdsNoMoreThanNeeded(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let rows = try await scene.enrol(["d-1", "d-2"], groups: [fleet])
        let done = try await scene.enqueue(to: [rows[0]], code: "done")
        try await scene.apply(scene.result(.completed, of: done, by: rows[0]))
        try await scene.change(.leave(fleet, [rows[0].id]))
        try await scene.change(.remove(rows[1].id))
        let content = try await snapshot(scene)
        try scene.check.equal(content.activities.count, 0, "activities")
        try scene.check.equal(content.targets.count, 0, "targets")
        try scene.check.equal(content.executions.count, 0, "executions")
        try scene.check.equal(
            content.memberships.values.filter { $0.left != nil }.map(\.group),
            [],
            "closed intervals that no live operation refers to"
        )
    }
}
