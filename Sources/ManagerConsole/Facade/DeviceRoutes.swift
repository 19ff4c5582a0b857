#if Server
internal import ClusterRole
internal import DeviceRegistry
internal import HTTPHandling

/// `/devices` and `/groups`.
struct DeviceRoutes: Sendable {
    let services: AdminServices.Devices
    let time: any TimeSource

    func add(to table: inout RouteTable) throws {
        let read = RouteAccess.permission(.read)
        let operate = RouteAccess.permission(.operate)
        try table.get("/devices", operationID: "listDevices", access: read, perform: list)
        try table.get("/devices/{device}", operationID: "getDevice", access: read, perform: show)
        try table.delete(
            "/devices/{device}",
            operationID: "removeDevice",
            access: operate,
            perform: remove
        )
        try table.put(
            "/devices/{device}/polling",
            operationID: "setPollingFrequency",
            access: operate,
            perform: setPolling
        )
        try table.put(
            "/devices/{device}/owner",
            operationID: "setOwner",
            access: .permission(.administer),
            perform: setOwner
        )
        try table.get("/groups", operationID: "listGroups", access: read, perform: listGroups)
        try table.put(
            "/groups/{group}/polling",
            operationID: "setGroupPollingFrequency",
            access: operate,
            perform: setGroupPolling
        )
        try table.post(
            "/groups/{group}/members",
            operationID: "changeMembers",
            access: operate,
            perform: changeMembers
        )
    }

    @Sendable private func list(_ request: HandlerRequest) async throws -> HandlerResponse {
        let after = try request.queryName("after", as: DeviceID.self)
        let limit = try request.pageLimit(upTo: maximumPageSize)
        let page: DevicePage
        if let query = try request.deviceQuery() {
            page = try await services.directory.devices(
                matching: query,
                after: after,
                limit: limit,
                tenant: request.tenant
            )
        } else {
            page = try await services.directory.devices(
                in: request.queryName("group", as: GroupID.self),
                after: after,
                limit: limit,
                tenant: request.tenant
            )
        }
        return try .fresh(
            AdminMessages.DeviceList(
                devices: page.devices.map { view($0) },
                next: page.next?.rawValue
            )
        )
    }

    @Sendable private func show(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("device", as: DeviceID.self)
        let tenant = try request.tenant
        var shown = view(try await services.directory.device(id, tenant: tenant))
        let information = try await services.directory.information(of: id, tenant: tenant)
        shown.information = Dictionary(
            information.map { ($0.kind.rawValue, AdminMessages.InformationView($0)) }
        ) { _, last in last }
        return try .fresh(shown)
    }

    @Sendable private func remove(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("device", as: DeviceID.self)
        try await services.administration.remove(
            id,
            erase: request.erasure(),
            by: request.requireIdentity().name,
            tenant: request.tenant
        )
        return .empty()
    }

    @Sendable private func setPolling(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("device", as: DeviceID.self)
        try await services.administration.setPollingFrequency(
            frequency(of: request),
            of: id,
            by: request.requireIdentity().name,
            tenant: request.tenant
        )
        return .empty()
    }

    @Sendable private func setOwner(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("device", as: DeviceID.self)
        let body = try await request.decode(AdminMessages.OwnerRequest.self)
        try await services.administration.setOwner(
            body.owner.map { try OwnerID(validating: $0) },
            of: id,
            by: request.requireIdentity().name,
            tenant: request.tenant
        )
        return .empty()
    }

    @Sendable private func setGroupPolling(
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        let group = try request.parameters.require("group", as: GroupID.self)
        try await services.administration.setPollingFrequency(
            frequency(of: request),
            ofGroup: group,
            tenant: request.tenant
        )
        return .empty()
    }

    private func frequency(of request: HandlerRequest) async throws -> Duration? {
        let body = try await request.decode(AdminMessages.PollingRequest.self)
        let range =
            DeviceAdministration
            .minimumPollingFrequency...DeviceAdministration
            .maximumPollingFrequency
        return try body.frequency.map { try Duration(seconds: $0, of: "frequency", in: range) }
    }

    @Sendable private func listGroups(_ request: HandlerRequest) async throws -> HandlerResponse {
        let groups = try await services.directory.groups(tenant: request.tenant)
        return try .fresh(
            AdminMessages.GroupList(
                groups: groups.map { AdminMessages.GroupView($0) }
            )
        )
    }

    /// Joins, then leaves: two writes, as the registry has them. Each may be repeated.
    @Sendable private func changeMembers(
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        let group = try request.parameters.require("group", as: GroupID.self)
        let body = try await request.decode(AdminMessages.MembersRequest.self)
        let joining = try (body.join ?? []).map { try DeviceID(validating: $0) }
        let leaving = try (body.leave ?? []).map { try DeviceID(validating: $0) }
        guard !joining.isEmpty || !leaving.isEmpty else {
            throw ManagerConsoleError(.invalidField, "Name devices in join or leave.")
        }
        if let both = Set(joining).intersection(leaving).min() {
            throw ManagerConsoleError(.invalidField, "\(both) cannot both join and leave.")
        }
        var changed = 0
        var unknown = 0
        var revision: Revision?
        if !joining.isEmpty {
            let receipt = try await services.administration.join(
                group,
                joining,
                tenant: request.tenant
            )
            changed += receipt.changed
            unknown += receipt.unknown
            revision = receipt.revision
        }
        if !leaving.isEmpty {
            let receipt = try await services.administration.leave(
                group,
                leaving,
                tenant: request.tenant
            )
            changed += receipt.changed
            unknown += receipt.unknown
            revision = receipt.revision
        }
        return try .fresh(
            AdminMessages.MembersAnswer(
                changed: changed,
                unknown: unknown,
                revision: revision?.description ?? ""
            )
        )
    }

    private func view(_ device: Device) -> AdminMessages.DeviceView {
        AdminMessages.DeviceView(
            device,
            liveness: services.liveness.liveness(of: device, at: time.now())
        )
    }
}
#endif
