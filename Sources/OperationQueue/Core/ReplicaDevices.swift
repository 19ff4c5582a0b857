internal import ClusterRole
internal import DeviceRegistry

/// The devices of a ``ReplicaTables``, at dense indices they keep, found by name and by credential.
///
/// A slot takes 80 bytes, a name its own bytes in one pool, each of the two ways to find it about 8.
struct ReplicaDevices: Sendable {
    typealias Index = Int32

    private var slots: [ReplicaTables.Slot] = []
    /// The names of all devices, one behind the other.
    private var names: [UInt8] = []
    private var byName = IndexTable()
    /// Enrolled devices only.
    private var byCredential = IndexTable()

    subscript(index: Index) -> ReplicaTables.Slot {
        get { slots[Int(index)] }
        _modify { yield &slots[Int(index)] }
    }

    func id(at index: Index) -> DeviceID {
        DeviceID(rawValue: String(decoding: names[slots[Int(index)].name], as: UTF8.self))
    }

    // MARK: Names

    func index(of device: DeviceID, tenant: Int32) -> Index? {
        var name = device.rawValue
        return name.withUTF8 { name in
            let bytes = UnsafeRawBufferPointer(name)
            return byName.find(hash: Self.hash(of: bytes, tenant)) { index in
                slots[Int(index)].tenant == tenant
                    && names[slots[Int(index)].name].elementsEqual(bytes)
            }
        }
    }

    mutating func intern(_ device: DeviceID, tenant: Int32) -> Index {
        if let index = index(of: device, tenant: tenant) { return index }
        let index = Index(slots.count)
        let start = names.count
        names.append(contentsOf: device.rawValue.utf8)
        slots.append(ReplicaTables.Slot(name: start..<names.count, tenant: tenant))
        byName.insert(index) { [slots, names] index in
            let slot = slots[Int(index)]
            return names.withUnsafeBytes { names in
                Self.hash(of: UnsafeRawBufferPointer(rebasing: names[slot.name]), slot.tenant)
            }
        }
        return index
    }

    private static func hash(of name: UnsafeRawBufferPointer, _ tenant: Int32) -> Int {
        var hasher = Hasher()
        hasher.combine(tenant)
        hasher.combine(bytes: name)
        return hasher.finalize()
    }

    // MARK: Credentials

    /// The enrolled device with this credential.
    func index(of credential: CredentialDigest) -> Index? {
        byCredential.find(hash: Self.hash(of: credential)) {
            slots[Int($0)].credential == credential
        }
    }

    /// Lets an enrolled device be found by the credential in its slot.
    mutating func addCredential(of index: Index) {
        byCredential.insert(index) { [slots] in Self.hash(of: slots[Int($0)].credential) }
    }

    /// Before its slot changes.
    mutating func removeCredential(of index: Index) {
        byCredential.remove(index) { [slots] in Self.hash(of: slots[Int($0)].credential) }
    }

    /// It is a SHA-256: any part of it is as good as a hash. Nobody chooses tokens.
    private static func hash(of credential: CredentialDigest) -> Int {
        Int(truncatingIfNeeded: credential.low)
    }
}
