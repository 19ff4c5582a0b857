#if Server
internal import ClusterMembership
internal import ClusterRole
internal import HTTPHandling

/// `/nodes` and `/status`.
struct ClusterRoutes: Sendable {
    let services: AdminServices

    func add(to table: inout RouteTable) throws {
        let read = RouteAccess.permission(.read)
        try table.get("/nodes", operationID: "listNodes", access: read, perform: listNodes)
        try table.get("/status", operationID: "getStatus", access: read, perform: status)
    }

    @Sendable private func listNodes(_ request: HandlerRequest) async throws -> HandlerResponse {
        let newest = try await services.cluster.revisions.current()
        let members = try await services.cluster.nodes(at: newest)
        return try .fresh(
            AdminMessages.NodeList(
                nodes: members.map { AdminMessages.NodeView($0, newest: newest) }
            )
        )
    }

    @Sendable private func status(_ request: HandlerRequest) async throws -> HandlerResponse {
        try .fresh(try await services.status(of: request.tenant))
    }
}
#endif
