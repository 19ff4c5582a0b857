public import ClusterRole
public import DeviceRegistry
internal import Synchronization

/// Policies and compliance in memory, atomic with the devices of the same ledger.
public final class InMemoryComplianceStorage: ComplianceStorage {
    private struct Key: Hashable {
        var tenant: TenantID
        var policy: PolicyID
    }

    private struct Entry {
        var policy: CompliancePolicy
        var activity: ActivityID
        var devices: [DeviceID: DeviceCompliance] = [:]
        /// Violating devices and when the policy is applied to them next.
        var next: [DeviceID: Timestamp] = [:]
        var counts = ComplianceCounts()

        mutating func set(_ device: DeviceID, to standing: DeviceCompliance?) {
            if let known = devices[device] { counts[known.state] -= 1 }
            if let standing { counts[standing.state] += 1 }
            devices[device] = standing
            next[device] = standing?.next
        }
    }

    private let ledger: InMemoryLedger
    private let devices: InMemoryDeviceStorage
    private let tasks: InMemoryPeriodicTaskStorage
    /// Taken inside the ledger's lock by writes, alone by reads; never while the devices' lock is held.
    private let state = Mutex<[Key: Entry]>([:])

    /// - Parameters:
    ///   - ledger: the ledger that all in-memory drivers of one store share.
    ///   - devices: the devices of that store; from now on their memberships and reports are followed.
    ///   - tasks: the tasks of that store: a report on a policy satisfies the task that asks for it.
    public init(
        ledger: InMemoryLedger,
        devices: InMemoryDeviceStorage,
        tasks: InMemoryPeriodicTaskStorage
    ) {
        self.ledger = ledger
        self.devices = devices
        self.tasks = tasks
        devices.follow(
            InMemoryDeviceFollower(
                memberships: { [weak self] changes, _ in self?.memberships(changes) },
                information: { [weak self] in self?.told($0, by: $1) }
            )
        )
    }

    // No replica holds compliance, so a change of it takes no revision.
    private func write(epoch: Epoch, _ body: (inout [Key: Entry]) -> Void) throws {
        _ = try ledger.guarded(epoch: epoch) { _ in ([], state.withLock { body(&$0) }) }
    }

    public func put(
        _ policy: CompliancePolicy,
        activity: ActivityID,
        tenant: TenantID,
        epoch: Epoch
    ) async throws {
        try write(epoch: epoch) { entries in
            let key = Key(tenant: tenant, policy: policy.id)
            if let known = entries[key], policy.keepsReports(of: known.policy) {
                entries[key]?.policy = policy
                entries[key]?.activity = activity
            } else {
                entries[key] = Entry(policy: policy, activity: activity)
            }
        }
    }

    public func remove(_ policy: PolicyID, tenant: TenantID, epoch: Epoch) async throws {
        try write(epoch: epoch) { $0[Key(tenant: tenant, policy: policy)] = nil }
    }

    public func policies(tenant: TenantID) async throws -> [PolicyStanding] {
        state.withLock { entries in
            entries.filter { $0.key.tenant == tenant }.values.map { entry in
                var counts = entry.counts
                let members = devices.memberCount(of: entry.policy.group, tenant: tenant) ?? 0
                counts.unknown = max(0, members - counts.known)
                return PolicyStanding(
                    policy: entry.policy,
                    activity: entry.activity,
                    counts: counts
                )
            }
            .sorted { $0.policy.id < $1.policy.id }
        }
    }

    public func devices(
        of policy: PolicyID,
        in wanted: ComplianceState,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [DeviceCompliance] {
        state.withLock { entries in
            let all = entries[Key(tenant: tenant, policy: policy)]?.devices.values
            var page = all?.filter { $0.state == wanted } ?? []
            if let after { page.removeAll { $0.device <= after } }
            page.sort { $0.device < $1.device }
            return Array(page.prefix(max(0, min(limit, maximumPageSize))))
        }
    }

    public func violators(
        at now: Timestamp,
        limit: Int,
        in partition: TaskPartition
    ) async throws -> [ReapplicationStep] {
        state.withLock { entries in
            var due: [(key: Key, standing: DeviceCompliance, next: Timestamp)] = []
            for (key, entry) in entries {
                for (device, next) in entry.next where next <= now {
                    let slot = TaskPartition.slot(of: device, tenant: key.tenant)
                    guard partition.slots.contains(slot), let standing = entry.devices[device]
                    else { continue }
                    due.append((key, standing, next))
                }
            }
            due.sort { ($0.next, $0.standing.device) < ($1.next, $1.standing.device) }
            let taken = Dictionary(grouping: due.prefix(max(0, limit)), by: \.key)
            return taken.keys.sorted { ($0.tenant, $0.policy) < ($1.tenant, $1.policy) }
                .compactMap { key in
                    guard let policy = entries[key]?.policy, let due = taken[key] else {
                        return nil
                    }
                    return ReapplicationStep(
                        tenant: key.tenant,
                        policy: policy,
                        violators: due.map {
                            .init(device: $0.standing.device, tries: $0.standing.tries)
                        }
                        .sorted { $0.device < $1.device }
                    )
                }
        }
    }

    public func advance(_ step: ReapplicationStep, epoch: Epoch, at now: Timestamp) async throws {
        try write(epoch: epoch) { entries in
            let key = Key(tenant: step.tenant, policy: step.policy.id)
            guard let policy = entries[key]?.policy, policy.keepsReports(of: step.policy) else {
                return
            }
            for violator in step.violators {
                guard let known = entries[key]?.devices[violator.device],
                    known.state == .violating, known.tries == violator.tries
                else { continue }
                let standing = policy.standing(afterReapplying: known, at: now)
                entries[key]?.set(violator.device, to: standing)
            }
        }
    }

    public func sweep(limit: Int, epoch: Epoch) async throws -> Bool {
        try write(epoch: epoch) { _ in }
        return true
    }

    /// The earliest time at which a policy is applied again to any device.
    package var nextDue: Timestamp? {
        state.withLock { $0.values.compactMap { $0.next.values.min() }.min() }
    }

    private func memberships(_ changes: [MembershipChange]) {
        state.withLock { entries in
            for change in changes where change.membership.left != nil {
                for (key, entry) in entries
                where key.tenant == change.tenant && entry.policy.group == change.membership.group {
                    entries[key]?.set(change.membership.device, to: nil)
                }
            }
        }
    }

    private func told(_ information: DeviceInformation, by identity: DeviceIdentity) {
        let reports = information.complianceReports
        guard !reports.isEmpty else { return }
        let memberships = devices.memberships(of: identity.device, tenant: identity.tenant)
        let groups = Set(memberships.filter { $0.left == nil }.map(\.group))
        state.withLock { entries in
            for report in reports {
                let key = Key(tenant: identity.tenant, policy: report.policy)
                guard let entry = entries[key], groups.contains(entry.policy.group) else {
                    continue
                }
                let standing = entry.policy.standing(
                    after: report,
                    of: identity.device,
                    known: entry.devices[identity.device],
                    receivedAt: information.receivedAt
                )
                if let standing { entries[key]?.set(identity.device, to: standing) }
            }
        }
        for report in reports { tasks.told(information.about(report.policy), by: identity) }
    }
}
