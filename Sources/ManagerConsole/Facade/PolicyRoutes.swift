#if Server
internal import ClusterRole
internal import DeviceRegistry
internal import HTTPHandling
internal import OperationQueue

/// `/policies`.
struct PolicyRoutes: Sendable {
    let monitor: PolicyMonitor

    /// The rarest look. A year: what is rarer is done by hand.
    private static let range = PeriodicTask.minimumFrequency...Duration.seconds(366 * 86_400)

    func add(to table: inout RouteTable) throws {
        let read = RouteAccess.permission(.read)
        let administer = RouteAccess.permission(.administer)
        try table.get("/policies", operationID: "listPolicies", access: read, perform: list)
        try table.get("/policies/{policy}", operationID: "getPolicy", access: read, perform: show)
        try table.put(
            "/policies/{policy}",
            operationID: "putPolicy",
            access: administer,
            perform: put
        )
        try table.delete(
            "/policies/{policy}",
            operationID: "removePolicy",
            access: administer,
            perform: remove
        )
        try table.get(
            "/policies/{policy}/devices",
            operationID: "listDevicesOfPolicy",
            access: read,
            perform: listDevices
        )
    }

    @Sendable private func list(_ request: HandlerRequest) async throws -> HandlerResponse {
        let found = try await monitor.policies(tenant: request.tenant)
        return try .fresh(
            AdminMessages.PolicyList(policies: found.map { AdminMessages.PolicyView($0) })
        )
    }

    @Sendable private func show(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("policy", as: PolicyID.self)
        let found = try await monitor.policy(id, tenant: request.tenant)
        return try .fresh(AdminMessages.PolicyView(found))
    }

    @Sendable private func put(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("policy", as: PolicyID.self)
        let body = try await request.decode(AdminMessages.PolicyRequest.self)
        var policy = CompliancePolicy(
            id: id,
            group: try body.group.map { try GroupID(validating: $0) } ?? .everyone,
            code: try body.code.map { try OperationCode(validating: $0) } ?? .policy,
            version: body.version,
            payload: try payloadBytes(body.payload, base64: body.payloadBase64)
        )
        func duration(_ seconds: Double?, _ field: String, _ standard: Duration) throws -> Duration
        {
            try seconds.map { try Duration(seconds: $0, of: field, in: Self.range) } ?? standard
        }
        policy.monitoring = try duration(body.monitoring, "monitoring", policy.monitoring)
        policy.backoff = try duration(body.backoff, "backoff", policy.backoff)
        policy.longestBackoff = try duration(
            body.longestBackoff,
            "longestBackoff",
            max(policy.longestBackoff, policy.backoff)
        )
        policy.maximumTries = body.maximumTries ?? policy.maximumTries
        let standing = try await monitor.put(policy, tenant: request.tenant)
        return try .fresh(AdminMessages.PolicyView(standing))
    }

    @Sendable private func remove(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("policy", as: PolicyID.self)
        try await monitor.remove(id, tenant: request.tenant)
        return .empty()
    }

    @Sendable private func listDevices(_ request: HandlerRequest) async throws -> HandlerResponse {
        let limit = try request.pageLimit(upTo: maximumPageSize)
        let found = try await monitor.devices(
            of: request.parameters.require("policy", as: PolicyID.self),
            in: try state(request.query["state"]),
            after: request.queryName("after", as: DeviceID.self),
            limit: limit,
            tenant: request.tenant
        )
        return try .fresh(
            AdminMessages.ComplianceList(
                devices: found.map { AdminMessages.ComplianceView($0) },
                next: found.count == limit ? found.last?.device.rawValue : nil
            )
        )
    }

    private func state(_ name: String?) throws -> ComplianceState {
        guard let name else { return .violating }
        guard let state = ComplianceState.allCases.first(where: { $0.name == name }) else {
            let names = ComplianceState.allCases.map(\.name).joined(separator: ", ")
            throw HTTPHandlingError(
                .invalidParameter,
                "The query item state is one of \(names)."
            )
        }
        return state
    }
}

extension ComplianceState {
    fileprivate var name: String {
        switch self {
        case .compliant: "compliant"
        case .violating: "violating"
        case .givenUp: "givenUp"
        }
    }
}

extension AdminMessages.PolicyView {
    fileprivate init(_ standing: PolicyStanding) {
        let policy = standing.policy
        let payload = ShownBytes(policy.payload)
        self.init(
            policy: policy.id.rawValue,
            group: policy.group.rawValue,
            code: policy.code.rawValue,
            version: policy.version,
            payload: payload.json,
            payloadBase64: payload.base64,
            monitoring: policy.monitoring.inSeconds,
            backoff: policy.backoff.inSeconds,
            longestBackoff: policy.longestBackoff.inSeconds,
            maximumTries: policy.maximumTries,
            activity: standing.activity.description,
            devices: AdminMessages.ComplianceCountsView(
                compliant: standing.counts.compliant,
                violating: standing.counts.violating,
                givenUp: standing.counts.givenUp,
                unknown: standing.counts.unknown
            )
        )
    }
}

extension AdminMessages.ComplianceView {
    fileprivate init(_ known: DeviceCompliance) {
        self.init(
            device: known.device.rawValue,
            state: known.state.name,
            since: known.since.milliseconds,
            reportedAt: known.reportedAt.milliseconds,
            version: known.version,
            violations: known.violations,
            tries: known.tries,
            next: known.next?.milliseconds
        )
    }
}
#endif
