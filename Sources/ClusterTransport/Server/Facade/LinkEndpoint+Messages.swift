#if Server
internal import ClusterMembership
internal import ClusterRole
internal import HTTPHandling
internal import HTTPTypes

/// Messages between members, and the replicated state: `messages` downwards, `replies` and `requests`
/// upwards.
extension LinkEndpoint {
    /// Without messaging there are no such routes.
    mutating func addMessageRoutes() throws {
        guard let messaging = services.messaging else { return }
        let endpoint = self
        try on(.get, "/messages", operationID: "linkMessages") { request, node in
            try await endpoint.messages(request, for: node, messaging)
        }
        try on(
            .post,
            "/replies",
            operationID: "linkReplies",
            maximumBodyBytes: limits.maximumSpoolBytes
        ) { request, node in
            try await endpoint.replies(request, from: node, messaging)
        }
        try on(
            .post,
            "/requests",
            operationID: "linkRequest",
            maximumBodyBytes: 2 * ClusterMessage.maximumPayloadBytes
        ) { request, node in
            try await endpoint.request(request, from: node, messaging)
        }
    }

    private func messages(
        _ request: HandlerRequest,
        for node: NodeID,
        _ messaging: LinkMessaging
    ) async throws -> HandlerResponse {
        let (epoch, _) = try authority()
        let cursor = try request.query["after"].map { try MessageCursor(parsing: $0) }
        let revision = try request.query["state"].map { try Revision(parsing: $0) }
        let limit =
            try request.query.integer("limit", in: 1...limits.maximumMessages)
            ?? limits.maximumMessages
        let look: @Sendable () async throws -> LinkMessagePage = {
            LinkMessagePage(
                epoch: epoch,
                page: try await messaging.messenger.page(for: node, after: cursor, limit: limit),
                state: messaging.state.delta(after: revision)
            )
        }
        let found = try await messaging.messenger.signal.first(
            within: try wait(of: request),
            clock: time
        ) {
            let page = try await look()
            return page.page.messages.isEmpty && page.state == nil ? nil : page
        }
        let page: LinkMessagePage
        if let found { page = found } else { page = try await look() }
        return .bytes(
            page.encoded(),
            contentType: MediaType.bytes,
            headerFields: [.cacheControl: "no-store"]
        )
    }

    private func replies(
        _ request: HandlerRequest,
        from node: NodeID,
        _ messaging: LinkMessaging
    ) async throws -> HandlerResponse {
        _ = try authority()
        let bytes = try await request.body.collect(upTo: limits.maximumSpoolBytes)
        let answers = try MessageCoding.decodeAnswers(bytes)
        guard answers.count <= limits.maximumMessages else {
            throw ClusterTransportError(
                .tooLarge,
                "At most \(limits.maximumMessages) messages are answered at once."
            )
        }
        guard answers.allSatisfy({ $0.node == node }) else {
            throw ClusterTransportError(
                .wrongNode,
                "\(node) answered for another node. Give each worker its own token."
            )
        }
        try await messaging.messenger.take(answers)
        return .empty()
    }

    private func request(
        _ request: HandlerRequest,
        from node: NodeID,
        _ messaging: LinkMessaging
    ) async throws -> HandlerResponse {
        _ = try authority()
        let bytes = try await request.body.collect(
            upTo: 2 * ClusterMessage.maximumPayloadBytes
        )
        let reply = try await messaging.messenger.answer(
            try MessageCoding.decodeMessage(bytes),
            from: node
        )
        return .bytes(
            reply,
            contentType: MediaType.bytes,
            headerFields: [.cacheControl: "no-store"]
        )
    }
}
#endif
