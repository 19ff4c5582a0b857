#if Server
internal import ClusterRole
internal import DeviceRegistry
internal import HTTPHandling
internal import HTTPTypes
internal import NotificationDispatch
internal import OperationQueue

/// `/webhooks`.
struct WebhookRoutes: Sendable {
    let webhooks: WebhookAdministration

    /// The most dead letters of a page.
    static let maximumLetters = 100

    func add(to table: inout RouteTable) throws {
        let read = RouteAccess.permission(.read)
        let administer = RouteAccess.permission(.administer)
        try table.get("/webhooks", operationID: "listWebhooks", access: read, perform: list)
        try table.post(
            "/webhooks",
            operationID: "addWebhook",
            access: administer,
            perform: subscribe
        )
        try table.get(
            "/webhooks/{webhook}",
            operationID: "getWebhook",
            access: read,
            perform: show
        )
        try table.delete(
            "/webhooks/{webhook}",
            operationID: "removeWebhook",
            access: administer,
            perform: remove
        )
        try table.get(
            "/webhooks/{webhook}/dead-letters",
            operationID: "listDeadLetters",
            access: read,
            perform: listDeadLetters
        )
        try table.post(
            "/webhooks/{webhook}/dead-letters/{letter}/redeliver",
            operationID: "redeliverDeadLetter",
            access: administer,
            perform: redeliver
        )
    }

    @Sendable private func list(_ request: HandlerRequest) async throws -> HandlerResponse {
        let found = try await webhooks.webhooks(tenant: request.tenant)
        return try .fresh(
            AdminMessages.WebhookList(webhooks: found.map { AdminMessages.WebhookView($0) })
        )
    }

    @Sendable private func subscribe(_ request: HandlerRequest) async throws -> HandlerResponse {
        let body = try await request.decode(AdminMessages.WebhookRequest.self)
        let filter = EventFilter(
            codes: Set(try (body.codes ?? []).map { try OperationCode(validating: $0) }),
            activity: try body.activity.map { try ActivityID(parsing: $0) },
            device: try body.device.map { try DeviceID(validating: $0) },
            stateChangesOnly: body.stateChangesOnly ?? false
        )
        let (webhook, secret) = try await webhooks.subscribe(
            body.url,
            to: filter,
            after: try body.after.map { try EventPosition(parsing: $0) },
            tenant: request.tenant
        )
        return try .fresh(
            AdminMessages.WebhookAnswer(
                webhook: AdminMessages.WebhookView(webhook),
                secret: secret.text
            ),
            status: .created
        )
    }

    @Sendable private func show(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("webhook", as: WebhookID.self)
        let webhook = try await webhooks.webhook(id, tenant: request.tenant)
        return try .fresh(AdminMessages.WebhookView(webhook))
    }

    @Sendable private func remove(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("webhook", as: WebhookID.self)
        try await webhooks.unsubscribe(id, tenant: request.tenant)
        return .empty()
    }

    @Sendable private func listDeadLetters(
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        let id = try request.parameters.require("webhook", as: WebhookID.self)
        let limit = try request.pageLimit(upTo: Self.maximumLetters)
        let letters = try await webhooks.deadLetters(
            of: id,
            after: request.queryNumber("after") ?? 0,
            limit: limit,
            tenant: request.tenant
        )
        return try .fresh(
            AdminMessages.DeadLetterList(
                deadLetters: letters.map { AdminMessages.DeadLetterView($0) },
                next: letters.count == limit ? letters.last.map { String($0.number) } : nil
            )
        )
    }

    @Sendable private func redeliver(_ request: HandlerRequest) async throws -> HandlerResponse {
        let id = try request.parameters.require("webhook", as: WebhookID.self)
        guard let letter = Int64(try request.parameters.require("letter")), letter > 0 else {
            throw HTTPHandlingError(
                .invalidParameter,
                "A dead letter is named by its number, as the list has it."
            )
        }
        try await webhooks.redeliver(letter, of: id, tenant: request.tenant)
        return .empty()
    }
}
#endif
