#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

/// The statements of a worker's file. It keeps no state of its own beside the connection.
struct ReplicaFile: Sendable {
    typealias Meta = ReplicaSchema.Meta

    let database: DatabaseFile
    /// The life of the file.
    let incarnation: IncarnationID
    let coding: SpoolCoding

    /// Opens the file, or makes it with `newIncarnation`. It blocks.
    init(
        path: String,
        node: NodeID,
        secrets: SecretBox,
        newIncarnation: IncarnationID,
        options: DatabaseFileOptions
    ) throws {
        database = try DatabaseFile(
            path: path,
            node: node,
            migrations: ReplicaSchema.migrations,
            options: options
        )
        incarnation = try database.writeWhileOpening { connection in
            if let bytes = try connection.metaBytes(Meta.incarnation) {
                var reader = ByteReader(bytes)
                return IncarnationID(bits: try reader.readUInt128())
            }
            var writer = ByteWriter()
            writer.write(newIncarnation.bits)
            try connection.setMetaBytes(Meta.incarnation, writer.bytes)
            return newIncarnation
        }
        coding = try SpoolCoding(secrets: secrets, incarnation: incarnation)
    }

    /// What the file says about the replica in it.
    struct Position: Hashable, Sendable {
        /// Which generation of rows is served.
        var generation: Int64 = 0
        /// `nil`: the next page must be a snapshot.
        var revision: Revision?
        /// When a manager was last heard before the file was written.
        var contactedAt: Timestamp?

        /// Version 1: generation, revision, time.
        func encoded() -> [UInt8] {
            var writer = ByteWriter(capacity: 48)
            writer.write(1 as UInt8)
            writer.write(generation)
            writer.write(optional: revision) {
                $0.write($1.history.bits)
                $0.write($1.number)
            }
            writer.write(optional: contactedAt) { $0.write($1.rawValue) }
            return writer.bytes
        }

        init() {}

        init(decoding bytes: [UInt8]) throws(ClusterRoleError) {
            var reader = ByteReader(bytes)
            try reader.expectVersion(1, of: "replica positions")
            generation = try reader.readInt64()
            revision = try reader.readOptional { reader throws(ClusterRoleError) in
                Revision(
                    history: HistoryID(bits: try reader.readUInt128()),
                    number: try reader.readInt64()
                )
            }
            contactedAt = try reader.readOptional { reader throws(ClusterRoleError) in
                Timestamp(rawValue: try reader.readInt64())
            }
            try reader.expectEnd()
        }
    }

    /// Everything a replica needs to start.
    struct Contents: Sendable {
        var position: Position
        var epoch: Epoch
        var mark: Int64
        /// Made of the rows of the generation that is served; empty without one.
        var image = ReplicaImage()
        /// Entries behind the mark.
        var pending = PendingSummary()
        /// Bytes of the entries up to the mark.
        var retainedBytes = 0
        var damage = ReplicaDamage()
    }

    /// Entries that are not applied yet.
    struct PendingSummary: Sendable {
        /// Those that change executions, in order: what is overlaid.
        var overlaid: [SpooledEntry] = []
        var count = 0
        var bytes = 0
        var damaged = 0
        /// The newest number in the spool.
        var lastNumber: Int64 = 0
    }

    /// Reads everything. It blocks; called once, while opening.
    func load() throws -> Contents {
        try database.writeWhileOpening { connection in
            var contents = Contents(
                position: Position(),
                epoch: Epoch(rawValue: try connection.metaNumber(Meta.epoch)),
                mark: try connection.metaNumber(Meta.mark)
            )
            if let bytes = try connection.metaBytes(Meta.position) {
                contents.position = try Position(decoding: bytes)
            }
            // What an interrupted snapshot left behind. A damaged row may look like that, and hide sound
            // ones behind it: then nothing goes until a snapshot has replaced it all.
            let generation = contents.position.generation
            contents.damage.rows = try Self.damagedRows(except: generation, connection)
            if contents.damage.rows == 0 { try Self.deleteRows(except: generation, connection) }
            try Self.readRows(connection, into: &contents)
            contents.pending = try pending(after: contents.mark, connection)
            contents.damage.entries = contents.pending.damaged
            contents.retainedBytes =
                try connection.row(
                    "SELECT coalesce(sum(length(entry)), 0) FROM spool WHERE number <= ?",
                    contents.mark
                ) { $0.int(0) } ?? 0
            return contents
        }
    }

