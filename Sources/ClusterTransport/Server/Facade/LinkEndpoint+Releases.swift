#if Server
internal import ArtifactStore
internal import ClusterRole
internal import HTTPHandling
internal import HTTPTypes

/// How artifacts move: `channels`, `bundles`, `acknowledgements`, `health`.
extension LinkEndpoint {
    mutating func addReleaseRoutes() throws {
        let endpoint = self
        try on(.get, "/channels/{tenant}/{channel}", operationID: "linkChannel") {
            request,
            node in
            try await endpoint.latestRelease(request, for: node)
        }
        try on(.get, "/trust/{tenant}/{channel}", operationID: "linkTrust") { request, node in
            try await endpoint.trust(request, for: node)
        }
        try on(.get, "/bundles/{object}", operationID: "linkBundle", for: .nodes) { request, _ in
            try await endpoint.bundle(request)
        }
        try onAsManager(.put, "/bundles/{object}", operationID: "linkKeepBundle") { request in
            try await endpoint.keep(request)
        }
        try onAsManager(.get, "/bundles", operationID: "linkNeededBundles") { request in
            try await endpoint.needed(request)
        }
        try onAsManager(.post, "/bundles", operationID: "linkMissingBundles") { request in
            try await endpoint.missing(request)
        }
        try on(.post, "/acknowledgements", operationID: "linkAcknowledge") { request, node in
            try await endpoint.acknowledge(try await Self.word(in: request), from: node)
        }
        try on(.post, "/health", operationID: "linkHealth") { request, node in
            try await endpoint.take(try await request.decode(LinkHealth.self), from: node)
        }
    }

    /// The newest release for the caller: 200 with its bytes and its revision as `ETag`; 304 if the caller named that
    /// in `If-None-Match` and nothing newer came while it waited; 204 for an empty channel. A caller that names its root
    /// record gets the trust with it, and need not ask again.
    private func latestRelease(
        _ request: HandlerRequest,
        for node: NodeID
    ) async throws -> HandlerResponse {
        let tenant: TenantID = try request.parameters.require("tenant")
        let channel = try ChannelName(validating: try request.parameters.require("channel"))
        let known = request.headerFields[.ifNoneMatch]
        let (storage, offers) = (services.releases, services.offers)
        let waiter = RevisionWaiter(hints: services.hints, time: time)
        let news = try await waiter.first(within: try wait(of: request)) { () -> StoredRelease? in
            guard let offers else {
                let latest = try await storage.latest(of: channel, tenant: tenant)
                return latest.flatMap { $0.entityTag == known ? nil : $0 }
            }
            let answer = try await offers.offer(
                to: node,
                of: channel,
                tenant: tenant,
                unlessAt: known.flatMap {
                    try? Revision(parsing: String($0.dropFirst().dropLast()))
                }
            )
            return if case .release(let stored) = answer { stored } else { nil }
        }
        guard let news else {
            return .empty(known == nil ? .noContent : .notModified)
        }
        var body = news.published.encoded
        if let version = try request.query.integer("root", in: 0...Int(Int32.max)),
            let trust = services.trust
        {
            let answer = try await trust.answer(
                for: news.published.signed,
                afterRoot: Int64(version)
            )
            body = LinkRelease(published: news.published, trust: answer).encoded
        }
        return .bytes(
            body,
            contentType: MediaType.bytes,
            headerFields: [.eTag: news.entityTag, .cacheControl: "no-store"]
        )
    }

    /// The object a request names: by its digest, or as `<from>-<to>`, the roots of two trees of the
    /// channel in the query, which is made if nobody made it yet.
    private func object(of request: HandlerRequest) async throws -> ContentDigest {
        let name: String = try request.parameters.require("object")
        guard let dash = name.firstIndex(of: "-") else { return try ContentDigest(parsing: name) }
        let made = try await services.maker?.bundle(
            from: TreeID(parsing: String(name[..<dash])),
            to: TreeID(parsing: String(name[name.index(after: dash)...])),
            channel: ChannelName(validating: request.query.values("channel").first ?? ""),
            tenant: TenantID(validating: request.query.values("tenant").first ?? "")
        )
        guard let made else {
            throw ArtifactStoreError(
                .notFound,
                "There is no such bundle, or none smaller than the full one. Fetch that."
            )
        }
        return made.object
    }

    /// The root records after the caller's, and a pointer to the release it is offered.
    private func trust(
        _ request: HandlerRequest,
        for node: NodeID
    ) async throws -> HandlerResponse {
        let tenant: TenantID = try request.parameters.require("tenant")
        let channel = try ChannelName(validating: try request.parameters.require("channel"))
        let version = try request.query.integer("root", in: 0...Int(Int32.max)) ?? 0
        guard let trust = services.trust else {
            return .bytes(TrustAnswer().encoded, contentType: MediaType.bytes)
        }
        var offered: StoredRelease?
        if let offers = services.offers {
            let offer = try await offers.offer(
                to: node,
                of: channel,
                tenant: tenant,
                unlessAt: nil
            )
            if case .release(let stored) = offer { offered = stored }
        } else {
            offered = try await services.releases.latest(of: channel, tenant: tenant)
        }
        let answer = try await trust.answer(
            for: offered?.published.signed,
            afterRoot: Int64(version)
        )
        return .bytes(
            answer.encoded,
            contentType: MediaType.bytes,
            headerFields: [.cacheControl: "no-store"]
        )
    }

