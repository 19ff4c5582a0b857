#if Server
internal import ClusterRole
internal import DeviceRegistry
internal import HTTPHandling
internal import OperationQueue

/// What administrators do to activities and executions that exist.
struct OperationCommandRoutes: Sendable {
    let operations: AdminServices.Operations
    let devices: AdminServices.Devices

    private typealias Change =
        @Sendable (OperationEnqueuer, ActivityID, String, TenantID) async throws -> Activity

    func add(to table: inout RouteTable) throws {
        let operate = RouteAccess.permission(.operate)
        let changes: [(path: String, operationID: String, change: Change)] = [
            ("approve", "approveActivity", { try await $0.approve($1, by: $2, tenant: $3) }),
            ("reject", "rejectActivity", { try await $0.reject($1, by: $2, tenant: $3) }),
            ("pause", "pauseActivity", { try await $0.pause($1, by: $2, tenant: $3) }),
            ("resume", "resumeActivity", { try await $0.resume($1, by: $2, tenant: $3) }),
        ]
        for (path, operationID, change) in changes {
            try table.post(
                "/activities/{activity}/\(path)",
                operationID: operationID,
                access: operate,
                perform: changing(by: change)
            )
        }
        try table.post(
            "/activities/{activity}/release",
            operationID: "releaseActivity",
            access: operate,
            perform: release
        )
        try table.post(
            "/activities/{activity}/executions/{device}/commands",
            operationID: "commandExecution",
            access: operate,
            perform: command
        )
        try table.post(
            "/devices/{device}/cancel-operations",
            operationID: "cancelDeviceOperations",
            access: operate,
            perform: cancelAll
        )
        if let explainer = operations.explainer {
            try table.get(
                "/activities/{activity}/executions/{device}/explanation",
                operationID: "explainExecution",
                access: .permission(.read)
            ) { request in
                let explanation = try await explainer.explain(
                    request.parameters.require("activity", as: ActivityID.self),
                    on: request.parameters.require("device", as: DeviceID.self),
                    tenant: request.tenant
                )
                return try .fresh(AdminMessages.ExplanationAnswer(explanation))
            }
        }
    }

    private func changing(by change: @escaping Change) -> RouteTable.Action {
        { [enqueuer = operations.enqueuer] request in
            let identity = try request.requireIdentity()
            let id = try request.parameters.require("activity", as: ActivityID.self)
            let activity = try await change(enqueuer, id, identity.name, identity.tenant)
            return try .fresh(AdminMessages.ActivityView(activity))
        }
    }

    @Sendable private func release(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("activity", as: ActivityID.self)
        let body = try await request.decode(AdminMessages.ReleaseShareRequest.self)
        let activity = try await operations.enqueuer.release(
            id,
            toShare: share(ofPercent: body.percent),
            tenant: request.tenant
        )
        return try .fresh(AdminMessages.ActivityView(activity))
    }

    @Sendable private func command(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("activity", as: ActivityID.self)
        let device = try request.parameters.require("device", as: DeviceID.self)
        let tenant = try request.tenant
        let body = try await request.decode(AdminMessages.CommandRequest.self)
        let activity = try await operations.activities.activity(id, tenant: tenant)
        let row = try await devices.directory.device(device, tenant: tenant).row
        let execution = try await operations.enqueuer.perform(
            body.command.command,
            on: ExecutionID(
                operation: activity.operation.id,
                incarnation: row.incarnation,
                device: device
            ),
            ifVersion: body.version,
            tenant: tenant
        )
        return try .fresh(AdminMessages.ExecutionView(execution))
    }

    @Sendable private func cancelAll(_ request: HandlerRequest) async throws -> HandlerResponse {
        let device = try request.parameters.require("device", as: DeviceID.self)
        let count = try await operations.enqueuer.cancelAll(of: device, tenant: request.tenant)
        return try .fresh(AdminMessages.CancelledAnswer(cancelled: count))
    }
}

extension AdminMessages.CommandRequest.Command {
    fileprivate var command: ExecutionCommand {
        switch self {
        case .cancel: .cancel
        case .confirm: .confirm
        case .redeliver: .redeliver
        }
    }
}

extension AdminMessages.ExplanationAnswer {
    init(_ explanation: ExecutionExplanation) {
        self.init(
            execution: explanation.execution.description,
            state: explanation.state.name,
            reasons: explanation.reasons.map { Reason($0) }
        )
    }
}

extension AdminMessages.ExplanationAnswer.Reason {
    fileprivate init(_ reason: ExecutionExplanation.Reason) {
        switch reason {
        case .ended(let state): self.init("ended", "It has ended: \(state.name).")
        case .notEnrolled: self.init("notEnrolled", "The enrolment that was asked is over.")
        case .waits(let wait, let until): self.init("waits", "It waits: \(wait).", until)
        case .superseded(let operation):
            self.init("superseded", "Operation \(operation) is done in its place.")
        case .inHand(let until):
            self.init("inHand", "The device has it and has not answered yet.", until)
        case .cancelRequested(let until):
            self.init("cancelRequested", "The device has not confirmed the cancellation.", until)
        case .behind(let operation, let code):
            self.init("behind", "Operation \(operation) (\(code)) is ahead of it.")
        case .neverSeen: self.init("neverSeen", "The device was never heard.")
        case .offline(let since, let liveness):
            self.init(
                "offline",
                "The device is \(liveness.rawValue); it was last heard at \(since.milliseconds) ms."
            )
        case .wakeFailing(let attempts, let failure, let next):
            self.init(
                "wakeFailing",
                "Pushes to it fail (\(attempts) so far): \(failure).",
                next
            )
        case .wakeWaiting(let due): self.init("wakeWaiting", "A push is on its way out.", due)
        case .notReachableByPush:
            self.init(
                "notReachableByPush",
                "It has no push registration and finds work by polling."
            )
        case .nextPoll: self.init("nextPoll", "Nothing holds it up: the next poll gets it.")
        }
    }

    private init(_ reason: String, _ detail: String, _ until: Timestamp? = nil) {
        self.init(reason: reason, detail: detail, until: until?.milliseconds)
    }
}
#endif
