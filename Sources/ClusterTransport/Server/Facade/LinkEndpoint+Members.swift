#if Server
internal import ClusterMembership
internal import ClusterRole
internal import HTTPHandling
internal import HTTPTypes
internal import Logging
internal import OperationQueue

/// Who is there: `hello`, `heartbeat`.
extension LinkEndpoint {
    mutating func addMemberRoutes() throws {
        let endpoint = self
        try on(.post, "/hello", operationID: "linkHello") { request, node in
            try await endpoint.hello(try await request.decode(), from: node, request)
        }
        try on(.post, "/heartbeat", operationID: "linkHeartbeat") { request, node in
            try await endpoint.heartbeat(try await request.decode(), from: node, request)
        }
    }

    private func hello(
        _ hello: LinkHello,
        from node: NodeID,
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        guard hello.node == node.rawValue else {
            throw ClusterTransportError(
                .wrongNode,
                "The caller is \(node); the hello says \(hello.node). Give each worker a certificate or "
                    + "token of its own."
            )
        }
        guard services.messaging?.messenger.node != node else {
            throw ClusterTransportError(
                .wrongNode,
                "\(node) is this manager's own name, and two nodes of one name would be one member. Give the "
                    + "worker a name of its own, also if both run in one process."
            )
        }
        guard hello.role.mayServe, hello.role == request.peerCertificate?.subject.role ?? hello.role
        else {
            throw ClusterTransportError(
                .wrongRole,
                "A \(hello.role.rawValue) does not speak the worker's half of the link. Start it with "
                    + "the profile worker, and a certificate of the same role."
            )
        }
        let differences = services.terms.differences(of: hello)
        guard differences.isEmpty else {
            throw ClusterTransportError(
                .incompatible,
                "\(node) cannot join; it differs in " + differences.joined(separator: "; ")
                    + ". Upgrade the older side, or correct its configuration."
            )
        }
        try check(hello.properties)
        let said = try session(of: hello, request)
        let (epoch, members) = try authority()
        try refuseIfBehind(hello.highestEpoch, of: node, at: epoch, request)
        guard sessions.hello(node, nonce: hello.nonce, said) == .welcome else {
            throw ClusterTransportError(
                .replayed,
                "\(node) has said this hello before. Draw a new nonce for each."
            )
        }
        let now = time.now()
        let asked = try await members.join(
            Member(
                node: node,
                role: hello.role,
                domain: try ClusterDomain(parsing: hello.domain),
                address: String(hello.address.prefix(255)),
                version: String(hello.version.prefix(255)),
                properties: hello.properties,
                applied: hello.applied,
                mode: hello.mode ?? .active,
                joinedAt: now,
                lastHeard: now
            )
        )
        // It may be waiting already for messages that address it only now.
        services.messaging?.messenger.signal.send()
        return try await welcome(epoch, hello.nonce, mode: asked)
    }

    /// What a hello says beside who and where it is.
    private func session(
        of hello: LinkHello,
        _ request: HandlerRequest
    ) throws -> LinkSession {
        let names = (hello.codecs ?? []) + (hello.capabilities ?? [])
        guard names.count <= limits.maximumCapabilities,
            names.allSatisfy({ $0.utf8.count <= 255 }), hello.digest?.utf8.count ?? 0 <= 255
        else {
            throw ClusterTransportError(
                .tooLarge,
                "A node says at most \(limits.maximumCapabilities) codecs and capabilities of 255 bytes."
            )
        }
        guard hello.nonce != nil || request.peerCertificate == nil else {
            throw ClusterTransportError(
                .malformed,
                "A hello of a node with a certificate has a nonce. Upgrade the worker."
            )
        }
        var session = LinkSession()
        session.version = String(hello.version.prefix(255))
        session.codecs = hello.codecs ?? []
        session.capabilities = hello.capabilities ?? []
        session.digest = hello.digest
        session.certificate = request.peerCertificate
        session.acknowledged = hello.applied
        return session
    }

    /// A worker that has seen a newer coordinator is not written for: this manager stands on a restored
    /// or forgotten store.
    private func refuseIfBehind(
        _ seen: Epoch,
        of node: NodeID,
        at epoch: Epoch,
        _ request: HandlerRequest
    ) throws {
        guard seen > epoch else { return }
        request.logger.error(
            "A worker has seen a newer coordinator than this manager",
            metadata: ["node": "\(node)", "seen": "\(seen)", "epoch": "\(epoch)"]
        )
        throw ClusterTransportError(
            .epochBehind,
            "\(node) has seen \(seen), this manager is at \(epoch). If its store was restored on "
                + "purpose, raise the epoch above that."
        )
    }

    private func heartbeat(
        _ heartbeat: LinkHeartbeat,
        from node: NodeID,
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        try check(heartbeat.properties)
        let (epoch, members) = try authority()
        try refuseIfBehind(heartbeat.highestEpoch, of: node, at: epoch, request)
        if heartbeat.state == .left {
            try await members.leave(node)
            return try await welcome(epoch, mode: .active)
        }
        let asked = try await members.heartbeat(
            node,
            applied: heartbeat.applied,
            properties: heartbeat.properties,
            mode: heartbeat.mode
        )
        return try await welcome(epoch, mode: asked)
    }

    private func check(_ properties: [String: String]) throws {
        let fits = properties.allSatisfy {
            $0.key.utf8.count <= 255 && $0.value.utf8.count <= 1_024
        }
        guard properties.count <= limits.maximumProperties, fits else {
            throw ClusterTransportError(
                .tooLarge,
                "A node says at most \(limits.maximumProperties) properties of 255 bytes, with values "
                    + "of 1,024."
            )
        }
    }

    private func welcome(
        _ epoch: Epoch,
        _ nonce: LinkNonce? = nil,
        mode: MemberMode
    ) async throws -> HandlerResponse {
        try .json(
            LinkWelcome(
                epoch: epoch,
                revision: try await services.replicas.currentRevision(),
                nonce: nonce,
                mode: mode,
                heartbeatEvery: limits.heartbeatInterval
            )
        )
    }
}
#endif
