#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

/// Entries of devices being applied, in order, inside one transaction.
///
/// What an entry does to an execution is decided by ``ExecutionRules``, what that does to the activity
/// by ``Activity/recount(from:to:at:)``; this only fetches and stores rows. Each activity is fetched
/// once and stored once, however many entries are about it.
struct EntryApplication {
    /// What was done.
    struct Outcome: Sendable {
        var mark: SpoolMark?
        var applied = 0
        var skipped = 0
        var rejected = 0
    }

    /// An activity some entry was about.
    private struct Touched {
        var operation: OperationRecord
        var record: ActivityRecord
        var activity: Activity
        var isChanged = false
    }

    let connection: SQLConnection
    let secrets: SecretBox
    let history: HistoryID
    let spool: SpoolMark?
    /// The number this write has if it logs keys.
    let revision: Int64
    let now: Timestamp
    private(set) var keys: [ChangeKey] = []
    private(set) var outcome = Outcome()
    private var logged: Set<ChangeKey> = []
    private var touched: [OperationID: Touched] = [:]
    private var foundByPolling = 0

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
        self.revision = revision
        self.now = now
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
        try storeTouched()
        try connection.count(.foundByPolling, foundByPolling)
        guard let spool else { return }
        if spool.number > reached || known?.incarnation != spool.incarnation {
            log(.spoolMark(node: spool.node))
            try connection.store(MarkRecord(mark: spool, revision: revision))
            outcome.mark = spool
        } else {
            outcome.mark = known
        }
    }

    private mutating func log(_ key: ChangeKey) {
        if logged.insert(key).inserted { keys.append(key) }
    }

    private mutating func storeTouched() throws {
        for change in touched.values.filter(\.isChanged).sorted(by: {
            $0.record.number < $1.record.number
        }) {
            var record = change.record
            let wasLive = record.isLive
            record.take(change.activity)
            try record.store(connection)
            if wasLive && !record.isLive && record.groupIdx == nil {
                try connection.forgetTargets(record.number)
            }
        }
    }

    private func reject(_ numbered: SpooledEntry, reason: String) throws {
        let entry = numbered.entry
        try connection.run(
            sealedFor: "rejection",
            """
            INSERT INTO rejection (at, node, number, tenant, device, received, entry, reason, sum)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            now.rawValue,
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
        guard let device = try connection.device(identity.device, tenant: identity.tenant) else {
            return "unknown device"
        }
        if device.row.incarnation != identity.incarnation { return "of another enrolment" }
        switch entry.body {
        case .claim(let operation, _, _), .progress(let operation, _, _, _),
            .result(let operation, _, _, _):
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
            try connection.note(information, ofDeviceAt: device.idx)
        case .claim, .progress, .result, .resultChunk: break
        }
        return nil
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
    }

    private mutating func change(
        _ operation: OperationID,
        on device: DeviceRecord,
        by entry: InboxEntry
    ) throws -> String? {
        guard var touched = try touch(operation), touched.operation.tenant == device.row.tenant
        else {
            return "unknown operation"
        }
        let number = touched.record.number
        let row = try connection.execution(number, deviceIdx: device.idx)
        if row == nil, try !addresses(touched, device) { return "not addressed" }
        let change = ExecutionRules.apply(
            entry,
            to: row?.execution(of: operation, on: device.row),
            in: touched.activity.state
        )
        if let reason = change.rejection { return reason }
        guard change.changedRow, let after = change.after else { return nil }
        try ExecutionRecord(after, number: number, deviceIdx: device.idx).store(connection)
        log(
            .execution(
                tenant: device.row.tenant,
                number: number,
                device: device.row.id.rawValue
            )
        )
        let before = touched.activity
        touched.activity.recount(from: change.before?.state, to: after.state, at: now)
        if change.wasLate { touched.activity.answeredLate += 1 }
        if touched.activity.state != before.state || touched.activity.isLive != before.isLive {
            log(.activity(tenant: device.row.tenant, number: number))
        }
        touched.isChanged = true
        self.touched[operation] = touched
        return nil
    }

    private mutating func take(
        _ chunk: ResultChunk,
        of operation: OperationID,
        on device: DeviceRecord,
        receivedAt time: Timestamp
    ) throws -> String? {
        guard let touched = try touch(operation), touched.operation.tenant == device.row.tenant
        else {
            return "unknown operation"
        }
        guard try addresses(touched, device) else { return "not addressed" }
        return try connection.take(
            chunk,
            receivedAt: time,
            number: touched.record.number,
            deviceIdx: device.idx
        )
    }

    private mutating func touch(_ id: OperationID) throws -> Touched? {
        if let known = touched[id] { return known }
        guard let operation = try connection.operation(id),
            let record = try connection.activity(operation.operation.number)
        else { return nil }
        let found = Touched(
            operation: operation,
            record: record,
            activity: record.activity(of: operation)
        )
        touched[id] = found
        return found
    }

    private func addresses(_ touched: Touched, _ device: DeviceRecord) throws -> Bool {
        let number = touched.record.number
        guard let group = touched.operation.groupIdx else {
            return try connection.targetPage(number, holding: device.row.id)?.devices
                .contains(device.idx) ?? false
        }
        return try connection.memberships(ofDeviceAt: device.idx)
            .contains { $0.groupIdx == group && $0.contains(number) }
    }
}

extension InboxEntry {
    /// What is kept of a rejected entry: all but a push registration, which is a secret, and the bytes of
    /// a large result, which would fill the table.
    fileprivate var evidence: [UInt8] {
        switch body {
        case .registration: return []
        case .resultChunk(let operation, var chunk):
            chunk.bytes = []
            var entry = self
            entry.body = .resultChunk(operation, chunk: chunk)
            return entry.encoded()
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
