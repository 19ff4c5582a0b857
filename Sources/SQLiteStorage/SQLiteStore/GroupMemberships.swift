#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import SQLiteEngine

/// A row of table `group_query`: what defines a group.
struct DefinitionRecord {
    var groupIdx: Int64
    var tenant: TenantID
    var query: DeviceQuery
    /// The last device that was compared; `nil` before the first.
    var cursor: DeviceID?
    var isSettled: Bool

    static let columns = "group_idx, tenant, query, cursor, settled, sum"

    init(groupIdx: Int64, tenant: TenantID, query: DeviceQuery) {
        self.groupIdx = groupIdx
        self.tenant = tenant
        self.query = query
        isSettled = false
    }

    init(_ row: PreparedStatement) throws {
        try row.verify("group_query", sum: 5)
        groupIdx = row.int64(0)
        tenant = TenantID(rawValue: row.text(1))
        query = try DeviceQuery(parsing: row.text(2))
        cursor = row.optionalText(3).map { DeviceID(rawValue: $0) }
        isSettled = row.int64(4) == 1
    }

    func store(_ connection: SQLConnection) throws {
        try connection.run(
            sealedFor: "group_query",
            """
            INSERT OR REPLACE INTO group_query (group_idx, tenant, query, cursor, settled, sum)
            VALUES (?, ?, ?, ?, ?, ?)
            """,
            groupIdx,
            tenant.rawValue,
            query.description,
            cursor?.rawValue,
            isSettled
        )
    }
}

/// Memberships that begin and end in one transaction. Every one does so in ``begin(of:in:)`` or
/// ``end(_:in:)``.
struct GroupMemberships {
    private struct Place: Hashable {
        var tenant: TenantID
        var group: GroupID
    }

    let connection: SQLConnection
    /// The revision's number, if the transaction logs keys.
    let number: Int64
    let now: Timestamp
    private(set) var keys: [ChangeKey] = []
    /// Stays that began or ended and that operations for joiners have not been told of.
    private var stays: [MembershipRecord] = []
    /// Groups touched; their counts are stored once, by ``storeGroups()``.
    private var groups: [Place: GroupRecord] = [:]
    private var places: [Int64: Place] = [:]
    private var changedGroups: Set<Int64> = []
    private var definitions: [Int64: DefinitionRecord] = [:]
    private var tenantsWithDefinitions: [TenantID: Bool] = [:]

    init(connection: SQLConnection, number: Int64, now: Timestamp) {
        self.connection = connection
        self.number = number
        self.now = now
    }

    mutating func storeGroups() throws {
        for idx in changedGroups.sorted() {
            if let place = places[idx] { try groups[place]?.store(connection) }
        }
        changedGroups = []
    }

    /// The stays that began or ended since the last call: ``ExecutionWriter/note(_:)`` takes them.
    mutating func takeStays() -> [MembershipRecord] {
        defer { stays = [] }
        return stays
    }

    // MARK: Groups

    mutating func known(_ group: GroupID, tenant: TenantID) throws -> GroupRecord? {
        let place = Place(tenant: tenant, group: group)
        if let known = groups[place] { return known }
        guard let stored = try connection.group(group, tenant: tenant) else { return nil }
        keep(stored)
        return stored
    }

    /// The group, made if it is new.
    mutating func record(of group: GroupID, tenant: TenantID) throws -> GroupRecord {
        if let known = try known(group, tenant: tenant) { return known }
        let newest = try connection.row("SELECT max(idx) FROM device_group") { $0.int64(0) } ?? 0
        let made = GroupRecord(idx: newest + 1, tenant: tenant, group: group)
        try made.store(connection)
        keep(made)
        return made
    }

    private mutating func known(at idx: Int64) throws -> GroupRecord? {
        if let place = places[idx] { return groups[place] }
        guard let stored = try connection.group(at: idx) else { return nil }
        keep(stored)
        return stored
    }

    private mutating func keep(_ record: GroupRecord) {
        let place = Place(tenant: record.tenant, group: record.group)
        groups[place] = record
        places[record.idx] = place
    }

    private mutating func count(_ difference: Int, in group: GroupRecord) {
        let place = Place(tenant: group.tenant, group: group.group)
        groups[place]?.members += difference
        changedGroups.insert(group.idx)
    }

    // MARK: Intervals

    /// The one place where a membership begins.
    ///
    /// - Returns: whether the device was not in the group before.
    @discardableResult
    mutating func begin(of device: DeviceRecord, in group: GroupRecord) throws -> Bool {
        guard try connection.openMembership(of: device, in: group) == nil else { return false }
        let membership = MembershipRecord(
            groupIdx: group.idx,
            device: device.row.id,
            joined: number,
            deviceIdx: device.idx
        )
        try membership.store(connection)
        try connection.beginTasks(of: device, in: group, at: now)
        stays.append(membership)
        count(1, in: group)
        log(device.row.id, in: group)
        return true
    }

