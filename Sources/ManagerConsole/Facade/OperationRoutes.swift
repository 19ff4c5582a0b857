#if Server
internal import ClusterRole
internal import DeviceRegistry
internal import HTTPHandling
internal import HTTPTypes
internal import OperationQueue

/// `/operations` and `/activities`.
struct OperationRoutes: Sendable {
    let services: AdminServices.Operations
    let time: any TimeSource

    func add(to table: inout RouteTable) throws {
        let read = RouteAccess.permission(.read)
        let operate = RouteAccess.permission(.operate)
        try table.post(
            "/operations",
            operationID: "enqueueOperation",
            access: operate,
            perform: enqueue
        )
        try table.get("/activities", operationID: "listActivities", access: read, perform: list)
        try table.get(
            "/activities/{activity}",
            operationID: "getActivity",
            access: read,
            perform: show
        )
        try table.get(
            "/activities/{activity}/executions",
            operationID: "listExecutions",
            access: read,
            perform: listExecutions
        )
        try table.get(
            "/devices/{device}/executions",
            operationID: "listDeviceExecutions",
            access: read,
            perform: listOfDevice
        )
        try table.get(
            "/devices/{device}/pending",
            operationID: "listPending",
            access: read,
            perform: listPending
        )
        try table.get(
            "/activities/{activity}/executions/{device}/result",
            operationID: "getLargeResult",
            access: read,
            perform: largeResult
        )
        try table.post(
            "/activities/{activity}/cancel",
            operationID: "cancelActivity",
            access: operate,
            perform: cancel
        )
    }

    @Sendable private func enqueue(_ request: HandlerRequest) async throws -> HandlerResponse {
        let key = try request.idempotencyKey()
        let identity = try request.requireIdentity()
        let body = try await request.decode(AdminMessages.OperationRequest.self)
        var wished = try body.request()
        try body.addTerms(to: &wished, at: time.now(), zones: services.zones)
        wished.idempotencyKey = key
        wished.initiator = identity.name
        let receipt = try await services.enqueuer.enqueue(wished, tenant: identity.tenant)
        return try .fresh(
            AdminMessages.EnqueueAnswer(
                activity: receipt.activity.description,
                number: receipt.number,
                revision: receipt.revision.description,
                addressed: receipt.addressed,
                unknown: receipt.unknown,
                repeated: receipt.wasRepeated
            ),
            status: .accepted
        )
    }

    @Sendable private func list(_ request: HandlerRequest) async throws -> HandlerResponse {
        if request.query["updatedAfter"] != nil || request.query["updatedSince"] != nil {
            return try await listUpdated(request)
        }
        let page = try await services.activities.activities(
            matching: try request.activityFilter(),
            before: request.queryNumber("before"),
            limit: request.pageLimit(upTo: maximumPageSize),
            tenant: request.tenant
        )
        return try .fresh(
            AdminMessages.ActivityList(
                activities: page.activities.map { AdminMessages.ActivityView($0) },
                next: page.next.map(String.init)
            )
        )
    }

    /// What was updated after a position or a time. There is always a `next`: what follows, now or later.
    private func listUpdated(_ request: HandlerRequest) async throws -> HandlerResponse {
        guard let events = services.events else {
            throw HTTPHandlingError(.invalidParameter, "This manager tells no events.")
        }
        let limit = try request.pageLimit(upTo: maximumPageSize)
        let start: EventPosition
        if let position = try request.queryPosition("updatedAfter") {
            start = position
        } else {
            let time = try request.queryTime("updatedSince") ?? .distantPast
            start = try await events.position(before: time)
        }
        let page = try await services.activities.activities(
            updatedAfter: start,
            in: events,
            limit: limit,
            tenant: request.tenant
        )
        return try .fresh(
            AdminMessages.ActivityList(
                activities: page.activities.map { AdminMessages.ActivityView($0) },
                next: page.next.description
            )
        )
    }

    @Sendable private func listOfDevice(
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        let page = try await services.activities.executions(
            on: request.parameters.require("device", as: DeviceID.self),
            before: request.queryNumber("before"),
            limit: request.pageLimit(upTo: maximumPageSize),
            tenant: request.tenant
        )
        return try .fresh(
            AdminMessages.DeviceExecutionList(
                executions: page.executions.map { AdminMessages.DeviceExecutionView($0) },
                next: page.next.map(String.init)
            )
        )
    }

    @Sendable private func listPending(
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        let work = try await services.activities.pendingWork(
            of: request.parameters.require("device", as: DeviceID.self),
            tenant: request.tenant
        )
        return try .fresh(
            AdminMessages.PendingList(
                executions: work.items.map {
                    AdminMessages.DeviceExecutionView($0, on: work.device)
                },
                revision: work.revision.description
            )
        )
    }

