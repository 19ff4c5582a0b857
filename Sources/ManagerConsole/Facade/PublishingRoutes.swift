#if Server
internal import ArtifactStore
internal import ClusterRole
internal import HTTPHandling
internal import HTTPTypes

/// What is published by itself or when told, and which keys workers go by: `/channels/…/publishing`,
/// `/channels/…/preview`, `/roots`.
struct PublishingRoutes: Sendable {
    let releases: AdminServices.Releases

    func add(to table: inout RouteTable) throws {
        let read = RouteAccess.permission(.read)
        let publish = RouteAccess.permission(.publish)
        try table.post(
            "/channels/{channel}/preview",
            operationID: "previewRelease",
            access: publish,
            perform: preview
        )
        let path = "/channels/{channel}/publishing"
        try table.get(path, operationID: "getPublishing", access: read, perform: show)
        try table.put(path, operationID: "setPublishing", access: publish, perform: change)
        try table.post(
            "\(path)/commit",
            operationID: "commitPublishing",
            access: publish,
            perform: commit
        )
        try table.get("/roots", operationID: "listRoots", access: read, perform: listRoots)
        try table.post(
            "/roots",
            operationID: "installRoot",
            access: .permission(.administer),
            perform: installRoot
        )
    }

    @Sendable private func preview(_ request: HandlerRequest) async throws -> HandlerResponse {
        let channel = try ChannelName(validating: request.parameters.require("channel"))
        let body = try await request.decode(AdminMessages.PublishRequest.self)
        let preview = try await releases.publisher.preview(
            try releases.roots.resolve(body.directory),
            to: channel,
            tenant: request.tenant,
            options: try body.options(by: nil)
        )
        return try .fresh(AdminMessages.PreviewAnswer(preview))
    }

    @Sendable private func show(_ request: HandlerRequest) async throws -> HandlerResponse {
        try await answer(try task(of: request))
    }

    @Sendable private func change(_ request: HandlerRequest) async throws -> HandlerResponse {
        let task = try task(of: request)
        let body = try await request.decode(AdminMessages.PublishingRequest.self)
        guard let mode = PublishMode(rawValue: body.mode) else {
            throw ManagerConsoleError(
                .invalidField,
                "The field mode is \(PublishMode.allCases.map(\.rawValue).joined(separator: " or "))."
            )
        }
        await task.setMode(mode)
        return try await answer(task)
    }

    @Sendable private func commit(_ request: HandlerRequest) async throws -> HandlerResponse {
        let publication = try await task(of: request).commitNow()
        return try .fresh(AdminMessages.PublishAnswer(publication), status: .created)
    }

    private func answer(_ task: PublishTask) async throws -> HandlerResponse {
        try .fresh(AdminMessages.PublishingView(task, await task.status))
    }

    private func task(of request: HandlerRequest) throws -> PublishTask {
        let channel = try ChannelName(validating: request.parameters.require("channel"))
        let tenant = try request.tenant
        guard
            let task = releases.tasks.first(where: {
                $0.channel == channel && $0.tenant == tenant
            })
        else {
            throw ArtifactStoreError(
                .notFound,
                "No directory is watched for \(channel) in this tenant. Name one in publish.watch."
            )
        }
        return task
    }

    @Sendable private func listRoots(_ request: HandlerRequest) async throws -> HandlerResponse {
        let after = try request.queryNumber("after") ?? 0
        let records = releases.trust?.roots.records(after: after) ?? []
        return try .fresh(
            AdminMessages.RootList(roots: records.map { AdminMessages.RootView($0) })
        )
    }

    @Sendable private func installRoot(_ request: HandlerRequest) async throws -> HandlerResponse {
        guard try request.tenant == releases.operators else {
            throw ManagerConsoleError(
                .operatorsOnly,
                "Root records are every tenant's. Ask those who operate the manager."
            )
        }
        let body = try await request.decode(AdminMessages.RootRequest.self)
        guard let trust = releases.trust else {
            throw ArtifactStoreError(.notFound, "This manager hands out no root records.")
        }
        let root = try SignedRoot(decoding: try body.bytes())
        try trust.roots.install(root)
        return try .fresh(AdminMessages.RootView(root), status: .created)
    }
}

extension AdminMessages.RootRequest {
    fileprivate func bytes() throws -> [UInt8] {
        let digits = record.utf8.map { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count <= 2 * SignedRoot.maximumEncodedBytes, digits.count.isMultiple(of: 2),
            !digits.contains(nil)
        else {
            throw ManagerConsoleError(
                .invalidField,
                "The field record is a signed root record in hexadecimal."
            )
        }
        let values = digits.compactMap { $0.map(UInt8.init) }
        return stride(from: 0, to: values.count, by: 2).map { values[$0] << 4 | values[$0 + 1] }
    }
}

extension AdminMessages.PublishRequest {
    /// - Parameter caller: who publishes, if the request says nothing else.
    func options(by caller: String?) throws -> PublishOptions {
        var options = PublishOptions()
        if let kind { options.kind = try ArtifactKind(validating: kind) }
        if allowAbsoluteLinks == true { options.links = .allowAbsolute }
        if force == true { options.repetition = .publishAgain }
        options.keepsTimes = keepTimes ?? false
        options.dependencies = try (dependencies ?? []).map {
            ReleaseDependency(
                try ChannelName(validating: $0.channel),
                atLeast: ReleaseNumber($0.atLeast ?? 1)
            )
        }
        options.requirements = ReleaseRequirements(
            capabilities: try (capabilities ?? []).map { try CapabilityName(validating: $0) },
            softwareVersion: try softwareVersion.map { try SoftwareVersion(parsing: $0) }
        )
        if let caller { options.publisher = try? PublisherName(validating: caller) }
        return options
    }
}
#endif
