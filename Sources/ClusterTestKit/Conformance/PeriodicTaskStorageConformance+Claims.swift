internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

extension PeriodicTaskStorageConformance {
    static func claimsInOrder(_ scene: StoreScene) async throws {
        let names = (0..<20).map { "d-\($0)" }
        _ = try await scene.enrol(names, groups: [fleet])
        let one = task("a", scene)
        try await put(one, scene)
        try await spreadAll(scene)
        let storage = try storage(scene)
        var left = try await dueTimes(names, scene).sorted {
            ($0.value, $0.key) < ($1.value, $1.key)
        }
        try scene.check.equal(left.count, 20, "devices with a due time")
        let now = 1_500
        while !left.isEmpty {
            let steps = try await claim(scene, after: now, limit: 7)
            let expected = left.prefix(7).map { DeviceID(rawValue: $0.key) }.sorted()
            try scene.check.equal(steps.map(\.devices), [expected], "the longest overdue")
            try scene.check.equal(steps.map(\.task), [one], "the task of the step")
            try scene.check.equal(steps.map(\.tenant), [scene.tenant], "its tenant")
            for (name, due) in left.prefix(7) {
                try scene.check.equal(
                    try await dueTimes([name], scene)[name],
                    one.nextDue(after: due, at: scene.now + .seconds(now)),
                    "the next due time: missed periods are made up by one"
                )
            }
            left.removeFirst(min(7, left.count))
            for step in steps { try await storage.finish(step, epoch: scene.epoch) }
        }
        try scene.check.equal(try await claim(scene, after: now), [], "nobody twice")
    }

    static func repeatsUnfinishedSteps(_ scene: StoreScene) async throws {
        _ = try await scene.enrol(["d-1", "d-2", "d-3"], groups: [fleet])
        try await put(task("a", scene), scene)
        try await put(task("b", scene), scene)
        try await spreadAll(scene)
        let storage = try storage(scene)
        let first = try await claim(scene, after: 600)
        try scene.check.equal(first.map(\.task.id.rawValue), ["a", "b"], "a step for each task")
        try scene.check.equal(first.map(\.devices.count), [3, 3], "their devices")
        try await scene.change(.leave(fleet, [DeviceID(rawValue: "d-1")]))
        try scene.check.equal(
            try await claim(scene, after: 9_000),
            first,
            "until they are finished"
        )
        try await storage.finish(first[0], epoch: scene.epoch)
        try scene.check.equal(try await claim(scene, after: 9_000), [first[1]], "what is left")
        try await storage.finish(first[1], epoch: scene.epoch)
        try await storage.finish(first[1], epoch: scene.epoch)
        let second = try await claim(scene, after: 9_000)
        try scene.check.equal(second.map(\.devices.count), [2, 2], "then those due again")
        let keys = Set((first + second).map(\.idempotencyKey))
        try scene.check.equal(keys.count, 4, "no two steps of one key")
    }

    static func claimsItsSlots(_ scene: StoreScene) async throws {
        let names = (0..<40).map { "d-\($0)" }
        _ = try await scene.enrol(names, groups: [fleet])
        try await put(task("a", scene), scene)
        try await spreadAll(scene)
        var seen: [DeviceID] = []
        for slots in [0..<20, 20..<64] as [Range<Int32>] {
            let steps = try await claim(scene, after: 600, in: TaskPartition(slots: slots))
            for device in steps.flatMap(\.devices) {
                let slot = TaskPartition.slot(of: device, tenant: scene.tenant)
                try scene.check.isTrue(slots.contains(slot), "slot \(slot) is in \(slots)")
                seen.append(device)
            }
        }
        try scene.check.equal(
            seen.sorted().map(\.rawValue),
            names.sorted(),
            "every device, by one of the partitions"
        )
    }

