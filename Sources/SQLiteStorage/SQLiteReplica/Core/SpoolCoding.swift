#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

/// How entries stand in the spool's file. Push registrations are sealed, the rest is plain.
///
/// Layout: a byte that says which, then the entry, encoded or encoded and sealed. A sealed entry is
/// bound to the life of its file and to its number: moved to another row, it does not open.
struct SpoolCoding: Sendable {
    /// Part of the file's format.
    private enum Kind: UInt8 {
        case plain = 0x10
        case sealed = 0x11
    }

    /// An entry that has no number yet.
    struct Draft: Sendable {
        var received: Timestamp
        /// What the row will take, for the limits.
        var storedBytes: Int
        fileprivate var bytes: [UInt8]
        fileprivate var isSealed: Bool
    }

    private let secrets: SecretBox
    private let incarnation: IncarnationID
    /// What sealing adds.
    private let overhead: Int

    init(secrets: SecretBox, incarnation: IncarnationID) throws(DeviceRegistryError) {
        self.secrets = secrets
        self.incarnation = incarnation
        overhead = try secrets.seal([]).count
    }

    func draft(_ entry: InboxEntry) -> Draft {
        let bytes = entry.encoded()
        var isSealed = false
        if case .registration = entry.body { isSealed = true }
        return Draft(
            received: entry.receivedAt,
            storedBytes: 1 + bytes.count + (isSealed ? overhead : 0),
            bytes: bytes,
            isSealed: isSealed
        )
    }

    /// The bytes of entry `number`.
    func stored(_ draft: Draft, number: Int64) throws(DeviceRegistryError) -> [UInt8] {
        guard draft.isSealed else { return [Kind.plain.rawValue] + draft.bytes }
        return try [Kind.sealed.rawValue] + secrets.seal(draft.bytes, context: context(number))
    }

    /// Reads back what ``stored(_:number:)`` made.
    ///
    /// - Throws: an error for bytes that are none of it, or do not open with this key at this number.
    func entry(_ stored: [UInt8], number: Int64) throws -> InboxEntry {
        let rest = Array(stored.dropFirst())
        switch stored.first.flatMap(Kind.init(rawValue:)) {
        case .plain:
            return try InboxEntry(decoding: rest)
        case .sealed:
            return try InboxEntry(decoding: secrets.open(rest, context: context(number)))
        case nil:
            throw ClusterRoleError(.malformed, "The spool entry is of an unknown kind.")
        }
    }

    private func context(_ number: Int64) -> [UInt8] {
        var writer = ByteWriter(capacity: 24)
        writer.write(incarnation.bits)
        writer.write(number)
        return writer.bytes
    }
}
#endif
