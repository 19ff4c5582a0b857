#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

/// A row of table `activity`: what changes while devices answer.
struct ActivityRecord: Equatable {
    var number: Int64
    var groupIdx: Int64?
    var expires: Timestamp?
    var state: ActivityState
    var closedAt: Timestamp?
    var addressed: Int
    var late: Int
    var counts: StateCounts
    /// Whether replicas and open work hold it.
    var isLive: Bool
    var gate: ActivityGate
    var scope: GroupScope
    /// Whether it is open and follows a rollout plan.
    var isRolling: Bool
    /// Names what a newer operation replaces: tenant, key and target.
    var controlKey: String?
    var dependents: Int

    static let columns = """
        number, group_idx, expires, state, closed, addressed, late, counts, live, gate, standing, \
        rolling, control_key, dependents, sum
        """

    init(_ row: PreparedStatement) throws {
        try row.verify("activity", sum: 14)
        guard let state = ActivityState(rawValue: UInt8(truncatingIfNeeded: row.int64(3))),
            let scope = GroupScope(rawValue: UInt8(truncatingIfNeeded: row.int64(10)))
        else {
            throw SQLiteStorageError.corruptRow(in: "activity")
        }
        number = row.int64(0)
        groupIdx = row.optionalInt64(1)
        expires = row.optionalInt64(2).map { Timestamp(rawValue: $0) }
        self.state = state
        closedAt = row.optionalInt64(4).map { Timestamp(rawValue: $0) }
        addressed = row.int(5)
        late = row.int(6)
        counts = try StateCounts(stored: row.blob(7))
        isLive = row.int64(8) == 1
        gate = try ActivityGate(stored: row.blob(9))
        self.scope = scope
        isRolling = row.int64(11) == 1
        controlKey = row.optionalText(12)
        dependents = row.int(13)
    }

    init(_ activity: Activity, groupIdx: Int64?, controlKey: String?) {
        number = activity.operation.number
        self.groupIdx = groupIdx
        expires = activity.operation.expiresAt
        scope = activity.group == nil ? .membersNow : activity.operation.terms.scope
        self.controlKey = controlKey
        state = activity.state
        closedAt = activity.closedAt
        addressed = activity.addressed
        counts = activity.rowCounts
        late = activity.answeredLate
        isLive = activity.isLive
        gate = ActivityGate(activity)
        isRolling = false
        dependents = activity.dependents
        take(activity)
    }

    private static let insertion = StatementText(
        """
        INSERT INTO activity (\(columns))
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (number) DO UPDATE SET state = excluded.state, closed = excluded.closed,
            addressed = excluded.addressed, late = excluded.late, counts = excluded.counts,
            live = excluded.live, gate = excluded.gate, rolling = excluded.rolling,
            dependents = excluded.dependents, sum = excluded.sum
        """
    )

    func store(_ connection: SQLConnection) throws {
        if let groupIdx { connection.remembered.groupWork.forget(groupIdx) }
        try storeCounts(connection)
    }

    /// For a row that has changed in its counts only: which operations of its group are live is still
    /// as it was.
    fileprivate func storeCounts(_ connection: SQLConnection) throws {
        connection.remembered.activities[number] = self
        try connection.store(Self.insertion, sealedFor: "activity") { row in
            try row.add(number)
            try row.add(groupIdx)
            try row.add(expires?.rawValue)
            try row.add(state.rawValue)
            try row.add(closedAt?.rawValue)
            try row.add(addressed)
            try row.add(late)
            try row.add(counts.stored)
            try row.add(isLive)
            try row.add(gate.stored)
            try row.add(scope.rawValue)
            try row.add(isRolling)
            try row.add(controlKey)
            try row.add(dependents)
        }
    }

    /// Whether it is live, was so before, and only columns have changed that no query asks for: such a
    /// row is stored once a group commit, however many devices answer in it.
    func differsInCountsOnly(from before: ActivityRecord) -> Bool {
        guard isLive, before.isLive else { return false }
        var same = before
        same.counts = counts
        same.addressed = addressed
        same.late = late
        same.dependents = dependents
        return same == self
    }

