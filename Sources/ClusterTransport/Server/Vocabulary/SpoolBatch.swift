#if Server
public import ClusterRole
public import OperationQueue

/// Entries of one spool on their way to the manager, in order.
public struct SpoolBatch: Hashable, Sendable {
    /// The life of the spool file.
    public var incarnation: IncarnationID
    /// The history the worker's replica is of. A manager of another history refuses the batch: its
    /// mark may be lower, and the entries between would be lost.
    public var history: HistoryID
    /// Entries with growing numbers; gaps are entries the worker could not read back.
    public var entries: [SpooledEntry]

    public init(incarnation: IncarnationID, history: HistoryID, entries: [SpooledEntry]) {
        self.incarnation = incarnation
        self.history = history
        self.entries = entries
    }

    /// Version 1: incarnation, history, then each entry's number and its own encoding.
    public func encoded() -> [UInt8] {
        var writer = ByteWriter(capacity: 64 + entries.count * 128)
        writer.write(Self.version)
        writer.write(incarnation.bits)
        writer.write(history.bits)
        writer.write(array: entries) { writer, spooled in
            writer.write(spooled.number)
            writer.write(spooled.entry.encoded())
        }
        return writer.bytes
    }

    /// Decodes ``encoded()``.
    ///
    /// - Parameters:
    ///   - bytes: what a worker sent.
    ///   - maximumEntries: more are refused before they are read.
    /// - Throws: ``ClusterTransportError`` with code `malformed` or `tooLarge`.
    public init(decoding bytes: [UInt8], maximumEntries: Int) throws(ClusterTransportError) {
        do {
            var reader = ByteReader(bytes)
            try reader.expectVersion(Self.version, of: "spool batches")
            incarnation = IncarnationID(bits: try reader.readUInt128())
            history = HistoryID(bits: try reader.readUInt128())
            let count = try reader.readCount(elementSize: 2)
            guard count <= maximumEntries else {
                throw ClusterTransportError(
                    .tooLarge,
                    "A spool batch has at most \(maximumEntries) entries. Send fewer at a time."
                )
            }
            entries = []
            entries.reserveCapacity(count)
            var last: Int64 = 0
            for _ in 0..<count {
                let number = try reader.readInt64()
                guard number > last else {
                    throw ClusterTransportError(.malformed, "Entry numbers must grow from 1.")
                }
                last = number
                let entry = try InboxEntry(decoding: try reader.readBytes())
                entries.append(SpooledEntry(number: number, entry: entry))
            }
            try reader.expectEnd()
        } catch let error as ClusterTransportError {
            throw error
        } catch {
            throw ClusterTransportError(
                .malformed,
                "The spool batch cannot be read: \(error)",
                cause: error
            )
        }
    }

    static let version: UInt8 = 1
}
#endif
