internal import ArtifactStore
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import Synchronization

/// Looks whether a cluster that is well again agrees with itself and with what was promised.
struct SimulationChecker: Sendable {
    private let cluster: SimulatedCluster
    private let devices: SimulatedDevices
    private var witness: SimulationWitness { cluster.witness }
    private var store: SimulatedStore { cluster.store }

    init(_ cluster: SimulatedCluster, _ devices: SimulatedDevices) {
        self.cluster = cluster
        self.devices = devices
    }

    // MARK: - Coming to rest

    /// - Returns: one reason why it is not at rest; none when it is.
    func whatDiffers() async -> [String] {
        var reasons: [String] = []
        let open = await devicesWithWork()
        devices.wanted.withLock { $0 = open }
        if let first = open.first { reasons.append("device-\(first) still has work.") }
        let holders = witness.change { $0.holders }.compactMap { $0() }
        if holders.count != 1 { reasons.append("\(holders.count) managers are coordinators.") }
        guard reasons.isEmpty else { return reasons }
        for (index, id) in cluster.workerIDs.enumerated() {
            reasons += await whatDiffers(at: id, cluster.disks[index])
        }
        return reasons
    }

    /// Nothing is enqueued any more, so it is enough to look at those that had some before.
    private func devicesWithWork() async -> [Int] {
        let before = devices.wanted.withLock { $0 } ?? Array(0..<cluster.plan.devices)
        let found = await devicesWithWork(of: before)
        if !found.isEmpty { return found }
        return await devicesWithWork(of: Array(0..<cluster.plan.devices))
    }

    private func devicesWithWork(of looked: [Int]) async -> [Int] {
        let now = store.node.clock.now()
        var found: [Int] = []
        for number in looked {
            let id = DeviceID(rawValue: "device-\(number)")
            let work = try? await store.operations.openWork(for: id, tenant: .standard)
            let isOpen =
                work?.items.contains { item in
                    if item.state.isFinal { return false }
                    // Put off by a clock that was wrong: it comes again when that time has come.
                    guard item.state == .deferred, let until = item.row?.until else { return true }
                    return until <= now + .seconds(60)
                } ?? false
            if isOpen { found.append(number) }
        }
        return found
    }

    private func whatDiffers(at id: NodeID, _ disk: SimulatedDisk<SpoolFile>) async -> [String] {
        let (revision, waiting) = disk.read { ($0.image.revision, $0.pending.count) }
        let newest = store.ledger.revision
        if revision != newest {
            return ["\(id) is at \(revision?.number ?? 0), the store at \(newest.number)."]
        }
        if waiting > 0 { return ["The spool of \(id) has \(waiting) entries."] }
        guard let releases = cluster.plan.releases else { return [] }
        let latest = try? await store.releases.latest(of: releases.channel, tenant: .standard)
        let active = cluster.workers.withLock { $0[id] }?.active
        if let latest, active != latest.release.number {
            let shown = active.map { "\($0)" } ?? "nothing"
            return ["\(id) serves \(shown); the newest release is \(latest.release.number)."]
        }
        return []
    }

    // MARK: - Comparing

    /// Compares all that was promised with what there is.
    func compare() async {
        do {
            let activities = try await compareActivities()
            try await compareResults(activities)
            try await compareTransitions()
            compareSpools()
        } catch {
            witness.fail(.convergence, "The store could not be read: \(error)")
        }
    }

    private func compareActivities() async throws -> [ActivityID: Activity] {
        var byID: [ActivityID: Activity] = [:]
        var payloads: Set<[UInt8]> = []
        var before: Int64?
        while true {
            let page = try await store.operations.activities(
                before: before,
                limit: 100,
                tenant: .standard
            )
            for activity in page {
                byID[activity.id] = activity
                if !payloads.insert(activity.operation.payload).inserted {
                    witness.fail(
                        .enqueuedOnce,
                        "Request \(String(decoding: activity.operation.payload, as: UTF8.self)) was "
                            + "enqueued twice."
                    )
                }
                try await compareCounts(of: activity)
            }
            guard let last = page.last else { break }
            before = last.operation.number
        }
        let missing = witness.change { $0.enqueued }.filter { byID[$0.value.activity] == nil }
        if let key = missing.keys.min() {
            witness.fail(.enqueuedOnce, "The request \(key) was acknowledged and is not there.")
        }
        return byID
    }

    /// The kept counters against the rows.
    private func compareCounts(of activity: Activity) async throws {
        var counted = StateCounts()
        var after: DeviceID?
        while true {
            let page = try await store.operations.executions(
                of: activity.id,
                after: after,
                limit: 200,
                tenant: .standard
            )
            for execution in page { counted[execution.state] += 1 }
            guard let last = page.last, page.count == 200 else { break }
            after = last.id.device
        }
        for state in ExecutionState.allCases where counted[state] != activity.counts[state] {
            witness.fail(
                .resultsAppliedOnce,
                "Operation \(activity.operation.number) counts \(activity.counts[state]) as "
                    + "\(state.name); there are \(counted[state])."
            )
        }
    }

    private func compareResults(_ activities: [ActivityID: Activity]) async throws {
        var byOperation: [OperationID: Activity] = [:]
        for activity in activities.values { byOperation[activity.operation.id] = activity }
        for result in witness.change({ $0.acknowledged }) {
            guard let activity = byOperation[result.id.operation] else {
                witness.fail(.resultsKept, "The operation of \(result.id) is gone.")
                continue
            }
            let row = try await store.operations.execution(result.id, tenant: .standard)
            let isKept = row?.detail == result.detail || row?.lateAnswer == result.detail
            if !isKept, activity.state != .cancelled || row?.state.isFinal != true {
                witness.fail(
                    .resultsKept,
                    "\(result.id.device) was told at event \(result.by) that its answer to operation "
                        + "\(activity.operation.number) is kept; it is not there."
                )
            }
        }
    }

    /// The log of transitions: no execution becomes final twice.
    private func compareTransitions() async throws {
        var after = Revision(history: store.ledger.revision.history, number: 0)
        var final: [ExecutionKey: ExecutionState] = [:]
        while true {
            let page = try await store.operations.events(
                after: after,
                limit: 500,
                tenant: .standard
            )
            for event in page.events {
                guard case .execution(let device, let from, let to, _) = event.change else {
                    continue
                }
                let key = ExecutionKey(number: event.number, device: device)
                if let known = final[key], known != to {
                    witness.fail(
                        .oneFinalState,
                        "Operation \(event.number) on \(device) was \(known.name), and is \(to.name)."
                    )
                }
                if to.isFinal, from != to, final[key] != nil {
                    witness.fail(
                        .resultsAppliedOnce,
                        "Operation \(event.number) on \(device) became final twice."
                    )
                }
                if to.isFinal { final[key] = to }
            }
            if page.isLast { return }
            after = page.reached
        }
    }

    private struct ExecutionKey: Hashable {
        var number: Int64
        var device: DeviceID
    }

    private func compareSpools() {
        let seen = witness.change { $0.spools }
        for (index, disk) in cluster.disks.enumerated() {
            let (incarnation, last, waiting) = disk.read {
                ($0.incarnation, $0.lastNumber, Int64($0.pending.count))
            }
            let applied = seen[incarnation]?.applied ?? 0
            // What a device said while all this was compared may still wait.
            if !(last - waiting...last).contains(applied) {
                witness.fail(
                    applied > last ? .resultsAppliedOnce : .resultsKept,
                    "Of the \(last) entries of \(cluster.workerIDs[index]) \(applied) were applied."
                )
            }
        }
    }
}
