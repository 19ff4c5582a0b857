#if Server
internal import ClusterRole
internal import DeviceRegistry
internal import HTTPHandling

/// What devices told in typed form, their histories, and groups defined by queries.
struct DeviceFactRoutes: Sendable {
    let services: AdminServices.Devices

    func add(to table: inout RouteTable) throws {
        let read = RouteAccess.permission(.read)
        let operate = RouteAccess.permission(.operate)
        try table.get(
            "/devices/{device}/information",
            operationID: "getInformation",
            access: read,
            perform: information
        )
        try table.get(
            "/devices/{device}/locations",
            operationID: "listLocations",
            access: read,
            perform: locations
        )
        try table.get(
            "/devices/{device}/history",
            operationID: "listHistory",
            access: read,
            perform: history
        )
        try table.put(
            "/groups/{group}/query",
            operationID: "defineGroup",
            access: operate,
            perform: define
        )
        try table.delete(
            "/groups/{group}/query",
            operationID: "undefineGroup",
            access: operate,
            perform: undefine
        )
    }

    @Sendable private func information(
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        let id = try request.parameters.require("device", as: DeviceID.self)
        let profile = try await services.directory.profile(of: id, tenant: request.tenant)
        return try .fresh(AdminMessages.DeviceProfileView(profile))
    }

    @Sendable private func locations(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("device", as: DeviceID.self)
        let limit = try request.pageLimit(upTo: maximumPageSize)
        let found = try await services.directory.locations(
            of: id,
            before: request.queryNumber("before").map { Timestamp(milliseconds: $0) },
            limit: limit,
            tenant: request.tenant
        )
        let last = found.count == limit ? found.last?.receivedAt.milliseconds : nil
        return try .fresh(
            AdminMessages.LocationList(
                locations: found.map { AdminMessages.LocationView($0) },
                next: last.map { String($0) }
            )
        )
    }

    @Sendable private func history(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("device", as: DeviceID.self)
        let limit = try request.pageLimit(upTo: maximumPageSize)
        let found = try await services.directory.history(
            of: id,
            before: request.queryNumber("before"),
            limit: limit,
            tenant: request.tenant
        )
        let last = found.count == limit ? found.last?.number : nil
        return try .fresh(
            AdminMessages.HistoryList(
                entries: found.map { AdminMessages.HistoryEntryView($0) },
                next: last.map { String($0) }
            )
        )
    }

    @Sendable private func define(_ request: HandlerRequest) async throws -> HandlerResponse {
        let group = try request.parameters.require("group", as: GroupID.self)
        let body = try await request.decode(AdminMessages.GroupQueryRequest.self)
        let query = try DeviceQuery(parsing: body.query)
        let receipt = try await services.administration.define(
            group,
            as: query,
            tenant: request.tenant
        )
        return try .fresh(
            AdminMessages.GroupQueryAnswer(
                query: query.description,
                evaluated: receipt.evaluated,
                changed: receipt.changed,
                revision: receipt.revision.description
            )
        )
    }

    @Sendable private func undefine(_ request: HandlerRequest) async throws -> HandlerResponse {
        let group = try request.parameters.require("group", as: GroupID.self)
        try await services.administration.undefine(group, tenant: request.tenant)
        return .empty()
    }
}

extension HandlerRequest {
    /// The devices asked for by the items `query`, `liveness` and `group`; `nil` without the first two.
    func deviceQuery() throws -> DeviceQuery? {
        var parts: [DeviceQuery] = []
        if let text = query["query"] { parts.append(try DeviceQuery(parsing: text)) }
        if let text = query["liveness"] {
            guard let liveness = Liveness(rawValue: text) else {
                throw HTTPHandlingError(
                    .invalidParameter,
                    "The query item liveness is active, unreachable or inactive."
                )
            }
            parts.append(.liveness(liveness))
        }
        if parts.isEmpty { return nil }
        if let group = try queryName("group", as: GroupID.self) {
            parts.append(.member(of: group))
        }
        return parts.count == 1 ? parts[0] : .and(parts)
    }

    /// The item `erase`.
    func erasure() throws -> Erasure {
        switch query["erase"] {
        case nil: return .keepHistory
        case "information": return .information
        case .some:
            throw HTTPHandlingError(
                .invalidParameter,
                "The query item erase is information, or is left out."
            )
        }
    }
}

extension AdminMessages.DeviceProfileView {
    init(_ profile: DeviceProfile) {
        self.init(
            properties: Dictionary(
                profile.properties.map { ($0.name, JSONValue($0.value)) }
            ) { _, last in last },
            location: profile.location.map { AdminMessages.LocationView($0) },
            applications: profile.applications.map {
                AdminMessages.ApplicationView(
                    identifier: $0.identifier,
                    version: $0.version,
                    name: $0.name
                )
            }
        )
    }
}

extension AdminMessages.LocationView {
    init(_ location: DeviceLocation) {
        self.init(
            latitude: location.latitude,
            longitude: location.longitude,
            accuracy: location.accuracy,
            altitude: location.altitude,
            recordedAt: location.recordedAt.milliseconds,
            receivedAt: location.receivedAt.milliseconds
        )
    }
}

extension AdminMessages.HistoryEntryView {
    init(_ entry: DeviceHistoryEntry) {
        self.init(
            number: entry.number,
            at: entry.at.milliseconds,
            who: entry.who,
            what: entry.what.rawValue,
            detail: entry.detail
        )
    }
}

extension AdminMessages.GroupView {
    init(_ summary: GroupSummary) {
        self.init(
            group: summary.group.rawValue,
            members: summary.members,
            query: summary.query?.description,
            isSettled: summary.query == nil ? nil : summary.isSettled,
            pollingFrequency: summary.pollingFrequency.map { Double($0.milliseconds) / 1_000 }
        )
    }
}

extension JSONValue {
    init(_ value: PropertyValue) {
        switch value {
        case .text(let text): self = .string(text)
        case .number(let number):
            self = Int64(exactly: number).map { .integer($0) } ?? .number(number)
        case .flag(let flag): self = .bool(flag)
        }
    }
}
#endif
