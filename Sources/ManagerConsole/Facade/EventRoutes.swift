#if Server
internal import ClusterRole
internal import DeviceRegistry
internal import HTTPHandling
internal import OperationQueue

/// `/events`.
struct EventRoutes: Sendable {
    let events: OperationEvents

    /// The longest a long poll waits: below what proxies allow an answer.
    static let maximumWait = 30

    func add(to table: inout RouteTable) throws {
        try table.get(
            "/events",
            operationID: "listEvents",
            access: .permission(.read),
            perform: list
        )
    }

    @Sendable private func list(_ request: HandlerRequest) async throws -> HandlerResponse {
        let limit = try request.pageLimit(upTo: maximumPageSize)
        let wait = try request.query.integer("wait", in: 0...Self.maximumWait) ?? 0
        let filter = EventFilter(
            codes: try request.queryNames("code", as: OperationCode.self),
            activity: try request.query["activity"].map { try ActivityID(parsing: $0) },
            device: try request.queryName("device", as: DeviceID.self),
            stateChangesOnly: try request.queryCases(
                "changes",
                of: ["all": false, "state": true]
            ).contains(true)
        )
        let page = try await events.page(
            after: try await start(of: request),
            matching: filter,
            limit: limit,
            tenant: request.tenant,
            waitingUpTo: .seconds(wait)
        )
        return try .fresh(
            AdminMessages.EventList(
                events: page.events.map { EventMessage($0) },
                next: page.next.description,
                last: page.isLast
            )
        )
    }

    private func start(of request: HandlerRequest) async throws -> EventPosition {
        if let position = try request.queryPosition("after") { return position }
        if let time = try request.queryTime("since") {
            return try await events.position(before: time)
        }
        return try await events.newest()
    }
}
#endif
