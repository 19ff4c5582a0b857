internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

extension ComplianceStorageConformance {
    static func takesItsSlots(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        try await put(policy("p"), scene)
        let rows = try await scene.enrol((1...24).map { "d-\($0)" }, groups: [fleet])
        for (index, row) in rows.enumerated() {
            try await report(document("p", false), by: row, scene, after: index)
        }
        let half = TaskPartition.slotCount / 2
        var everybody: [String] = []
        for slots in [0..<half, half..<TaskPartition.slotCount] {
            let own = rows.map(\.id).filter {
                slots.contains(TaskPartition.slot(of: $0, tenant: scene.tenant))
            }
            try scene.check.isTrue(own.count > 3, "devices of both halves")
            for limit in [1, 3, 100] {
                let steps = try await storage.violators(
                    at: scene.now + .seconds(9_999),
                    limit: limit,
                    in: TaskPartition(slots: slots)
                )
                let taken = steps.flatMap(\.violators).map(\.device)
                // The first in due order, listed by id.
                try scene.check.equal(taken, own.prefix(limit).sorted(), "the first \(limit)")
                if limit == 100 { everybody += taken.map(\.rawValue) }
            }
        }
        try scene.check.equal(everybody.sorted(), rows.map(\.id.rawValue).sorted(), "everybody")
    }

    static func forgives(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        try await put(policy("p"), scene)
        let row = try await scene.enrol("d-1", groups: [fleet])
        try await report(document("p", false), by: row, scene)
        let step = try scene.check.some(try await taken(scene, after: 0).first, "a step")
        try await report(document("p", true), by: row, scene, after: 1)
        try await storage.advance(step, epoch: scene.epoch, at: scene.now + .seconds(2))
        try scene.check.equal(try await counts(scene), [1, 0, 0, 0], "it complies")
        try scene.check.equal(try await taken(scene, after: 9_999), [], "who is due")
    }

    static func startsAnew(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        try await put(policy("p"), scene)
        let rows = try await scene.enrol(["d-1", "d-2", "d-3"], groups: [fleet])
        for row in rows { try await report(document("p", false), by: row, scene) }
        let old = try scene.check.some(try await taken(scene, after: 0).first, "a step")
        try await put(policy("p", version: "2"), scene)
        try scene.check.equal(try await counts(scene), [0, 0, 0, 3], "unknown on version 2")
        try scene.check.equal(try await taken(scene, after: 9_999), [], "who is due")
        try await storage.advance(old, epoch: scene.epoch, at: scene.now)
        try await report(document("p", true, version: "2"), by: rows[0], scene, after: 5)
        var calls = 0
        while try await !storage.sweep(limit: 2, epoch: scene.epoch) {
            calls += 1
            if calls > 100 { throw scene.check.failure("sweeping never ends") }
        }
        try scene.check.equal(try await counts(scene), [1, 0, 0, 2], "on version 2")
        try await storage.remove(PolicyID(rawValue: "p"), tenant: scene.tenant, epoch: scene.epoch)
        try scene.check.equal(try await storage.policies(tenant: scene.tenant), [], "policies")
        try scene.check.equal(try await names(.compliant, scene), [], "reports on it")
    }

    static func satisfiesItsTask(_ scene: StoreScene) async throws {
        let tasks = try scene.needs(\.tasks, "PeriodicTaskStorage")
        let row = try await scene.enrol("d-1", groups: [fleet])
        for policy in [policy("p"), policy("q")] {
            try await put(policy, scene)
            try await tasks.put(
                policy.task(beginning: scene.now),
                tenant: scene.tenant,
                epoch: scene.epoch
            )
        }
        while try await !tasks.spread(limit: 9, epoch: scene.epoch, at: scene.now) {}
        let before = try await tasks.dueTimes(of: row.id, tenant: scene.tenant)
        try scene.check.equal(before.map(\.task.rawValue), ["policy.p", "policy.q"], "the tasks")
        try await report(document("p", true), by: row, scene, after: 86_400)
        let after = try await tasks.dueTimes(of: row.id, tenant: scene.tenant)
        try scene.check.equal(after[0].due, scene.now + .seconds(2 * 86_400), "asked later")
        try scene.check.equal(after[1], before[1], "the other policy's task")
    }

    static func keepsTenantsApart(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        try await put(policy("p"), scene)
        try await put(policy("p"), scene, tenant: scene.otherTenant)
        let mine = try await scene.enrol("d-1", groups: [fleet])
        _ = try await scene.enrol("d-1", groups: [fleet], tenant: scene.otherTenant)
        try await report(document("p", false), by: mine, scene)
        let theirs = try await storage.policies(tenant: scene.otherTenant)
        try scene.check.equal(theirs.map(\.counts.unknown), [1], "the neighbour's device")
        try scene.check.equal(
            try await taken(scene, after: 0).map(\.tenant),
            [scene.tenant],
            "whose device is due"
        )
        try await storage.remove(
            PolicyID(rawValue: "p"),
            tenant: scene.otherTenant,
            epoch: scene.epoch
        )
        try scene.check.equal(try await counts(scene), [0, 1, 0, 0], "mine")
    }

    static func refusesOldEpoch(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        try await put(policy("p"), scene)
        let row = try await scene.enrol("d-1", groups: [fleet])
        try await report(document("p", false), by: row, scene)
        let step = try scene.check.some(try await taken(scene, after: 0).first, "a step")
        try await scene.expectFenced("put") { epoch in
            try await storage.put(
                policy("q"),
                activity: activity,
                tenant: scene.tenant,
                epoch: epoch
            )
        }
        try await scene.expectFenced("advance") { epoch in
            try await storage.advance(step, epoch: epoch, at: scene.now)
        }
        try await scene.expectFenced("sweep") { epoch in
            _ = try await storage.sweep(limit: 1, epoch: epoch)
        }
        try await scene.expectFenced("remove") { epoch in
            try await storage.remove(step.policy.id, tenant: scene.tenant, epoch: epoch)
        }
        try scene.check.equal(try await counts(scene), [0, 1, 0, 0], "the counts")
        try scene.check.equal(try await taken(scene, after: 0), [step], "who is due")
    }

    static func survivesReopening(_ scene: StoreScene) async throws {
        let reopen = try scene.needs(\.reopen, "way to be opened again")
        try await put(policy("p"), scene)
        let row = try await scene.enrol("d-1", groups: [fleet])
        try await report(document("p", false), by: row, scene)
        let standings = try await storage(scene).policies(tenant: scene.tenant)
        let steps = try await taken(scene, after: 0)
        let store = try await reopen()
        let again = StoreScene(store: store, epoch: try await store.newEpoch(), check: scene.check)
        try again.check.equal(
            try await storage(again).policies(tenant: again.tenant),
            standings,
            "the policies"
        )
        try again.check.equal(try await taken(again, after: 0), steps, "who is due")
        try await store.close()
    }
}
