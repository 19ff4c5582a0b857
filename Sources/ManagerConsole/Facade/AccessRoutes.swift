#if Server
internal import ClusterRole
internal import HTTPHandling
internal import HTTPTypes

/// `/audit` and `/identities`.
struct AccessRoutes: Sendable {
    let services: AdminServices.Access

    func add(to table: inout RouteTable) throws {
        let administer = RouteAccess.permission(.administer)
        try table.get("/audit", operationID: "listAudit", access: administer, perform: listAudit)
        try table.get(
            "/audit/verification",
            operationID: "verifyAudit",
            access: administer,
            perform: verifyAudit
        )
        guard services.identities != nil else { return }
        try table.get(
            "/identities",
            operationID: "listIdentities",
            access: administer,
            perform: listIdentities
        )
        try table.post(
            "/identities",
            operationID: "createIdentity",
            access: administer,
            perform: createIdentity
        )
        try table.delete(
            "/identities/{identity}",
            operationID: "revokeIdentity",
            access: administer,
            perform: revokeIdentity
        )
    }

    // MARK: The audit log

    /// Operators see every tenant's entries and those of nobody; others their own.
    @Sendable private func listAudit(_ request: HandlerRequest) async throws -> HandlerResponse {
        let tenant = try request.tenant
        let outcomes = Dictionary(
            uniqueKeysWithValues: AuditOutcome.allCases.map { ($0.name, $0) }
        )
        let filter = AuditFilter(
            who: request.query["who"],
            since: try request.queryTime("since"),
            outcome: try request.queryCases("outcome", of: outcomes).first,
            operation: request.query["operation"],
            tenant: tenant == services.operators ? nil : tenant
        )
        let page = try await services.trail.reader.page(
            matching: filter,
            before: request.queryNumber("before"),
            limit: request.pageLimit(upTo: 1_000)
        )
        return try .fresh(
            AdminMessages.AuditList(
                entries: page.entries.map { AdminMessages.AuditEntryView($0) },
                next: page.next.map(String.init)
            )
        )
    }

    @Sendable private func verifyAudit(_ request: HandlerRequest) async throws -> HandlerResponse {
        guard try request.tenant == services.operators else {
            throw ManagerConsoleError(
                .operatorsOnly,
                "This concerns the whole store. Ask those who operate the manager."
            )
        }
        let found = try await services.trail.reader.verify()
        return try .fresh(
            AdminMessages.AuditVerificationAnswer(
                isWhole: found.isWhole,
                entries: found.entries,
                head: found.head.description,
                brokenAt: found.brokenAt
            )
        )
    }

    // MARK: Identities

    private func identities() throws -> IdentityAdministration {
        guard let identities = services.identities else {
            throw HTTPHandlingError(.noRoute, "This manager stores no identities.")
        }
        return identities
    }

    @Sendable private func listIdentities(
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        let found = try await identities().directory.identities(tenant: request.tenant)
        return try .fresh(
            AdminMessages.IdentityList(
                identities: found.map { AdminMessages.IdentityView($0) }
            )
        )
    }

    @Sendable private func createIdentity(
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        let creator = try request.requireIdentity()
        let body = try await request.decode(AdminMessages.IdentityRequest.self)
        let name = try IdentityName(validating: body.name)
        let kinds = [IdentityKind.administrator, .user]
        guard let kind = kinds.first(where: { $0.name == body.kind ?? kinds[0].name }) else {
            throw ManagerConsoleError(.invalidField, "The field kind is administrator or user.")
        }
        let wished = body.permissions.map { Set($0.map { Permission(rawValue: $0) }) }
        let range = Duration.seconds(1)...IdentityAdministration.maximumLifetime
        let issued = try await identities().create(
            name,
            kind: kind,
            permissions: wished ?? (kind == .user ? [.own] : []),
            granting: creator.permissions,
            lifetime: body.lifetime.map { try Duration(seconds: $0, of: "lifetime", in: range) },
            by: creator.name,
            tenant: creator.tenant
        )
        return try .fresh(
            AdminMessages.IdentityAnswer(
                identity: AdminMessages.IdentityView(issued.identity),
                token: issued.token
            ),
            status: .created
        )
    }

    @Sendable private func revokeIdentity(
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        let name = try request.parameters.require("identity", as: IdentityName.self)
        try await identities().revoke(name, tenant: request.tenant)
        return .empty()
    }
}

extension AdminMessages.AuditEntryView {
    init(_ entry: AuditEntry) {
        let record = entry.record
        func shown(_ text: String) -> String? { text.isEmpty ? nil : text }
        self.init(
            number: entry.number,
            at: record.at.milliseconds,
            who: shown(record.who),
            kind: record.kind.name,
            tenant: record.tenant?.rawValue,
            operation: record.operation,
            target: shown(record.target),
            peer: shown(record.peer),
            client: shown(record.client),
            outcome: record.outcome.name,
            status: record.status == 0 ? nil : record.status,
            code: shown(record.code),
            revision: shown(record.revision),
            begun: record.begun,
            suppressed: record.suppressed == 0 ? nil : record.suppressed,
            digest: hexadecimal(entry.digest)
        )
    }
}

extension AdminMessages.IdentityView {
    init(_ identity: StoredIdentity) {
        self.init(
            name: identity.name.rawValue,
            kind: identity.kind.name,
            permissions: identity.permissions.map(\.rawValue).sorted(),
            createdAt: identity.createdAt.milliseconds,
            createdBy: identity.createdBy,
            expiresAt: identity.expiresAt?.milliseconds
        )
    }
}
#endif
