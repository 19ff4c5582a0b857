internal import Crypto

/// Binds each entry of an audit log to the one before it.
///
/// A change, an insertion or a deletion in the middle changes every digest behind it, so it is found by
/// computing them again. Who can rewrite all that follows can hide it: note the head elsewhere.
package struct AuditChain: Sendable {
    /// The entry the chain has come to.
    package private(set) var mark: AuditMark

    package init(after mark: AuditMark) { self.mark = mark }

    /// The entry that follows with this record.
    package mutating func onRecord(_ record: AuditRecord) -> AuditEntry {
        let number = mark.number + 1
        let digest = Self.digest(number, record, mark.digest)
        mark = AuditMark(number: number, digest: digest)
        return AuditEntry(number: number, record: record, digest: digest)
    }

    /// Whether an entry is the one that followed when it was written.
    package mutating func onEntry(_ entry: AuditEntry) -> Bool {
        onRecord(entry.record) == entry
    }

    private static func digest(
        _ number: Int64,
        _ record: AuditRecord,
        _ previous: [UInt8]
    ) -> [UInt8] {
        var writer = ByteWriter(capacity: 256)
        writer.write(UInt8(1))
        writer.write(number)
        writer.write(record.at.rawValue)
        writer.write(record.kind.rawValue)
        writer.write(optional: record.tenant) { $0.write($1.rawValue) }
        for text in [
            record.who, record.operation, record.target, record.peer, record.client, record.code,
            record.revision,
        ] {
            writer.write(text)
        }
        writer.write(record.outcome.rawValue)
        writer.write(Int64(record.status))
        writer.write(optional: record.begun) { $0.write($1) }
        writer.write(record.suppressed)
        writer.write(previous)
        return Array(SHA256.hash(data: writer.bytes))
    }
}

/// SHA-256 of a token's UTF-8.
package func tokenDigest(_ token: String) -> [UInt8] { Array(SHA256.hash(data: Array(token.utf8))) }

/// Whether two digests are equal, in a time that does not depend on where they differ.
package func digestsMatch(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    guard left.count == right.count else { return false }
    var difference: UInt8 = 0
    for (mine, theirs) in zip(left, right) { difference |= mine ^ theirs }
    return difference == 0
}
