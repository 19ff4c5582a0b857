#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

/// The newest contact of each device since the last flush. Bounded: beyond the limit, contacts of
/// further devices are dropped, and their next poll makes them anew.
struct ContactBuffer: Sendable {
    private struct Key: Hashable {
        var tenant: TenantID
        var device: DeviceID
    }

    private let maximum: Int
    private var places: [Key: Int] = [:]
    private var contacts: [InboxEntry] = []

    init(maximum: Int) { self.maximum = maximum }

    var count: Int { contacts.count }

    /// Takes a contact.
    ///
    /// - Returns: whether it was kept.
    mutating func onContact(_ entry: InboxEntry) -> Bool {
        let key = Key(tenant: entry.identity.tenant, device: entry.identity.device)
        if let place = places[key] {
            if contacts[place].receivedAt <= entry.receivedAt { contacts[place] = entry }
            return true
        }
        guard contacts.count < maximum else { return false }
        places[key] = contacts.count
        contacts.append(entry)
        return true
    }

    /// Takes everything out, in the order in which devices were first heard.
    mutating func popAll() -> [InboxEntry] {
        defer {
            places.removeAll(keepingCapacity: true)
            contacts.removeAll(keepingCapacity: true)
        }
        return contacts
    }
}

extension InboxEntry {
    var isContact: Bool {
        if case .contact = body { true } else { false }
    }

    var isClaim: Bool {
        if case .claim = body { true } else { false }
    }
}
#endif
