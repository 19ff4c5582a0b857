#if SQLite
internal import ClusterRole
internal import DeviceRegistry

/// What the manager said about credentials the replica does not hold: rows it named, and refusals.
/// Both are bounded in number and time.
struct CredentialMemory: Sendable {
    struct DeviceKey: Hashable {
        var tenant: TenantID
        var device: DeviceID
    }

    private struct Learned {
        var row: DeviceRow
        var until: Duration
    }

    private let configuration: WorkerReplicaConfiguration
    private var refusedUntil: [CredentialDigest: Duration] = [:]
    private var refusalOrder: [CredentialDigest] = []
    private var nextRefusal = 0
    private var learned: [DeviceKey: Learned] = [:]

    init(configuration: WorkerReplicaConfiguration) { self.configuration = configuration }

    func isRefused(_ digest: CredentialDigest, at now: Duration) -> Bool {
        refusedUntil[digest].map { now < $0 } ?? false
    }

    /// Remembers a refusal in a ring: the oldest makes room.
    mutating func onRefusal(of digest: CredentialDigest, at now: Duration) {
        guard configuration.maximumRefusals > 0 else { return }
        if refusedUntil.updateValue(now + configuration.refusalLifetime, forKey: digest) != nil {
            return
        }
        if refusalOrder.count < configuration.maximumRefusals {
            refusalOrder.append(digest)
        } else {
            refusedUntil[refusalOrder[nextRefusal]] = nil
            refusalOrder[nextRefusal] = digest
            nextRefusal = (nextRefusal + 1) % refusalOrder.count
        }
    }

    /// Remembers a device the manager named.
    mutating func onLearned(_ row: DeviceRow, at now: Duration) {
        if learned.count >= configuration.maximumLearned {
            learned = learned.filter { now < $0.value.until }
        }
        guard learned.count < configuration.maximumLearned else { return }
        learned[DeviceKey(tenant: row.tenant, device: row.id)] = Learned(
            row: row,
            until: now + configuration.learnedLifetime
        )
    }

    /// A device the replica does not hold yet, or holds as an older incarnation.
    func row(of device: DeviceID, tenant: TenantID, at now: Duration) -> DeviceRow? {
        guard !learned.isEmpty,
            let found = learned[DeviceKey(tenant: tenant, device: device)], now < found.until
        else { return nil }
        return found.row
    }

    /// The replica now says something about these devices: what was learned has had its time.
    mutating func onReplicated(_ rows: some Sequence<DeviceRow>) {
        guard !learned.isEmpty || !refusedUntil.isEmpty else { return }
        for row in rows {
            learned[DeviceKey(tenant: row.tenant, device: row.id)] = nil
        }
    }
}
#endif
