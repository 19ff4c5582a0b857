#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import SQLiteEngine

// Groups that are defined by queries.
extension DeviceChanges {
    mutating func define(_ group: GroupID, as query: DeviceQuery?) throws {
        let known = try memberships.known(group, tenant: tenant)
        let definition = try known.flatMap { try memberships.definition(ofGroupAt: $0.idx) }
        guard let query else {
            guard let known, definition != nil else { return }
            try forgetSubjects(ofGroupAt: known.idx)
            try connection.run("DELETE FROM group_query WHERE group_idx = ?", known.idx)
            receipt.changed = 1
            return
        }
        try checkNesting(query, of: group, at: known?.idx)
        if definition == nil,
            try connection.definitions(of: tenant).count >= maximumDynamicGroups
        {
            throw DeviceRegistryError.tooManyDynamicGroups
        }
        let record = try memberships.record(of: group, tenant: tenant)
        try DefinitionRecord(groupIdx: record.idx, tenant: tenant, query: query)
            .store(connection)
        try forgetSubjects(ofGroupAt: record.idx)
        for subject in query.subjects.map(\.key).sorted() {
            try connection.run(
                sealedFor: "group_subject",
                "INSERT INTO group_subject (tenant, subject, group_idx, sum) VALUES (?, ?, ?, ?)",
                tenant.rawValue,
                subject,
                record.idx
            )
        }
        receipt.changed = 1
        receipt.isSettled = false
    }

    private mutating func checkNesting(
        _ query: DeviceQuery,
        of group: GroupID,
        at idx: Int64?
    ) throws {
        for case .group(let named) in query.subjects.sorted(by: { $0.key < $1.key }) {
            if named == group { throw DeviceRegistryError.namesDynamicGroup(named) }
            guard let known = try memberships.known(named, tenant: tenant) else { continue }
            if try memberships.definition(ofGroupAt: known.idx) != nil {
                throw DeviceRegistryError.namesDynamicGroup(named)
            }
        }
        let others = try connection.groups(lookingAt: .group(group), tenant: tenant)
        let names = try others.filter { $0 != idx }
            .compactMap { try connection.group(at: $0)?.group }
        if let other = names.min() {
            throw DeviceRegistryError.isNamedByDynamicGroup(group, other)
        }
    }

    private func forgetSubjects(ofGroupAt idx: Int64) throws {
        try connection.run("DELETE FROM group_subject WHERE group_idx = ?", idx)
    }

    mutating func evaluate(_ group: GroupID, limit: Int) throws {
        guard let known = try memberships.known(group, tenant: tenant),
            var definition = try memberships.definition(ofGroupAt: known.idx),
            !definition.isSettled
        else { return }
        let limit = max(1, min(limit, maximumPageSize))
        let devices = try connection.rows(
            """
            SELECT \(DeviceRecord.columns) FROM device
            WHERE tenant = ? AND current = 1 AND id > ? ORDER BY id LIMIT ?
            """,
            tenant.rawValue,
            definition.cursor?.rawValue ?? "",
            limit
        ) { try DeviceRecord($0) }
        for device in devices where device.isEnrolled {
            receipt.evaluated += 1
            if try memberships.decide(device, onGroupAt: known.idx) { receipt.changed += 1 }
        }
        if let last = devices.last { definition.cursor = last.row.id }
        definition.isSettled = devices.count < limit
        try definition.store(connection)
        receipt.isSettled = definition.isSettled
    }
}
#endif
