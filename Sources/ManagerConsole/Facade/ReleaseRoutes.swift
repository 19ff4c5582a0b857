#if Server
internal import ArtifactStore
internal import ClusterRole
internal import HTTPHandling
internal import HTTPTypes

/// `/channels`.
struct ReleaseRoutes: Sendable {
    let publisher: any ReleaseWriter
    let roots: PublishRoots

    /// The most rows of a page.
    private static let maximumPage = ReleaseCatalog.maximumPage

    func add(to table: inout RouteTable) throws {
        let read = RouteAccess.permission(.read)
        let publish = RouteAccess.permission(.publish)
        try table.get("/channels", operationID: "listChannels", access: read, perform: listChannels)
        try table.get(
            "/channels/{channel}/releases",
            operationID: "listReleases",
            access: read,
            perform: listReleases
        )
        try table.post(
            "/channels/{channel}/releases",
            operationID: "publishRelease",
            access: publish,
            perform: self.publish
        )
        try table.post(
            "/channels/{channel}/rollback",
            operationID: "rollBackChannel",
            access: publish,
            perform: rollBack
        )
    }

    @Sendable private func listChannels(_ request: HandlerRequest) async throws -> HandlerResponse {
        let limit = try request.pageLimit(upTo: Self.maximumPage)
        let tenant = try request.tenant
        let names = try await publisher.channels(
            of: tenant,
            after: try request.query["after"].map { try ChannelName(validating: $0) },
            limit: limit
        )
        var views: [AdminMessages.ChannelView] = []
        for name in names {
            let newest = try await publisher.latest(of: name, tenant: tenant)
            views.append(
                .init(
                    channel: name.rawValue,
                    newest: newest.map { AdminMessages.ReleaseView($0.release) }
                )
            )
        }
        return try .fresh(
            AdminMessages.ChannelList(
                channels: views,
                next: names.count == limit ? names.last?.rawValue : nil
            )
        )
    }

    @Sendable private func listReleases(_ request: HandlerRequest) async throws -> HandlerResponse {
        let channel = try channel(of: request)
        let limit = try request.pageLimit(upTo: Self.maximumPage)
        let tenant = try request.tenant
        guard try await publisher.latest(of: channel, tenant: tenant) != nil else {
            throw ArtifactStoreError(
                .notFound,
                "There is no channel \(channel) in this tenant. It begins with a release."
            )
        }
        let releases = try await publisher.releases(
            of: channel,
            tenant: tenant,
            before: try request.queryNumber("before").map { ReleaseNumber($0) },
            limit: limit
        )
        let words = try await publisher.acknowledgements(of: channel, tenant: tenant)
        return try .fresh(
            AdminMessages.ReleaseList(
                releases: releases.map { AdminMessages.ReleaseView($0.release) },
                acknowledgements: words.map { AdminMessages.AcknowledgementView($0) },
                next: releases.count == limit ? releases.last?.release.number.description : nil
            )
        )
    }

    @Sendable private func publish(_ request: HandlerRequest) async throws -> HandlerResponse {
        let channel = try channel(of: request)
        let body = try await request.decode(AdminMessages.PublishRequest.self)
        let publication = try await publisher.publish(
            try roots.resolve(body.directory),
            to: channel,
            tenant: request.tenant,
            options: try body.options(by: try request.requireIdentity().name)
        )
        return try .fresh(AdminMessages.PublishAnswer(publication), status: .created)
    }

    @Sendable private func rollBack(_ request: HandlerRequest) async throws -> HandlerResponse {
        let channel = try channel(of: request)
        let body = try await request.decode(AdminMessages.RollbackRequest.self)
        guard body.to >= ReleaseNumber.first.rawValue, body.to < Int64.max else {
            throw ManagerConsoleError(
                .invalidField,
                "The field to is the number of a release of the channel."
            )
        }
        let publication = try await publisher.rollback(
            channel,
            to: ReleaseNumber(body.to),
            tenant: request.tenant
        )
        return try .fresh(AdminMessages.PublishAnswer(publication), status: .created)
    }

    private func channel(of request: HandlerRequest) throws -> ChannelName {
        try ChannelName(validating: request.parameters.require("channel"))
    }
}
#endif