    /// The one place where a membership ends.
    private mutating func end(_ membership: MembershipRecord, in group: GroupRecord) throws {
        var ended = membership
        ended.ended = number
        try ended.store(connection)
        try connection.endTasks(ofDeviceAt: membership.deviceIdx, in: group)
        try connection.forgetCompliance(ofDeviceAt: membership.deviceIdx, in: group)
        stays.append(ended)
        count(-1, in: group)
        log(membership.device, in: group)
    }

    /// - Returns: whether the device was in the group.
    mutating func end(of device: DeviceRecord, in group: GroupRecord) throws -> Bool {
        guard let membership = try connection.openMembership(of: device, in: group) else {
            return false
        }
        try end(membership, in: group)
        return true
    }

    mutating func endAll(of device: DeviceRecord) throws {
        for membership in try connection.memberships(ofDeviceAt: device.idx)
        where membership.ended == nil {
            guard let group = try known(at: membership.groupIdx) else { continue }
            try end(membership, in: group)
        }
    }

    private mutating func log(_ device: DeviceID, in group: GroupRecord) {
        keys.append(
            .membership(
                tenant: group.tenant,
                group: group.group.rawValue,
                device: device.rawValue
            )
        )
    }

    // MARK: Groups defined by queries

    /// Decides anew on the groups whose queries look at what changed.
    mutating func reconsider(
        _ device: DeviceRecord,
        touching subjects: [DeviceQuery.Subject]
    ) throws {
        let tenant = device.row.tenant
        guard !subjects.isEmpty, try hasDefinitions(tenant) else { return }
        var affected: Set<Int64> = []
        for subject in subjects {
            affected.formUnion(try connection.groups(lookingAt: subject, tenant: tenant))
        }
        for idx in affected.sorted() { try decide(device, onGroupAt: idx) }
    }

    /// Decides on every group of the tenant that a query defines.
    mutating func reconsider(_ device: DeviceRecord) throws {
        guard try hasDefinitions(device.row.tenant) else { return }
        for definition in try connection.definitions(of: device.row.tenant) {
            definitions[definition.groupIdx] = definition
            try decide(device, onGroupAt: definition.groupIdx)
        }
    }

    /// - Returns: whether a membership began or ended.
    @discardableResult
    mutating func decide(_ device: DeviceRecord, onGroupAt idx: Int64) throws -> Bool {
        guard let query = try definition(ofGroupAt: idx)?.query, let group = try known(at: idx)
        else { return false }
        let facts = try connection.facts(of: device, for: query.subjects)
        return query.matches(facts)
            ? try begin(of: device, in: group) : try end(of: device, in: group)
    }

    mutating func definition(ofGroupAt idx: Int64) throws -> DefinitionRecord? {
        if let known = definitions[idx] { return known }
        let found = try connection.definition(ofGroupAt: idx)
        definitions[idx] = found
        return found
    }

    private mutating func hasDefinitions(_ tenant: TenantID) throws -> Bool {
        if let known = tenantsWithDefinitions[tenant] { return known }
        let found =
            try connection.row(
                "SELECT 1 FROM group_query WHERE tenant = ? LIMIT 1",
                tenant.rawValue
            ) { _ in true } ?? false
        tenantsWithDefinitions[tenant] = found
        return found
    }
}

extension SQLConnection {
    func definition(ofGroupAt idx: Int64) throws -> DefinitionRecord? {
        try row("SELECT \(DefinitionRecord.columns) FROM group_query WHERE group_idx = ?", idx) {
            try DefinitionRecord($0)
        }
    }

    func definitions(of tenant: TenantID) throws -> [DefinitionRecord] {
        try rows(
            "SELECT \(DefinitionRecord.columns) FROM group_query WHERE tenant = ? ORDER BY group_idx",
            tenant.rawValue
        ) { try DefinitionRecord($0) }
    }

    /// Groups whose queries look at this.
    func groups(
        lookingAt subject: DeviceQuery.Subject,
        tenant: TenantID
    ) throws -> [Int64] {
        try rows(
            """
            SELECT tenant, subject, group_idx, sum FROM group_subject
            WHERE tenant = ? AND subject = ?
            """,
            tenant.rawValue,
            subject.key
        ) {
            try $0.verify("group_subject", sum: 3)
            return $0.int64(2)
        }
    }

    func openMembership(
        of device: DeviceRecord,
        in group: GroupRecord
    ) throws -> MembershipRecord? {
        try row(
            """
            SELECT \(MembershipRecord.columns) FROM membership
            WHERE group_idx = ? AND device_id = ? AND ended IS NULL
            """,
            group.idx,
            device.row.id.rawValue
        ) { try MembershipRecord($0) }
    }
}
#endif
