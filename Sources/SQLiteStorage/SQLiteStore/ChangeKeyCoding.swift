#if SQLite
internal import ClusterRole

/// The binary form of an entry of the revision log: a version byte, the note, then the keys, each a kind
/// and its names. Kinds are never renumbered.
///
/// Version 1, of the first store files, has no note; it is still read.
enum ChangeKeyCoding {
    static let version: UInt8 = 2

    static func encode(_ keys: [ChangeKey], note: ChangeNote?) -> [UInt8] {
        let note = note?.bytes ?? []
        var writer = ByteWriter(capacity: 16 + note.count + keys.count * 32)
        writer.write(version)
        writer.write(note)
        writer.writeVariable(UInt64(keys.count))
        for key in keys { write(&writer, key) }
        return writer.bytes
    }

    private static func write(_ writer: inout ByteWriter, _ key: ChangeKey) {
        switch key {
        case .device(let tenant, let id):
            writer.write(UInt8(1))
            writer.write(tenant.rawValue)
            writer.write(id)
        case .membership(let tenant, let group, let device):
            writer.write(UInt8(2))
            writer.write(tenant.rawValue)
            writer.write(group)
            writer.write(device)
        case .activity(let tenant, let number):
            writer.write(UInt8(3))
            writer.write(tenant.rawValue)
            writer.write(number)
        case .execution(let tenant, let number, let device):
            writer.write(UInt8(4))
            writer.write(tenant.rawValue)
            writer.write(number)
            writer.write(device)
        case .channel(let tenant, let name):
            writer.write(UInt8(5))
            writer.write(tenant.rawValue)
            writer.write(name)
        case .spoolMark(let node):
            writer.write(UInt8(6))
            writer.write(node.rawValue)
        case .member(let node):
            writer.write(UInt8(7))
            writer.write(node.rawValue)
        case .group(let tenant, let name):
            writer.write(UInt8(8))
            writer.write(tenant.rawValue)
            writer.write(name)
        case .sharedState(let namespace, let key):
            writer.write(UInt8(9))
            writer.write(namespace)
            writer.write(key)
        }
    }

    static func decode(_ bytes: [UInt8]) throws -> [ChangeKey] {
        var reader = ByteReader(bytes)
        _ = try readNote(&reader)
        let keys = try reader.readArray(elementSize: 2, read)
        try reader.expectEnd()
        return keys
    }

    /// The note alone, which stands before the keys.
    static func note(in bytes: [UInt8]) throws -> ChangeNote? {
        var reader = ByteReader(bytes)
        return try readNote(&reader)
    }

    private static func readNote(
        _ reader: inout ByteReader
    ) throws(ClusterRoleError) -> ChangeNote? {
        switch try reader.readByte() {
        case 1: return nil
        case version:
            let bytes = try reader.readBytes()
            return bytes.isEmpty ? nil : ChangeNote(bytes: bytes)
        default:
            throw ClusterRoleError(
                .malformed,
                "This build reads versions 1 and 2 of the revision log, no later one. Upgrade it."
            )
        }
    }

    private static func read(
        _ reader: inout ByteReader
    ) throws(ClusterRoleError) -> ChangeKey {
        func tenant(_ reader: inout ByteReader) throws(ClusterRoleError) -> TenantID {
            TenantID(rawValue: try reader.readString())
        }
        switch try reader.readByte() {
        case 1: return .device(tenant: try tenant(&reader), id: try reader.readString())
        case 2:
            return .membership(
                tenant: try tenant(&reader),
                group: try reader.readString(),
                device: try reader.readString()
            )
        case 3: return .activity(tenant: try tenant(&reader), number: try reader.readInt64())
        case 4:
            return .execution(
                tenant: try tenant(&reader),
                number: try reader.readInt64(),
                device: try reader.readString()
            )
        case 5: return .channel(tenant: try tenant(&reader), name: try reader.readString())
        case 6: return .spoolMark(node: NodeID(rawValue: try reader.readString()))
        case 7: return .member(NodeID(rawValue: try reader.readString()))
        case 8: return .group(tenant: try tenant(&reader), name: try reader.readString())
        case 9:
            let namespace = try reader.readString()
            return .sharedState(namespace: namespace, key: try reader.readString())
        default:
            throw ClusterRoleError(
                .malformed,
                "The revision log holds a kind of key this build does not know."
            )
        }
    }
}
#endif
