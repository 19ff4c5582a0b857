public import ClusterRole
internal import DeviceRegistry

/// What a node has accepted and its replica does not contain yet, by device.
///
/// Applied to every read by the rule the manager will use, so that a device is not offered again what
/// it has just been given or has just reported. Entries are dropped when the replica's mark passes
/// them: in the same step in which the replica begins to contain them.
public struct SpoolOverlay: Sendable {
    private struct Key: Hashable, Sendable {
        var tenant: TenantID
        var device: DeviceID
    }

    /// The life of the spool the entries are numbered in.
    public let incarnation: IncarnationID
    private var entries: [Key: [SpooledEntry]] = [:]
    /// All entries in order of number, to find what a mark passes; those before `first` are dropped.
    private var order: [(number: Int64, key: Key)] = []
    private var first = 0

    public init(incarnation: IncarnationID) { self.incarnation = incarnation }

    /// How many entries are held. Contacts, registrations, information and pieces of large results
    /// change no open work and are not held.
    public var count: Int { order.count - first }

    /// Takes entries that have just become durable, in order of number.
    public mutating func accept(_ accepted: [SpooledEntry]) {
        for numbered in accepted where numbered.entry.changesExecution {
            let identity = numbered.entry.identity
            let key = Key(tenant: identity.tenant, device: identity.device)
            entries[key, default: []].append(numbered)
            order.append((numbered.number, key))
        }
    }

    /// Drops the entries a mark has passed. A mark of another spool drops nothing.
    public mutating func drop(through mark: SpoolMark) {
        guard mark.incarnation == incarnation else { return }
        while first < order.count, order[first].number <= mark.number {
            let key = order[first].key
            first += 1
            entries[key]?.removeFirst()
            if entries[key]?.isEmpty ?? false { entries[key] = nil }
        }
        if first > order.count / 2 {
            order.removeFirst(first)
            first = 0
        }
    }

    /// Applies the device's entries to what the replica says is open for it.
    public func apply(to work: inout OpenWork) {
        let key = Key(tenant: work.device.tenant, device: work.device.id)
        for numbered in entries[key] ?? [] { work.apply(numbered.entry) }
    }
}
