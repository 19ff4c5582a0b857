#if Server
internal import ClusterMembership
internal import ClusterRole
internal import DeviceRegistry
internal import HTTPHandling
internal import HTTPTypes
internal import Logging
internal import OperationQueue

/// How state moves: `replica` downwards, `spool` upwards, `credentials` in between.
extension LinkEndpoint {
    mutating func addReplicaRoutes() throws {
        let endpoint = self
        try on(.get, "/replica", operationID: "linkReplica") { request, node in
            try await endpoint.page(request, for: node)
        }
        try on(
            .post,
            "/spool",
            operationID: "linkSpool",
            maximumBodyBytes: limits.maximumSpoolBytes
        ) { request, node in
            try await endpoint.spool(request, from: node)
        }
        try on(.post, "/credentials", operationID: "linkCredential") { request, _ in
            try await endpoint.credential(try await request.decode())
        }
    }

    /// The next page; at the newest revision it waits for another.
    private func page(
        _ request: HandlerRequest,
        for node: NodeID
    ) async throws -> HandlerResponse {
        note(request, from: node)
        let after = try request.query["after"].map { try Revision(parsing: $0) }
        let cursor = request.query["cursor"].map { ReplicaCursor(token: $0) }
        let rows = try request.query.integer("limit", in: 1...limits.maximumPageRows)
        let limit = rows ?? limits.maximumPageRows
        let source = services.replicas
        let next: @Sendable () async throws -> ReplicaPage = {
            try await source.page(after: after, cursor: cursor, limit: limit, for: node)
        }
        let waiter = RevisionWaiter(hints: services.hints, time: time)
        let wait = cursor == nil ? try wait(of: request) : .zero
        let news = try await waiter.first(within: wait) { () -> ReplicaPage? in
            let page = try await next()
            return page.isNews(after: after) ? page : nil
        }
        let page: ReplicaPage
        if let news { page = news } else { page = try await next() }
        let nonce = LinkNonce(from: random)
        sessions.offer(page.revision, nonce, to: node)
        return .bytes(
            page.encoded(),
            contentType: MediaType.bytes,
            headerFields: [.cacheControl: "no-store", .linkNonce: nonce.description]
        )
    }

    /// What became of the page before. A nonce that is not the last one's says nothing.
    private func note(_ request: HandlerRequest, from node: NodeID) {
        if let text = request.headerFields[.linkAcknowledge],
            let nonce = try? LinkNonce(parsing: text)
        {
            _ = sessions.answer(nonce, refusal: nil, from: node)
        }
        guard let text = request.headerFields[.linkRefuse] else { return }
        let words = text.split(separator: " ", maxSplits: 1)
        guard words.count == 2, let nonce = try? LinkNonce(parsing: String(words[0])) else {
            return
        }
        let code = String(words[1].prefix(255))
        guard sessions.answer(nonce, refusal: code, from: node) else { return }
        request.logger.warning(
            "A worker did not take a page of its replica",
            metadata: ["node": "\(node)", "code": "\(code)"]
        )
    }

    /// Applies entries and stores the mark in the same transaction.
    private func spool(
        _ request: HandlerRequest,
        from node: NodeID
    ) async throws -> HandlerResponse {
        let bytes = try await request.body.collect(upTo: limits.maximumSpoolBytes)
        let batch = try SpoolBatch(decoding: bytes, maximumEntries: limits.maximumSpoolEntries)
        let current = try await services.replicas.currentRevision()
        guard batch.history == current.history else {
            throw ClusterTransportError(
                .historyChanged,
                "The spool was written against history \(batch.history); this manager's is "
                    + "\(current.history). Take a snapshot, then send from the mark it carries."
            )
        }
        guard let last = batch.entries.last else {
            throw ClusterTransportError(.malformed, "The spool batch is empty. Send entries.")
        }
        let epoch = try authority().epoch
        let receipt = try await services.operations.apply(
            batch.entries,
            from: SpoolMark(node: node, incarnation: batch.incarnation, number: last.number),
            epoch: epoch,
            at: time.now()
        )
        // The worker that waits for this mark, and the others, hear of it whoever the store tells.
        services.hints.publish(receipt.revision)
        if receipt.rejected > 0 {
            request.logger.notice(
                "Entries of a spool were rejected",
                metadata: ["node": "\(node)", "rejected": "\(receipt.rejected)"]
            )
        }
        return try .json(
            LinkMark(
                mark: receipt.mark?.number ?? last.number,
                revision: receipt.revision,
                epoch: epoch
            )
        )
    }

    private func credential(_ query: LinkCredentialQuery) async throws -> HandlerResponse {
        let digest = try CredentialDigest(hexadecimal: query.digest)
        guard let row = try await services.devices.device(credential: digest) else {
            throw ClusterTransportError(
                .unknownCredential,
                "No enrolled device has this credential."
            )
        }
        return try .json(LinkDeviceRow(row))
    }
}

extension HTTPField.Name {
    fileprivate static let linkNonce = HTTPField.Name(LinkFormat.nonceField)!
    fileprivate static let linkAcknowledge = HTTPField.Name(LinkFormat.acknowledgeField)!
    fileprivate static let linkRefuse = HTTPField.Name(LinkFormat.refuseField)!
}

extension ReplicaPage {
    /// Whether it brings a replica at `revision` anything.
    fileprivate func isNews(after revision: Revision?) -> Bool {
        content != .delta || !rows.isEmpty || self.revision != revision
    }
}
#endif