    @Sendable private func show(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("activity", as: ActivityID.self)
        let activity = try await services.activities.activity(id, tenant: request.tenant)
        return try .fresh(AdminMessages.ActivityView(activity))
    }

    @Sendable private func listExecutions(
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        let activity = try request.parameters.require("activity", as: ActivityID.self)
        let states = try request.queryCases("state", of: ExecutionState.byName)
        let after = try request.queryName("after", as: DeviceID.self)
        let limit = try request.pageLimit(upTo: maximumPageSize)
        let page =
            states.isEmpty
            ? try await services.activities.executions(
                of: activity,
                after: after,
                limit: limit,
                tenant: request.tenant
            )
            : try await services.activities.executions(
                of: activity,
                in: states,
                after: after,
                limit: limit,
                tenant: request.tenant
            )
        return try .fresh(
            AdminMessages.ExecutionList(
                executions: page.executions.map { AdminMessages.ExecutionView($0) },
                next: page.next?.rawValue
            )
        )
    }

    /// The bytes as the device sent them, a chunk at a time. A chunk that cannot be read breaks the
    /// connection off: the head has promised all of them already.
    @Sendable private func largeResult(_ request: HandlerRequest) async throws -> HandlerResponse {
        let content = try await services.activities.largeResult(
            of: request.parameters.require("activity", as: ActivityID.self),
            on: request.parameters.require("device", as: DeviceID.self),
            tenant: request.tenant
        )
        return HandlerResponse(
            headerFields: [
                .contentType: MediaType.bytes,
                .cacheControl: "no-store",
                .contentDisposition: "attachment",
                .representationDigest: digestField(content.result.digest),
            ],
            body: .stream(content.chunks, length: content.result.bytes)
        )
    }

    @Sendable private func cancel(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("activity", as: ActivityID.self)
        let activity = try await services.enqueuer.cancel(id, tenant: request.tenant)
        return try .fresh(AdminMessages.ActivityView(activity))
    }
}

extension ExecutionState {
    fileprivate static let byName = Dictionary(
        uniqueKeysWithValues: allCases.map { ($0.name, $0) }
    )
}

extension HandlerRequest {
    /// The conditions of the query on activities.
    fileprivate func activityFilter() throws -> ActivityFilter {
        let types = Dictionary(
            uniqueKeysWithValues: OperationType.allCases.map { ($0.rawValue, $0) }
        )
        let states = Dictionary(
            uniqueKeysWithValues: ActivityState.allCases.map { (String(describing: $0), $0) }
        )
        var filter = ActivityFilter(
            codes: try queryNames("code", as: OperationCode.self),
            types: try queryCases("type", of: types),
            states: try queryCases("state", of: states),
            initiator: query["initiator"],
            group: try queryName("group", as: GroupID.self)
        )
        filter.createdFrom = try queryTime("createdFrom")
        filter.createdBefore = try queryTime("createdBefore")
        filter.idempotencyKey = query["idempotencyKey"]
        return filter
    }
}

extension HTTPField.Name {
    fileprivate static let representationDigest = HTTPField.Name("Repr-Digest")!
}

extension AdminMessages.OperationRequest {
    /// The request of this body.
    ///
    /// - Throws: ``ManagerConsoleError`` with code `invalidField`; `ClusterRoleError` with code
    ///   `invalidName`.
    fileprivate func request() throws -> EnqueueRequest {
        let limits = EnqueueLimits()
        var result = EnqueueRequest(
            try OperationCode(validating: code),
            to: try target.resolved(),
            payload: try payloadBytes(payload, base64: payloadBase64)
        )
        if let type {
            guard let known = OperationType(rawValue: type) else {
                let names = OperationType.allCases.map(\.rawValue).joined(separator: ", ")
                throw ManagerConsoleError(.invalidField, "The field type is one of \(names).")
            }
            result.type = known
        }
        result.priority = priority ?? 0
        result.order = order == .strict ? .strict : .skipsWaiting
        result.wake = wake == AdminMessages.OperationRequest.Wake.none ? .none : .push
        result.expiresAfter = try expiresAfter.map {
            try Duration(
                seconds: $0,
                of: "expiresAfter",
                in: .milliseconds(1)...limits.expiresAfter
            )
        }
        if let deliveryLease {
            result.deliveryLease = try Duration(
                seconds: deliveryLease,
                of: "deliveryLease",
                in: .milliseconds(1)...limits.deliveryLease
            )
        }
        return result
    }
}

extension AdminMessages.OperationRequest.Target {
    fileprivate func resolved() throws -> OperationTarget {
        switch (devices, group) {
        case (let names?, nil):
            return .devices(try names.map { try DeviceID(validating: $0) })
        case (nil, let name?):
            return .group(try GroupID(validating: name))
        default:
            throw ManagerConsoleError(
                .invalidField,
                "The field target has either devices or group."
            )
        }
    }
}
#endif
