#if Server
internal import ClusterRole
internal import DeviceRegistry
internal import HTTPHandling
internal import OperationQueue

/// `/tasks`.
struct TaskRoutes: Sendable {
    let tasks: any PeriodicTaskStorage
    /// Checks and writes; it is not run here.
    let runner: PeriodicTaskRunner
    let time: any TimeSource

    /// The rarest task. A year: what is rarer is done by hand.
    private static let maximumFrequency = Duration.seconds(366 * 86_400)

    func add(to table: inout RouteTable) throws {
        let read = RouteAccess.permission(.read)
        let administer = RouteAccess.permission(.administer)
        try table.get("/tasks", operationID: "listTasks", access: read, perform: list)
        try table.get("/tasks/{task}", operationID: "getTask", access: read, perform: show)
        try table.put("/tasks/{task}", operationID: "putTask", access: administer, perform: put)
        try table.delete(
            "/tasks/{task}",
            operationID: "removeTask",
            access: administer,
            perform: remove
        )
    }

    @Sendable private func list(_ request: HandlerRequest) async throws -> HandlerResponse {
        let found = try await tasks.tasks(tenant: request.tenant)
        return try .fresh(
            AdminMessages.TaskList(tasks: found.map { AdminMessages.TaskView($0) })
        )
    }

    @Sendable private func show(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("task", as: PeriodicTaskID.self)
        return try .fresh(
            AdminMessages.TaskView(try await task(id, tenant: request.tenant))
        )
    }

    @Sendable private func put(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("task", as: PeriodicTaskID.self)
        let body = try await request.decode(AdminMessages.TaskRequest.self)
        let range = PeriodicTask.minimumFrequency...Self.maximumFrequency
        let wished = PeriodicTask(
            id: id,
            group: try body.group.map { try GroupID(validating: $0) } ?? .everyone,
            code: try body.code.map { try OperationCode(validating: $0) } ?? .deviceInformation,
            payload: try payloadBytes(body.payload, base64: body.payloadBase64),
            frequency: try Duration(seconds: body.frequency, of: "frequency", in: range),
            satisfiedBy: try body.satisfiedBy.map { try InformationKind(validating: $0) },
            freshness: try body.freshness.map {
                try Duration(seconds: $0, of: "freshness", in: range)
            },
            begins: time.now()
        )
        let tenant = try request.tenant
        try await runner.schedule(wished, tenant: tenant)
        return try .fresh(AdminMessages.TaskView(try await task(id, tenant: tenant)))
    }

    @Sendable private func remove(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("task", as: PeriodicTaskID.self)
        let tenant = try request.tenant
        _ = try await task(id, tenant: tenant)
        try await runner.remove(id, tenant: tenant)
        return .empty()
    }

    private func task(_ id: PeriodicTaskID, tenant: TenantID) async throws -> PeriodicTask {
        let found = try await tasks.tasks(tenant: tenant).first { $0.id == id }
        guard let found else {
            throw ManagerConsoleError(.unknownTask, "There is no task \(id) in this tenant.")
        }
        return found
    }
}
#endif