    /// Rows that are decoded before they are taken into the image: a million at once would leave the
    /// process with several times the memory it needs.
    private static let loadedRows = 1_000

    private static func readRows(
        _ connection: SQLConnection,
        into contents: inout Contents
    ) throws {
        guard let revision = contents.position.revision else { return }
        var page = ReplicaPage(
            content: .snapshotBegins,
            rows: [],
            revision: revision,
            next: ReplicaCursor(token: "more"),
            epoch: contents.epoch
        )
        let sql = """
            SELECT generation, kind, key, body, sum FROM replica WHERE generation = ?
            ORDER BY kind, key
            """
        try connection.withStatement(sql) { statement in
            try statement.bind(contents.position.generation)
            while try statement.step() {
                do {
                    try statement.verify("replica", sum: 4)
                    page.rows.append(try ReplicaRow(decoding: statement.blob(3)))
                } catch {
                    contents.damage.rows += 1
                }
                guard page.rows.count == loadedRows else { continue }
                contents.image.apply(page)
                page.rows.removeAll(keepingCapacity: true)
                page.content = .snapshotContinues
            }
        }
        page.next = nil
        contents.image.apply(page)
    }

    /// Entries behind `mark`: how many there are, and those that are overlaid.
    func pending(after mark: Int64, _ connection: SQLConnection) throws -> PendingSummary {
        var summary = PendingSummary()
        summary.lastNumber = try connection.metaNumber(Meta.lastNumber)
        try connection.withStatement(
            "SELECT number, received, entry, sum FROM spool WHERE number > ? ORDER BY number"
        ) { statement in
            try statement.bind(mark)
            while try statement.step() {
                summary.count += 1
                summary.bytes += statement.withBytes(2) { $0.count }
                guard let spooled = spooledEntry(statement) else {
                    summary.damaged += 1
                    continue
                }
                if spooled.entry.changesExecution { summary.overlaid.append(spooled) }
            }
        }
        return summary
    }

    /// The entry of the present row; `nil` if it is damaged.
    private func spooledEntry(_ statement: PreparedStatement) -> SpooledEntry? {
        do {
            try statement.verify("spool", sum: 3)
            let number = statement.int64(0)
            return SpooledEntry(
                number: number,
                entry: try coding.entry(statement.blob(2), number: number)
            )
        } catch {
            return nil
        }
    }

    /// The next entries behind `number`, passing over damaged ones.
    func entries(
        after number: Int64,
        limit: Int,
        maximumBytes: Int
    ) async throws -> (entries: [SpooledEntry], damaged: [Int64]) {
        try await database.read { connection in
            var entries: [SpooledEntry] = []
            var damaged: [Int64] = []
            var bytes = 0
            try connection.withStatement(
                "SELECT number, received, entry, sum FROM spool WHERE number > ? ORDER BY number"
            ) { statement in
                try statement.bind(number)
                while entries.count < limit, bytes < maximumBytes, try statement.step() {
                    guard let spooled = spooledEntry(statement) else {
                        damaged.append(statement.int64(0))
                        continue
                    }
                    bytes += statement.withBytes(2) { $0.count }
                    // The batch that is sent stays within the limit; one entry is always sent.
                    if bytes > maximumBytes, !entries.isEmpty { break }
                    entries.append(spooled)
                }
            }
            return (entries, damaged)
        }
    }

    /// Appends entries, durably.
    ///
    /// - Returns: the number of the first.
    /// - Parameter numbered: called in order of number, before the commit, with the first one: numbers
    ///   from it on that were seen before have been taken back.
    func append(
        _ entries: [SpoolCoding.Draft],
        numbered: @escaping @Sendable (Int64) -> Void
    ) async throws -> Int64 {
        try await database.write { connection in
            let first = try connection.metaNumber(Meta.lastNumber) + 1
            var number = first
            for entry in entries {
                try connection.run(
                    sealedFor: "spool",
                    "INSERT INTO spool (number, received, entry, sum) VALUES (?, ?, ?, ?)",
                    number,
                    entry.received.rawValue,
                    try coding.stored(entry, number: number)
                )
                number += 1
            }
            try connection.setMetaNumber(Meta.lastNumber, number - 1)
            numbered(first)
            return first
        }
    }

    static func write(_ position: Position, _ connection: SQLConnection) throws {
        try connection.setMetaBytes(Meta.position, position.encoded())
    }
}
#endif
