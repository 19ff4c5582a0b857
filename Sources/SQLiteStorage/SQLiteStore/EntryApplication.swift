#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

/// Entries of devices being applied, in order, inside one transaction.
///
/// What entries say of executions goes through one ``ExecutionWriter``: each activity is fetched once
/// and stored once, however many entries are about it.
struct EntryApplication {
    /// What was done.
    struct Outcome: Sendable {
        var mark: SpoolMark?
        var applied = 0
        var skipped = 0
        var rejected = 0
    }

    let connection: SQLConnection
    let secrets: SecretBox
    let history: HistoryID
    let spool: SpoolMark?
    private(set) var outcome = Outcome()
    private var writer: ExecutionWriter
    private var foundByPolling = 0
    /// The device of the entry before: a device's entries come together. No entry changes it.
    private var lastDevice: DeviceRecord?
    /// What is known of one device: its open work, of which each item is true until an entry of its
    /// operation is applied, and its row, if that was read in this transaction.
    private var knownWork: OpenWork?
    private var usedItems: [OperationID] = []
    private var knownDevice: DeviceRecord?
    /// Groups defined by queries change with what devices report.
    private var memberships: GroupMemberships

    /// What it logs.
    var draft: ChangeDraft { writer.draft }

    /// How many rejected entries are kept: enough to see what is wrong, not enough to fill the disk.
    static let keptRejections: Int64 = 10_000

    init(
        connection: SQLConnection,
        secrets: SecretBox,
        history: HistoryID,
        spool: SpoolMark?,
        revision: Int64,
        now: Timestamp
    ) {
        self.connection = connection
        self.secrets = secrets
        self.history = history
        self.spool = spool
        writer = ExecutionWriter(connection, revision: revision, now: now)
        memberships = GroupMemberships(connection: connection, number: revision, now: now)
    }

    /// Takes a device's open work, as it is in this transaction, so that it need not be read again.
    ///
    /// - Parameters:
    ///   - work: of the device.
    ///   - record: the device, if it was read in this transaction.
    mutating func take(_ work: OpenWork, of record: DeviceRecord?) {
        knownWork = work
        knownDevice = record
    }

    /// Applies entries of no spool.
    mutating func apply(_ entries: [InboxEntry]) throws {
        for entry in entries {
            if let reason = try apply(entry) {
                outcome.rejected += 1
                try reject(SpooledEntry(number: 0, entry: entry), reason: reason)
            } else {
                outcome.applied += 1
            }
        }
        try finish()
    }

    mutating func apply(_ entries: [SpooledEntry]) throws {
        let known = try spool.flatMap { try connection.mark(of: $0.node)?.mark }
        var reached: Int64 = 0
        if let spool, let known, known.incarnation == spool.incarnation { reached = known.number }
        for numbered in entries {
            if spool != nil && numbered.number <= reached {
                outcome.skipped += 1
                continue
            }
            if let reason = try apply(numbered.entry) {
                outcome.rejected += 1
                try reject(numbered, reason: reason)
            } else {
                outcome.applied += 1
            }
        }
        try finish()
        guard let spool else { return }
        if spool.number > reached || known?.incarnation != spool.incarnation {
            writer.log(.spoolMark(node: spool.node))
            try connection.store(MarkRecord(mark: spool, revision: writer.revision))
            outcome.mark = spool
        } else {
            outcome.mark = known
        }
    }

    private mutating func finish() throws {
        try memberships.storeGroups()
        memberships.keys.forEach { writer.log($0) }
        try writer.finish()
        try connection.count(.foundByPolling, foundByPolling)
    }

