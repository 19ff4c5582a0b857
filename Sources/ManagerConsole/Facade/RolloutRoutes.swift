#if Server
internal import ArtifactStore
internal import ClusterRole
internal import HTTPHandling
internal import HTTPTypes

/// `/rollouts`, and what of `/channels` goes with them.
struct RolloutRoutes: Sendable {
    let rollouts: ReleaseRollouts

    /// The longest a request waits. 25 s: below the 30 s after which proxies give up on a silent
    /// connection.
    private static let maximumWait = 25

    func add(to table: inout RouteTable) throws {
        let read = RouteAccess.permission(.read)
        let publish = RouteAccess.permission(.publish)
        try table.get("/rollouts", operationID: "listRollouts", access: read, perform: list)
        try table.post("/rollouts", operationID: "startRollout", access: publish, perform: start)
        try table.get(
            "/rollouts/{rollout}",
            operationID: "getRollout",
            access: read,
            perform: show
        )
        for command in ReleaseRolloutCommand.allCases {
            try table.post(
                "/rollouts/{rollout}/\(command.rawValue)",
                operationID: "\(command.rawValue)Rollout",
                access: publish
            ) { request in
                try await self.command(command, request)
            }
        }
        try table.get(
            "/channels/{channel}/await-applied",
            operationID: "awaitApplied",
            access: read,
            perform: awaitApplied
        )
        try table.get(
            "/channels/{channel}/blocks",
            operationID: "listBlocks",
            access: read,
            perform: listBlocks
        )
        try table.delete(
            "/channels/{channel}/blocks/{root}",
            operationID: "liftBlock",
            access: publish,
            perform: liftBlock
        )
    }

    @Sendable private func list(_ request: HandlerRequest) async throws -> HandlerResponse {
        let limit = try request.pageLimit(upTo: ReleaseRollouts.maximumPage)
        let channel = try request.query["channel"].map { try ChannelName(validating: $0) }
        let found = try await rollouts.rollouts(
            channel.map { .channel($0) } ?? .all,
            before: try request.query["before"].map { try ReleaseRolloutID(parsing: $0) },
            limit: limit,
            tenant: try request.tenant
        )
        return try .fresh(
            AdminMessages.ReleaseRolloutList(
                rollouts: found.map { AdminMessages.ReleaseRolloutView($0) },
                next: found.count == limit ? found.last?.id.description : nil
            )
        )
    }

    @Sendable private func start(_ request: HandlerRequest) async throws -> HandlerResponse {
        let body = try await request.decode(AdminMessages.ReleaseRolloutRequest.self)
        let begun = try await rollouts.start(
            try body.plan(),
            of: try ChannelName(validating: body.channel),
            release: body.release.map { ReleaseNumber($0) },
            by: try request.requireIdentity().name,
            tenant: try request.tenant
        )
        return try .fresh(AdminMessages.ReleaseRolloutView(begun), status: .created)
    }

    @Sendable private func show(_ request: HandlerRequest) async throws -> HandlerResponse {
        let (id, tenant) = (try rollout(of: request), try request.tenant)
        let status = try await rollouts.status(of: id, tenant: tenant)
        let history = try await rollouts.history(of: id, tenant: tenant)
        return try .fresh(AdminMessages.ReleaseRolloutAnswer(status, history))
    }

    private func command(
        _ command: ReleaseRolloutCommand,
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        let body = try await request.decode(AdminMessages.ReleaseRolloutCommandRequest.self)
        let after = try await rollouts.command(
            command,
            try rollout(of: request),
            by: try request.requireIdentity().name,
            reason: body.reason ?? "",
            tenant: try request.tenant
        )
        return try .fresh(AdminMessages.ReleaseRolloutView(after))
    }

    @Sendable private func awaitApplied(_ request: HandlerRequest) async throws -> HandlerResponse {
        let (channel, tenant) = (try channel(of: request), try request.tenant)
        let wait = try request.query.integer("wait", in: 0...Self.maximumWait) ?? 0
        var release = try request.queryNumber("release").map { ReleaseNumber($0) }
        if release == nil {
            release = try await rollouts.progress(of: channel, tenant: tenant).number
        }
        let awaited = try await rollouts.awaitApplied(
            release ?? .first,
            of: channel,
            quorum: try request.query["quorum"].map { try ReleaseQuorum(parsing: $0) } ?? .all,
            within: .seconds(wait),
            tenant: tenant
        )
        return try .fresh(
            AdminMessages.AwaitedReleaseAnswer(
                isReached: awaited.isReached,
                progress: AdminMessages.ReleaseProgressView(awaited.progress)
            )
        )
    }

    @Sendable private func listBlocks(_ request: HandlerRequest) async throws -> HandlerResponse {
        let blocks = try await rollouts.blocks(
            of: try channel(of: request),
            tenant: try request.tenant
        )
        return try .fresh(
            AdminMessages.ReleaseBlockList(
                blocks: blocks.map { AdminMessages.ReleaseBlockView($0) }
            )
        )
    }

    @Sendable private func liftBlock(_ request: HandlerRequest) async throws -> HandlerResponse {
        try await rollouts.unblock(
            try TreeID(parsing: try request.parameters.require("root")),
            in: try channel(of: request),
            by: try request.requireIdentity().name,
            reason: request.query["reason"] ?? "",
            tenant: try request.tenant
        )
        return .empty()
    }

    private func rollout(of request: HandlerRequest) throws -> ReleaseRolloutID {
        try ReleaseRolloutID(parsing: try request.parameters.require("rollout"))
    }

    private func channel(of request: HandlerRequest) throws -> ChannelName {
        try ChannelName(validating: try request.parameters.require("channel"))
    }
}
#endif
