internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

// What is left of devices that were removed long ago.
extension RetentionStorageConformance {
    /// Looks at all devices, a few at a time.
    ///
    /// - Returns: how many went.
    private static func forget(_ scene: StoreScene, removedBefore time: Timestamp) async throws
        -> Int
    {
        let storage = try retention(scene)
        var (count, after): (Int, Int64?) = (0, nil)
        for _ in 0..<100 {
            let step = try await storage.forgetDevices(
                removedBefore: time,
                after: after,
                limit: 2,
                epoch: scene.epoch
            )
            count += step.count
            guard let next = step.next else { return count }
            after = next
        }
        throw scene.check.failure("looking at devices never ends")
    }

    private static func purge(_ operation: DeviceOperation, _ scene: StoreScene) async throws {
        let count = try await retention(scene).purge(
            [operation.activity],
            tenant: scene.tenant,
            epoch: scene.epoch
        )
        try scene.check.equal(count, 1, "\(operation.code) purged")
    }

    static func forgetsDevices(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let rows = try await scene.enrol(["a", "b", "c", "d", "e"], groups: [fleet])
        let named = try await finished(scene, rows[0])
        let grouped = try await scene.enqueue(to: OperationTarget.group(fleet)) { _ in }
        for row in rows[..<4] {
            try await scene.apply(scene.information(row, .properties, #"{"a":1}"#))
            try await scene.change(.remove(row.id))
        }
        let soon = scene.now + .seconds(1)
        try scene.check.equal(
            try await forget(scene, removedBefore: scene.now),
            0,
            "forgotten too early"
        )
        try scene.check.equal(
            try await forget(scene, removedBefore: soon),
            0,
            "forgotten while an open activity addresses them"
        )
        try await scene.change(grouped, .close(.cancelled))
        try await purge(grouped, scene)
        try scene.check.equal(
            try await forget(scene, removedBefore: soon),
            3,
            "forgotten: all but the one whose answer is kept"
        )
        try scene.check.equal(
            try await scene.executions(of: named).map(\.id.device),
            [rows[0].id],
            "the executions of the activity that is kept"
        )
        for row in rows[1..<4] {
            try scene.check.isNil(
                try await scene.devices.device(row.id, tenant: scene.tenant),
                "\(row.id)"
            )
            try scene.check.equal(
                try await scene.devices.history(
                    of: row.id,
                    before: nil,
                    limit: 9,
                    tenant: scene.tenant
                ),
                [],
                "the history of \(row.id)"
            )
        }
        try await purge(named, scene)
        try scene.check.equal(try await forget(scene, removedBefore: soon), 1, "the last one")
        let left = try await scene.devices.devices(
            in: nil,
            after: nil,
            limit: 9,
            tenant: scene.tenant
        )
        try scene.check.equal(left.map(\.row.id), [rows[4].id], "the devices")
        let again = try await scene.enrol("b", groups: [fleet])
        let operation = try await scene.enqueue(to: OperationTarget.group(fleet)) { _ in }
        try scene.check.equal(
            try await scene.executions(of: operation).map(\.id.device),
            [again.id, rows[4].id],
            "a forgotten device enrols as a new one"
        )
    }

    /// A worker that was away since before the removal hears of it all the same.
    static func tellsReplicas(_ scene: StoreScene) async throws {
        let replicas = try scene.needs(\.replicas, "ReplicaSource")
        let row = try await scene.enrol("a")
        _ = try await scene.enrol("z")
        let before = try await replicas.currentRevision()
        try await scene.change(.remove(row.id))
        try scene.check.equal(
            try await forget(scene, removedBefore: .distantFuture),
            1,
            "forgotten"
        )
        let page = try await replicas.page(
            after: before,
            cursor: nil,
            limit: 100,
            for: NodeID(rawValue: "worker-1")
        )
        let told = page.rows.compactMap { if case .device(let row) = $0 { row } else { nil } }
        try scene.check.equal(told.map(\.id), [row.id], "whom the delta tells of")
        try scene.check.equal(told.map(\.state), [.removed], "as what")
    }

    static func forgetsEnrolments(_ scene: StoreScene) async throws {
        _ = try await scene.enrol("a")
        let present = try await scene.enrol("a")
        _ = try await scene.enrol("z")
        _ = try await forget(scene, removedBefore: .distantFuture)
        let found = try await scene.devices.device(present.id, tenant: scene.tenant)
        try scene.check.equal(found?.row, present, "the present enrolment")
        let operation = try await scene.enqueue(to: [present])
        try scene.check.equal(try await scene.offered(to: present), ["lock"], "its work")
        try await scene.apply(scene.result(.completed, of: operation, by: present))
    }
}
