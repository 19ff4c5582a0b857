#if Server
internal import ClusterMembership
internal import ClusterRole
internal import HTTPHandling

/// `/nodes/{node}`: its mode, and whether it is there.
struct NodeRoutes: Sendable {
    let cluster: AdminServices.Cluster

    func add(to table: inout RouteTable) throws {
        if let keeper = cluster.keeper {
            try table.put(
                "/nodes/{node}/mode",
                operationID: "putNodeMode",
                access: .permission(.administer)
            ) { try await setMode($0, keeper) }
        }
        if let probe = cluster.probe {
            try table.post(
                "/nodes/{node}/probe",
                operationID: "probeNode",
                access: .permission(.operate)
            ) { try await ask($0, probe) }
        }
    }

    private func setMode(
        _ request: HandlerRequest,
        _ keeper: @Sendable () -> ClusterMembersWriter?
    ) async throws -> HandlerResponse {
        let member = try await member(request)
        let body = try await request.decode(AdminMessages.NodeModeRequest.self)
        guard let mode = MemberMode(rawValue: body.mode) else {
            throw ManagerConsoleError(
                .invalidField,
                "mode is active, draining or maintenance, not \(body.mode)."
            )
        }
        guard let writer = keeper() else {
            throw ClusterMembershipError(
                .noCoordinator,
                "This manager is not the coordinator now. Ask another, or this one again later.",
                retryAfter: .seconds(1)
            )
        }
        try await writer.ask(member.node, for: mode)
        let changed = try await cluster.members.member(member.node) ?? member
        return try .fresh(
            AdminMessages.NodeView(changed, newest: try await cluster.revisions.current())
        )
    }

    private func ask(
        _ request: HandlerRequest,
        _ probe: MemberProbe
    ) async throws -> HandlerResponse {
        let member = try await member(request)
        let others = request.query["others"] ?? "true"
        guard others == "true" || others == "false" else {
            throw HTTPHandlingError(.invalidParameter, "others is true or false, not \(others).")
        }
        let report = try await probe.probe(member.node, asksOthers: others == "true")
        return try .fresh(AdminMessages.ProbeView(report))
    }

    /// The member that is named, for an operator.
    private func member(_ request: HandlerRequest) async throws -> Member {
        guard try request.tenant == cluster.operators else {
            throw ManagerConsoleError(
                .operatorsOnly,
                "Nodes serve every tenant. Ask those who operate the manager."
            )
        }
        let node = try request.parameters.require("node", as: NodeID.self)
        guard let member = try await cluster.members.member(node) else {
            throw ManagerConsoleError(.unknownNode, "There is no node \(node) in this cluster.")
        }
        return member
    }
}
#endif