    private func reject(_ numbered: SpooledEntry, reason: String) throws {
        let entry = numbered.entry
        try connection.run(
            sealedFor: "rejection",
            """
            INSERT INTO rejection (at, node, number, tenant, device, received, entry, reason, sum)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            writer.now.rawValue,
            spool?.node.rawValue,
            numbered.number,
            entry.identity.tenant.rawValue,
            entry.identity.device.rawValue,
            entry.receivedAt.rawValue,
            entry.evidence,
            reason
        )
        try connection.run(
            "DELETE FROM rejection WHERE idx <= ?",
            connection.lastInsertedRow - EntryApplication.keptRejections
        )
    }

    // MARK: One entry

    /// - Returns: why it cannot be applied, if so.
    private mutating func apply(_ entry: InboxEntry) throws -> String? {
        let identity = entry.identity
        guard let device = try self.device(identity) else { return "unknown device" }
        if device.row.incarnation != identity.incarnation { return "of another enrolment" }
        switch entry.body {
        case .claim(let operation, _, _), .progress(let operation, _, _, _),
            .result(let operation, _, _, _), .superseded(let operation):
            return try change(operation, on: device, by: entry)
        case .resultChunk(let operation, let chunk):
            return try take(chunk, of: operation, on: device, receivedAt: entry.receivedAt)
        case .contact, .registration, .information:
            if !device.isEnrolled { return "no longer enrolled" }
        }
        switch entry.body {
        case .contact(let answeredAt):
            try note(contact: entry.receivedAt, answeredAt: answeredAt, of: device)
        case .registration(let registration):
            try connection.note(
                registration: registration,
                of: device,
                receivedAt: entry.receivedAt,
                secrets: secrets
            )
        case .information(let kind, let body):
            let information = DeviceInformation(
                kind: kind,
                body: body,
                receivedAt: entry.receivedAt
            )
            let changed = try connection.note(information, of: device)
            try connection.satisfyTasks(by: information, of: device)
            try connection.noteCompliance(information, of: device)
            try memberships.reconsider(device, touching: changed)
            try writer.note(memberships.takeStays())
        case .claim, .progress, .result, .superseded, .resultChunk: break
        }
        return nil
    }

    private mutating func device(_ identity: DeviceIdentity) throws -> DeviceRecord? {
        if let knownDevice, knownDevice.row.isOf(identity) { return knownDevice }
        if let lastDevice, lastDevice.row.isOf(identity) { return lastDevice }
        lastDevice = try connection.knownDevice(identity.device, tenant: identity.tenant)
        return lastDevice
    }

    private mutating func note(
        contact time: Timestamp,
        answeredAt: Revision?,
        of device: DeviceRecord
    ) throws {
        let known = try connection.contact(ofDeviceAt: device.idx)
        var contact = known ?? ContactRecord(seen: time, answered: 0)
        contact.seen = max(contact.seen, time)
        if let answeredAt, answeredAt.history == history {
            contact.answered = max(contact.answered, answeredAt.number)
            if let wake = try connection.wake(ofDeviceAt: device.idx),
                wake.number <= answeredAt.number
            {
                try connection.forgetWake(ofDeviceAt: device.idx)
                foundByPolling += 1
            }
        }
        try connection.store(contact, ofDeviceAt: device.idx)
        try connection.endSilence(of: device, at: time)
    }

    private mutating func change(
        _ operation: OperationID,
        on device: DeviceRecord,
        by entry: InboxEntry
    ) throws -> String? {
        guard let known = try writer.touch(operation), known.operation.tenant == device.row.tenant
        else {
            return "unknown operation"
        }
        let row: Execution?
        if let item = takeKnownItem(operation, on: device) {
            row = item.row
        } else {
            row = try writer.row(of: known, on: device)
            if row == nil, try !writer.addresses(known, device) { return "not addressed" }
        }
        let change = ExecutionRules.apply(
            entry,
            to: row,
            of: known.operation.operation,
            in: known.activity.state
        )
        if let reason = change.rejection { return reason }
        try writer.store(change, of: known.number, on: device)
        // What waits for it may have been stopped.
        if known.activity.dependents > 0 { knownWork = nil }
        return nil
    }

    /// What was read of an operation on a device, once.
    private mutating func takeKnownItem(
        _ operation: OperationID,
        on device: DeviceRecord
    ) -> OpenItem? {
        guard let knownWork, knownWork.device == device.row, !usedItems.contains(operation),
            let item = knownWork.items.first(where: { $0.operation.id == operation })
        else { return nil }
        usedItems.append(operation)
        return item
    }

    private mutating func take(
        _ chunk: ResultChunk,
        of operation: OperationID,
        on device: DeviceRecord,
        receivedAt time: Timestamp
    ) throws -> String? {
        guard let known = try writer.touch(operation), known.operation.tenant == device.row.tenant
        else {
            return "unknown operation"
        }
        guard try writer.addresses(known, device) else { return "not addressed" }
        return try writer.connection.take(
            chunk,
            receivedAt: time,
            number: known.number,
            deviceIdx: device.idx
        )
    }
}

extension DeviceRow {
    /// Whether it is the device, in whichever enrolment.
    fileprivate func isOf(_ identity: DeviceIdentity) -> Bool {
        id == identity.device && tenant == identity.tenant
    }
}

extension InboxEntry {
    /// What is kept of a rejected entry: all but a push registration, which is a secret, what a device
    /// told, which may have been erased, and the bytes of a large result, which would fill the table.
    fileprivate var evidence: [UInt8] {
        switch body {
        case .registration: return []
        case .information(let kind, _):
            var bare = self
            bare.body = .information(kind, body: [])
            return bare.encoded()
        case .resultChunk(let operation, var chunk):
            chunk.bytes = []
            var bare = self
            bare.body = .resultChunk(operation, chunk: chunk)
            return bare.encoded()
        default: return encoded()
        }
    }
}

/// A row of table `spool_mark`: how far a spool has been applied, and by which revision.
struct MarkRecord {
    var mark: SpoolMark
    var revision: Int64
}

extension SQLConnection {
    func mark(of node: NodeID) throws -> MarkRecord? {
        try row(
            "SELECT node, incarnation, number, revision, sum FROM spool_mark WHERE node = ?",
            node.rawValue
        ) {
            try $0.verify("spool_mark", sum: 4)
            return MarkRecord(
                mark: SpoolMark(
                    node: NodeID(rawValue: $0.text(0)),
                    incarnation: IncarnationID(bits: try $0.uint128(1)),
                    number: $0.int64(2)
                ),
                revision: $0.int64(3)
            )
        }
    }

    func store(_ record: MarkRecord) throws {
        try run(
            sealedFor: "spool_mark",
            """
            INSERT OR REPLACE INTO spool_mark (node, incarnation, number, revision, sum)
            VALUES (?, ?, ?, ?, ?)
            """,
            record.mark.node.rawValue,
            record.mark.incarnation.bits,
            record.mark.number,
            record.revision
        )
    }
}
#endif