    /// The activity as the vocabulary has it.
    func activity(of operation: OperationRecord) -> Activity {
        Activity(
            tenant: operation.tenant,
            operation: operation.operation,
            group: operation.group,
            initiator: operation.initiator,
            state: state,
            closedAt: closedAt,
            addressed: addressed,
            rowCounts: counts,
            answeredLate: late,
            gate: gate.gate,
            rollout: gate.rollout,
            decidedBy: gate.decidedBy,
            dependents: dependents
        )
    }

    /// Takes over what ``Activity``'s own rules made of it.
    mutating func take(_ activity: Activity) {
        state = activity.state
        closedAt = activity.closedAt
        addressed = activity.addressed
        counts = activity.rowCounts
        late = activity.answeredLate
        isLive = activity.isLive
        gate = ActivityGate(activity)
        isRolling = activity.state == .open && activity.operation.terms.rollout != nil
        dependents = activity.dependents
    }
}

/// An activity that the calls of a group commit leave to be stored.
final class SharedActivity: SharedRow {
    let record: ActivityRecord

    init(_ record: ActivityRecord) { self.record = record }

    func store(_ connection: SQLConnection) throws { try record.storeCounts(connection) }
}

/// To whom an activity may be handed out, how far its rollout has come, and who decided: one column,
/// empty for what everybody gets at once.
struct ActivityGate: Hashable, Sendable {
    var gate = OfferGate()
    var rollout = RolloutProgress()
    var decidedBy = ""

    private static let formatVersion: UInt8 = 1

    init(_ activity: Activity) {
        gate = activity.gate
        rollout = activity.rollout
        decidedBy = activity.decidedBy
    }

    private init() {}

    /// A version byte, then the fields in the order of the declarations.
    var stored: [UInt8] {
        if self == ActivityGate() { return [] }
        var writer = ByteWriter(capacity: 48)
        writer.write(Self.formatVersion)
        writer.write(gate.hold.rawValue)
        writer.write(Int64(gate.ceiling))
        writer.write(Int64(rollout.wave))
        writer.write(optional: rollout.began) { $0.write($1.rawValue) }
        writer.write(optional: rollout.succeeded) { $0.write($1.rawValue) }
        writer.write(Int64(rollout.released))
        writer.write(decidedBy)
        return writer.bytes
    }

    init(stored bytes: [UInt8]) throws {
        self.init()
        if bytes.isEmpty { return }
        var reader = ByteReader(bytes)
        try reader.expectVersion(Self.formatVersion, of: "activity gates")
        guard let hold = OfferHold(rawValue: try reader.readByte()) else {
            throw SQLiteStorageError.corruptRow(in: "activity")
        }
        gate.hold = hold
        gate.ceiling = Int32(truncatingIfNeeded: try reader.readInt64())
        rollout.wave = Int32(truncatingIfNeeded: try reader.readInt64())
        rollout.began = try reader.readOptional { (reader) throws(ClusterRoleError) in
            Timestamp(rawValue: try reader.readInt64())
        }
        rollout.succeeded = try reader.readOptional { (reader) throws(ClusterRoleError) in
            Timestamp(rawValue: try reader.readInt64())
        }
        rollout.released = Int(truncatingIfNeeded: try reader.readInt64())
        decidedBy = try reader.readString()
        try reader.expectEnd()
    }
}

extension StateCounts {
    /// A version byte, then one count a state, in the order of the raw values.
    var stored: [UInt8] {
        var writer = ByteWriter(capacity: 32)
        writer.write(UInt8(1))
        writer.write(array: ExecutionState.allCases) { $0.writeVariable(UInt64(max(0, self[$1]))) }
        return writer.bytes
    }

    init(stored bytes: [UInt8]) throws {
        self.init()
        var reader = ByteReader(bytes)
        try reader.expectVersion(1, of: "activity counts")
        let values = try reader.readArray { (reader) throws(ClusterRoleError) in
            try reader.readVariable()
        }
        for (state, value) in zip(ExecutionState.allCases, values) {
            self[state] = Int(truncatingIfNeeded: value)
        }
    }
}
#endif
