#if SQLite
public import ClusterRole
public import DeviceRegistry
internal import SQLiteEngine

extension EmbeddedStore {
    public func profile(of device: DeviceID, tenant: TenantID) async throws -> DeviceProfile? {
        try await file.read { connection in
            guard let record = try connection.device(device, tenant: tenant) else { return nil }
            let location = try connection.locations(
                ofDeviceAt: record.idx,
                before: nil,
                limit: 1
            )
            return DeviceProfile(
                properties: try connection.properties(ofDeviceAt: record.idx)
                    .sorted { $0.name < $1.name },
                location: location.first,
                applications: try connection.applications(ofDeviceAt: record.idx)
                    .sorted { $0.identifier < $1.identifier }
            )
        }
    }

    public func locations(
        of device: DeviceID,
        before: Timestamp?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [DeviceLocation] {
        let limit = pageSize(limit)
        return try await file.read { connection in
            guard let record = try connection.device(device, tenant: tenant) else { return [] }
            return try connection.locations(
                ofDeviceAt: record.idx,
                before: before,
                limit: limit
            )
        }
    }

    public func history(
        of device: DeviceID,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [DeviceHistoryEntry] {
        let limit = pageSize(limit)
        return try await file.read { connection in
            try connection.history(of: device, tenant: tenant, before: before, limit: limit)
        }
    }

    public func devices(
        matching query: DeviceQuery,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> DevicePage {
        let limit = pageSize(limit)
        let secrets = secrets
        return try await file.read { connection in
            let subjects = query.subjects
            var search = CandidateSearch(query.access, tenant: tenant, after: after)
            var found: [Device] = []
            while limit > 0, let candidates = try search.next(connection) {
                for candidate in candidates {
                    guard let record = try connection.device(at: candidate.idx),
                        record.isEnrolled, record.row.tenant == tenant,
                        query.matches(try connection.facts(of: record, for: subjects))
                    else { continue }
                    found.append(try connection.complete(record, secrets: secrets))
                    if found.count == limit {
                        return DevicePage(devices: found, next: candidate.id)
                    }
                }
            }
            return DevicePage(devices: found, next: search.isExhausted ? nil : search.position)
        }
    }

    public func livenessCounts(tenant: TenantID) async throws -> LivenessCounts {
        try await file.read { connection in
            var counts = try connection.silent(tenant: tenant)
            let enrolled = try connection.group(.everyone, tenant: tenant)?.members ?? 0
            counts.active = enrolled - counts.unreachable - counts.inactive
            return counts
        }
    }

    public func contacts(after: Int64?, limit: Int) async throws -> RecordedContactPage {
        let limit = max(1, pageSize(limit))
        return try await file.read { connection in
            let records = try connection.rows(
                "SELECT \(DeviceRecord.columns) FROM device WHERE idx > ? ORDER BY idx LIMIT ?",
                after ?? 0,
                limit
            ) { try DeviceRecord($0) }
            let contacts = try records.filter(\.isEnrolled).map { record in
                let contact = try connection.contact(ofDeviceAt: record.idx)
                let silence = try connection.silence(ofDeviceAt: record.idx)
                return RecordedContact(
                    identity: record.row.identity,
                    lastSeen: contact?.seen ?? record.enrolledAt,
                    liveness: silence?.liveness ?? .active
                )
            }
            return RecordedContactPage(
                contacts: contacts,
                next: records.count == limit ? records.last?.idx : nil
            )
        }
    }

    public func unsettledGroups(
        limit: Int
    ) async throws -> [(tenant: TenantID, group: GroupID)] {
        try await file.read { connection in
            try connection.rows(
                """
                SELECT \(DefinitionRecord.columns) FROM group_query WHERE settled = 0
                ORDER BY group_idx LIMIT ?
                """,
                max(0, limit)
            ) { try DefinitionRecord($0) }
            .compactMap { definition in
                try connection.group(at: definition.groupIdx).map { ($0.tenant, $0.group) }
            }
        }
    }

    private func pageSize(_ limit: Int) -> Int { max(0, min(limit, maximumPageSize)) }
}

/// Finds devices a query may ask for, in order of id, some at a time.
private struct CandidateSearch {
    struct Candidate {
        var id: DeviceID
        var idx: Int64
    }

    /// How many are fetched at once.
    private static let step = 500

    private let access: DeviceQuery.Access
    private let tenant: TenantID
    private var looked = 0
    /// The last candidate handed out.
    private(set) var position: DeviceID?
    private(set) var isExhausted = false

    init(_ access: DeviceQuery.Access, tenant: TenantID, after: DeviceID?) {
        self.access = access
        self.tenant = tenant
        position = after
    }

    /// The next candidates; `nil` after the last, or when a page may look at no more.
    mutating func next(_ connection: SQLConnection) throws -> [Candidate]? {
        guard !isExhausted, looked < maximumCandidatesPerPage else { return nil }
        let found = try fetch(connection, after: position?.rawValue ?? "")
        looked += found.count
        isExhausted = found.count < Self.step
        position = found.last?.id ?? position
        return found
    }

    private func fetch(_ connection: SQLConnection, after: String) throws -> [Candidate] {
        func candidate(_ row: PreparedStatement) -> Candidate {
            Candidate(id: DeviceID(rawValue: row.text(0)), idx: row.int64(1))
        }
        switch access {
        case .members(let group):
            guard let known = try connection.group(group, tenant: tenant) else { return [] }
            return try connection.rows(
                """
                SELECT device_id, device_idx FROM membership
                WHERE group_idx = ? AND device_id > ? AND ended IS NULL
                ORDER BY device_id LIMIT ?
                """,
                known.idx,
                after,
                Self.step,
                read: candidate
            )
        case .property(let name, let value):
            return try connection.rows(
                """
                SELECT device_id, device_idx FROM property
                WHERE tenant = ? AND name = ? AND value = ? AND device_id > ?
                ORDER BY device_id LIMIT ?
                """,
                tenant.rawValue,
                name,
                value.stored,
                after,
                Self.step,
                read: candidate
            )
        case .application(let identifier):
            return try connection.rows(
                """
                SELECT device_id, device_idx FROM application
                WHERE tenant = ? AND identifier = ? AND device_id > ?
                ORDER BY device_id LIMIT ?
                """,
                tenant.rawValue,
                identifier,
                after,
                Self.step,
                read: candidate
            )
        case .recorded(let liveness):
            return try connection.rows(
                """
                SELECT device_id, device_idx FROM silence
                WHERE tenant = ? AND state = ? AND device_id > ?
                ORDER BY device_id LIMIT ?
                """,
                tenant.rawValue,
                liveness.rawValue,
                after,
                Self.step,
                read: candidate
            )
        case .everything:
            return try connection.rows(
                """
                SELECT id, idx FROM device
                WHERE tenant = ? AND current = 1 AND id > ? ORDER BY id LIMIT ?
                """,
                tenant.rawValue,
                after,
                Self.step,
                read: candidate
            )
        }
    }
}
#endif
