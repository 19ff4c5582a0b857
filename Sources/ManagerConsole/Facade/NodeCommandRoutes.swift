#if Server
internal import ArtifactStore
public import ClusterMembership
public import ClusterRole
internal import HTTPHandling
internal import HTTPTypes

extension AdminServices {
    /// Commands to nodes.
    public struct Messaging: Sendable {
        public var commands: NodeCommands
        public var messenger: ClusterMessenger
        /// The tenant whose administrators may command nodes: those serve every tenant.
        public var operators: TenantID

        public init(
            commands: NodeCommands,
            messenger: ClusterMessenger,
            operators: TenantID = .standard
        ) {
            self.commands = commands
            self.messenger = messenger
            self.operators = operators
        }
    }
}

/// `/nodes/{node}/commands`, `/commands` and `/messages`.
struct NodeCommandRoutes: Sendable {
    let messaging: AdminServices.Messaging

    /// The longest a command waits for a node. A day: a restart asked for earlier surprises.
    private static let maximumLifetime = 86_400.0

    func add(to table: inout RouteTable) throws {
        let read = RouteAccess.permission(.read)
        let administer = RouteAccess.permission(.administer)
        try table.post(
            "/nodes/{node}/commands",
            operationID: "commandNode",
            access: administer,
            perform: commandNode
        )
        try table.post(
            "/commands",
            operationID: "commandNodes",
            access: administer,
            perform: commandNodes
        )
        try table.get(
            "/commands/{command}",
            operationID: "getCommand",
            access: read,
            perform: show
        )
        try table.get("/messages", operationID: "getMessages", access: read, perform: counts)
    }

    private func requireOperator(_ request: HandlerRequest) throws {
        guard try request.tenant == messaging.operators else {
            throw ManagerConsoleError(
                .operatorsOnly,
                "Nodes serve every tenant. Ask those who operate the cluster."
            )
        }
    }

    @Sendable private func commandNode(_ request: HandlerRequest) async throws -> HandlerResponse {
        try requireOperator(request)
        let body = try await request.decode(AdminMessages.NodeCommandRequest.self)
        let node = try NodeID(validating: try request.parameters.require("node"))
        return try await send(body.command, to: .members([node]), body.lifetime, request)
    }

    @Sendable private func commandNodes(_ request: HandlerRequest) async throws -> HandlerResponse {
        try requireOperator(request)
        let body = try await request.decode(AdminMessages.NodeCommandsRequest.self)
        return try await send(
            body.command,
            to: try body.target.address(),
            body.lifetime,
            request
        )
    }

    private func send(
        _ name: String,
        to address: MessageAddress,
        _ lifetime: Double?,
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        let key = try request.idempotencyKey()
        guard let command = NodeCommand(rawValue: name) else {
            let known = NodeCommand.allCases.map(\.rawValue).joined(separator: ", ")
            throw ManagerConsoleError(.invalidField, "A command is one of \(known).")
        }
        let seconds = lifetime ?? NodeCommands.standardLifetime.seconds
        guard seconds >= 1, seconds <= Self.maximumLifetime else {
            throw ManagerConsoleError(
                .invalidField,
                "lifetime is 1 to \(Int(Self.maximumLifetime)) seconds."
            )
        }
        let receipt: MessageReceipt
        do {
            receipt = try await messaging.commands.send(
                command,
                to: address,
                lifetime: .milliseconds(Int64(seconds * 1_000)),
                id: try key.map(Self.id)
            )
        } catch let error as ClusterMembershipError where error.code == .messageConflict {
            throw ClusterMembershipError(
                .messageConflict,
                "This Idempotency-Key was used for another command, or for other nodes. Choose another key."
            )
        }
        var answer = AdminMessages.NodeCommandAnswer(command, receipt)
        if receipt.wasRepeated {
            // What became of it meanwhile, rather than what was to be.
            let (_, status) = try await messaging.commands.status(of: receipt.id)
            answer = AdminMessages.NodeCommandAnswer(command, status)
        }
        answer.repeated = receipt.wasRepeated
        return try .fresh(answer, status: .accepted)
    }

    /// The id every command of one key has: so the log itself knows a repetition, also after a restart.
    private static func id(of key: String) throws -> MessageID {
        let digest = ContentDigest(of: Array("node-command\n\(key)".utf8))
        return try MessageID(parsing: String(digest.description.prefix(32)))
    }

    @Sendable private func show(_ request: HandlerRequest) async throws -> HandlerResponse {
        try requireOperator(request)
        let id = try MessageID(parsing: try request.parameters.require("command"))
        let (command, status) = try await messaging.commands.status(of: id)
        return try .fresh(AdminMessages.NodeCommandAnswer(command, status))
    }

    @Sendable private func counts(_ request: HandlerRequest) async throws -> HandlerResponse {
        try requireOperator(request)
        return try .fresh(AdminMessages.MessageCountsAnswer(messaging.messenger.counts))
    }
}

extension Duration {
    /// This duration in seconds.
    fileprivate var seconds: Double { Double(milliseconds) / 1_000 }
}
#endif