    static func removes(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        _ = try await scene.enrol("d-1", groups: [fleet])
        let one = task("a", scene)
        try await put(one, scene)
        try await spreadAll(scene)
        let step = try scene.check.some(try await claim(scene, after: 600).first, "a step")
        for _ in 0..<2 {
            try await storage.remove(one.id, tenant: scene.tenant, epoch: scene.epoch)
        }
        try scene.check.equal(try await storage.tasks(tenant: scene.tenant), [], "the tasks")
        try scene.check.equal(try await dueTimes(["d-1"], scene), [:], "due times")
        try scene.check.equal(try await claim(scene, after: 9_000), [], "what is claimed")
        try await spreadAll(scene)
        try await put(one, scene)
        try await spreadAll(scene)
        let again = try scene.check.some(try await claim(scene, after: 600).first, "a new step")
        try scene.check.isTrue(
            again.idempotencyKey != step.idempotencyKey,
            "a task of the same name has other keys"
        )
    }

    static func keepsTenantsApart(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        _ = try await scene.enrol("d-1", groups: [fleet])
        _ = try await scene.enrol("d-2", groups: [fleet], tenant: scene.otherTenant)
        let mine = task("a", scene)
        let theirs = task("a", scene, frequency: 700)
        try await put(mine, scene)
        try await put(theirs, scene, tenant: scene.otherTenant)
        try await spreadAll(scene)
        try scene.check.equal(try await storage.tasks(tenant: scene.tenant), [mine], "mine")
        let steps = try await claim(scene, after: 700)
        try scene.check.equal(
            steps.map { [$0.tenant.rawValue] + $0.devices.map(\.rawValue) }.sorted {
                $0[0] < $1[0]
            },
            [[scene.tenant.rawValue, "d-1"], [scene.otherTenant.rawValue, "d-2"]],
            "each tenant's devices"
        )
        try await storage.remove(mine.id, tenant: scene.tenant, epoch: scene.epoch)
        try scene.check.equal(
            try await storage.tasks(tenant: scene.otherTenant),
            [theirs],
            "the neighbour's after I removed mine"
        )
    }

    static func refusesOldEpoch(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        _ = try await scene.enrol("d-1", groups: [fleet])
        let one = task("a", scene)
        try await put(one, scene)
        try await spreadAll(scene)
        let step = try scene.check.some(try await claim(scene, after: 600).first, "a step")
        try await scene.expectFenced("put") { epoch in
            try await storage.put(task("b", scene), tenant: scene.tenant, epoch: epoch)
        }
        try await scene.expectFenced("spread") { epoch in
            _ = try await storage.spread(limit: 1, epoch: epoch, at: scene.now)
        }
        try await scene.expectFenced("claim") { epoch in
            _ = try await storage.claim(limit: 1, in: .all, epoch: epoch, at: scene.now)
        }
        try await scene.expectFenced("finish") { epoch in
            try await storage.finish(step, epoch: epoch)
        }
        try await scene.expectFenced("remove") { epoch in
            try await storage.remove(one.id, tenant: scene.tenant, epoch: epoch)
        }
        try scene.check.equal(try await storage.tasks(tenant: scene.tenant), [one], "the tasks")
    }

    static func survivesReopening(_ scene: StoreScene) async throws {
        let reopen = try scene.needs(\.reopen, "way to be opened again")
        let names = ["d-1", "d-2"]
        _ = try await scene.enrol(names, groups: [fleet])
        let one = task("a", scene, satisfiedBy: kind)
        try await put(one, scene)
        try await spreadAll(scene)
        let steps = try await claim(scene, after: 600)
        let times = try await dueTimes(names, scene)
        let store = try await reopen()
        let again = StoreScene(store: store, epoch: try await store.newEpoch(), check: scene.check)
        let reopened = try storage(again)
        try again.check.equal(try await reopened.tasks(tenant: again.tenant), [one], "the tasks")
        try again.check.equal(try await dueTimes(names, again), times, "the due times")
        try again.check.equal(try await claim(again, after: 600), steps, "the unfinished step")
        try await store.close()
    }
}
