#if Server
internal import ClusterRole
internal import DeviceRegistry
internal import HTTPHandling
internal import HTTPTypes
internal import OperationQueue

/// `/backups`, `/purge` and `/quota`.
///
/// They concern the store as a whole, so all but reading one's own quota is for the administrators of
/// one tenant: the operators'.
struct KeepingRoutes: Sendable {
    let services: AdminServices.Keeping
    let time: any TimeSource

    func add(to table: inout RouteTable) throws {
        let read = RouteAccess.permission(.read)
        let administer = RouteAccess.permission(.administer)
        try table.post(
            "/backups",
            operationID: "takeBackup",
            access: administer,
            perform: takeBackup
        )
        try table.post("/purge", operationID: "purgeHistory", access: administer, perform: purge)
        try table.get("/quota", operationID: "getQuota", access: read, perform: showQuota)
        try table.put("/quota", operationID: "setQuota", access: administer, perform: setQuota)
    }

    private func requireOperator(_ request: HandlerRequest) throws {
        guard try request.tenant == services.operators else {
            throw ManagerConsoleError(
                .operatorsOnly,
                "This concerns the whole store. Ask those who operate the manager."
            )
        }
    }

    @Sendable private func takeBackup(_ request: HandlerRequest) async throws -> HandlerResponse {
        try requireOperator(request)
        let body = try await request.decode(AdminMessages.BackupRequest.self)
        let backup = try await services.backup(
            services.roots.resolveNewFile(body.path),
            body.replace ?? false
        )
        return try .fresh(
            AdminMessages.BackupAnswer(
                path: backup.path,
                bytes: backup.bytes,
                revision: backup.revision.description,
                takenAt: backup.takenAt.milliseconds,
                rows: backup.rows
            ),
            status: .created
        )
    }

    @Sendable private func purge(_ request: HandlerRequest) async throws -> HandlerResponse {
        try requireOperator(request)
        let body = try await request.decode(AdminMessages.PurgeRequest.self)
        let isDry = body.dryRun ?? false
        let report = try await services.retention.tick(at: time.now(), dryRun: isDry)
        return try .fresh(
            AdminMessages.PurgeAnswer(
                dryRun: isDry,
                activities: report.activities,
                executions: report.executions,
                keptForKey: report.keptForKey,
                more: report.hasMore
            )
        )
    }

    @Sendable private func showQuota(_ request: HandlerRequest) async throws -> HandlerResponse {
        let tenant = try request.tenant
        let usage = try await services.quotas.usage(of: tenant)
        return try .fresh(
            AdminMessages.QuotaAnswer(
                quota: .init(try await services.quotas.quota(of: tenant)),
                devices: usage.devices,
                openActivities: usage.openActivities
            )
        )
    }

    @Sendable private func setQuota(_ request: HandlerRequest) async throws -> HandlerResponse {
        try requireOperator(request)
        let body = try await request.decode(AdminMessages.QuotaRequest.self)
        let tenant = try body.tenant.map { try TenantID(validating: $0) }
        let quota = body.quota.map { TenantQuota($0) }
        guard quota?.isValid ?? true else {
            throw ManagerConsoleError(.invalidField, "The bounds of a quota are not negative.")
        }
        try await services.quotas.setQuota(
            quota,
            of: tenant,
            epoch: services.capability.requireEpoch()
        )
        return .empty()
    }
}

extension AdminMessages.QuotaBody {
    fileprivate init(_ quota: TenantQuota) {
        self.init(
            devices: quota.devices,
            openActivities: quota.openActivities,
            enqueuesPerMinute: quota.enqueuesPerMinute,
            namedOperationsPerDevice: quota.namedOperationsPerDevice
        )
    }
}

extension TenantQuota {
    fileprivate init(_ body: AdminMessages.QuotaBody) {
        self.init(
            devices: body.devices,
            openActivities: body.openActivities,
            enqueuesPerMinute: body.enqueuesPerMinute,
            namedOperationsPerDevice: body.namedOperationsPerDevice
        )
    }
}
#endif