    private func bundle(_ request: HandlerRequest) async throws -> HandlerResponse {
        try await ObjectAnswer.make(
            try await object(of: request),
            of: try objects(for: request),
            to: request
        )
    }

    /// A worker may get what any manager has; another manager, which names a tenant, what this one has
    /// itself: else two that both lack an object would ask each other for ever.
    private func objects(for request: HandlerRequest) throws -> any ObjectStorage {
        guard let care = services.care, request.identity?.may(.publish) == true,
            let tenant = request.query.values("tenant").first
        else { return services.objects }
        return try care.own(of: try TenantID(validating: tenant))
    }

    /// Keeps a copy of an object for another manager. Answered when it is durable here.
    private func keep(_ request: HandlerRequest) async throws -> HandlerResponse {
        let digest = try ContentDigest(parsing: try request.parameters.require("object"))
        try requireManager(request)
        let body = ArtifactStore.ByteChunks(request.body)
        if let care = services.care {
            let tenant = request.query.values("tenant").first
            try await care.keep(
                body,
                as: digest,
                tenant: try tenant.map { try TenantID(validating: $0) } ?? .standard
            )
        } else if try await services.objects.byteCount(of: digest) == nil {
            _ = try await services.objects.put(body, expecting: digest)
        }
        return .empty()
    }

    /// The objects of a tenant that this manager's records need: their digests, in order.
    private func needed(_ request: HandlerRequest) async throws -> HandlerResponse {
        try requireManager(request)
        let tenant = try TenantID(validating: request.query.values("tenant").first ?? "")
        let needed = try await services.care?.needed(of: tenant) ?? []
        return .bytes(
            needed.sorted().flatMap(\.bytes),
            contentType: MediaType.bytes,
            headerFields: [.cacheControl: "no-store"]
        )
    }

    /// Which of the objects in the body this manager itself does not have: what another one asks, to see
    /// whether its copies are still there.
    private func missing(_ request: HandlerRequest) async throws -> HandlerResponse {
        try requireManager(request)
        let tenant = try TenantID(validating: request.query.values("tenant").first ?? "")
        let body = try await request.body.collect(
            upTo: ObjectCare.maximumAsked * ContentDigest.byteCount
        )
        let asked = try ContentDigest.all(in: body)
        guard let care = services.care else {
            throw ArtifactStoreError(.notFound, "This manager keeps no copies.")
        }
        let missing = try await care.missing(of: Set(asked), tenant: tenant)
        return .bytes(
            missing.sorted().flatMap(\.bytes),
            contentType: MediaType.bytes,
            headerFields: [.cacheControl: "no-store"]
        )
    }

    private func requireManager(_ request: HandlerRequest) throws {
        guard try request.requireIdentity().permissions.contains(.publish) else {
            throw ClusterTransportError(
                .wrongRole,
                "This is for managers. Give the other manager a token that may link and publish."
            )
        }
    }

    /// A word as JSON, or in its own form.
    private static func word(in request: HandlerRequest) async throws -> LinkAcknowledgement {
        guard request.headerFields[.contentType] == MediaType.bytes else {
            return try await request.decode()
        }
        return try LinkAcknowledgement(
            decoding: try await request.body.collect(
                upTo: LinkAcknowledgement.maximumEncodedBytes
            )
        )
    }

    private func acknowledge(
        _ message: LinkAcknowledgement,
        from node: NodeID
    ) async throws -> HandlerResponse {
        let applied = try message.applied()
        guard applied.node == node else {
            throw ClusterTransportError(
                .wrongNode,
                "\(node) speaks for itself only, not for \(applied.node)."
            )
        }
        _ = try await services.releases.record(
            applied,
            tenant: try TenantID(validating: message.tenant),
            epoch: try authority().epoch
        )
        return .empty()
    }

    private func take(_ message: LinkHealth, from node: NodeID) async throws -> HandlerResponse {
        let health = try message.health()
        guard health.node == node else {
            throw ClusterTransportError(
                .wrongNode,
                "\(node) speaks for itself only, not for \(health.node)."
            )
        }
        let tenant = try TenantID(validating: message.tenant)
        let epoch = try authority().epoch
        // Without rollouts nobody asks.
        _ = try await services.offers?.rollouts.record(health, tenant: tenant, epoch: epoch)
        return .empty()
    }
}

extension StoredRelease {
    /// Its revision in quotes.
    fileprivate var entityTag: String { "\"\(revision)\"" }
}
#endif
