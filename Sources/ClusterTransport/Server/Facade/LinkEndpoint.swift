#if Server
public import ArtifactStore
public import ClusterMembership
public import ClusterRole
public import DeviceRegistry
public import HTTPHandling
internal import HTTPTypes
internal import Logging
public import OperationQueue

/// What the manager's end of the link works on.
public struct LinkServices: Sendable {
    /// Where replicas come from.
    public var replicas: any ReplicaSource
    /// Where spools are applied.
    public var operations: any OperationStorage
    /// Answers credentials a replica does not know.
    public var devices: any DeviceReader
    /// Enrols and removes devices on behalf of workers.
    public var enrolment: any EnrolmentService
    /// Wakes requests that wait.
    public var hints: any HintBus
    /// Releases, and what workers say of them.
    public var releases: any ReleaseStorage
    /// Decides which release a worker is offered; `nil` offers everybody the newest one.
    public var offers: ReleaseOffers?
    /// The bytes of bundles.
    public var objects: any ObjectStorage
    /// Makes the bundles no publish made; without one workers fetch full ones instead.
    public var maker: BundleMaker?
    /// Root records and pointers; `nil` for a manager that hands out neither.
    public var trust: ReleaseTrust?
    /// What a worker that joins must agree with.
    public var terms = LinkTerms()
    /// The coordinator's authority, now; `nil` while this manager is not the coordinator.
    public var authority: @Sendable () -> LinkAuthority?

    public init(
        replicas: any ReplicaSource,
        operations: any OperationStorage,
        devices: any DeviceReader,
        enrolment: any EnrolmentService,
        hints: any HintBus,
        releases: any ReleaseStorage,
        objects: any ObjectStorage,
        maker: BundleMaker? = nil,
        trust: ReleaseTrust? = nil,
        authority: @escaping @Sendable () -> LinkAuthority?
    ) {
        self.replicas = replicas
        self.operations = operations
        self.devices = devices
        self.enrolment = enrolment
        self.hints = hints
        self.releases = releases
        self.objects = objects
        self.maker = maker
        self.trust = trust
        self.authority = authority
    }
}

/// What only the coordinator has: made when the lease is won, dropped when it is lost.
public struct LinkAuthority: Sendable {
    /// The right to write.
    public var capability: WriteCapability
    /// Takes joins and heartbeats; the one that also judges silence.
    public var members: ClusterMembersWriter

    public init(capability: WriteCapability, members: ClusterMembersWriter) {
        self.capability = capability
        self.members = members
    }
}

/// The manager's end of the link: what workers dial.
///
/// Mount it at ``standardPrefix``. Every route asks for `Permission.link`, and the token's name is
/// the node: a worker speaks for itself only. A link's token is not bound to a tenant, because a
/// worker serves all of them.
public struct LinkEndpoint: HTTPHandler, RouteListing {
    /// Where workers look for it.
    public static let standardPrefix = "/link/v1"

    let services: LinkServices
    let limits: LinkLimits
    let time: any TimeSource
    private var table: RouteTable

    /// Makes the endpoint.
    ///
    /// - Parameters:
    ///   - services: what it works on.
    ///   - authenticator: knows the workers' tokens.
    ///   - limits: sizes of pages, batches and waits; the standard ones work.
    ///   - time: bounds waits and stamps members.
    /// - Throws: never in practice: the routes are fixed, and a test holds them.
    public init(
        services: LinkServices,
        authenticator: any BearerAuthenticator,
        limits: LinkLimits = LinkLimits(),
        time: any TimeSource = SystemTimeSource()
    ) throws {
        self.services = services
        self.limits = limits
        self.time = time
        table = RouteTable(authenticator: authenticator)
        try addMemberRoutes()
        try addReplicaRoutes()
        try addDeviceRoutes()
        try addReleaseRoutes()
    }

    public var routes: [RouteDescription] { table.routes }

    public func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
        try await table.handle(request)
    }

    /// Adds a route that asks for the permission to link and hands its action the node that calls.
    mutating func on(
        _ method: HTTPRequest.Method,
        _ pattern: String,
        operationID: String,
        maximumBodyBytes: Int? = nil,
        perform action: @escaping @Sendable (HandlerRequest, NodeID) async throws -> HandlerResponse
    ) throws {
        let services = services
        try table.on(
            method,
            pattern,
            operationID: operationID,
            access: .permission(.link),
            maximumBodyBytes: maximumBodyBytes
        ) { request in
            let node = try NodeID(validating: try request.requireIdentity().name)
            // Whatever it asks, it is there.
            await services.authority()?.members.heard(node)
            return try await action(request, node)
        }
    }

    /// Adds a route for other managers: they hold a token that may link and publish, which neither a
    /// worker's nor a person's may.
    mutating func onAsManager(
        _ method: HTTPRequest.Method,
        _ pattern: String,
        operationID: String,
        perform action: @escaping @Sendable (HandlerRequest) async throws -> HandlerResponse
    ) throws {
        try table.on(
            method,
            pattern,
            operationID: operationID,
            access: .permission(.link),
            maximumBodyBytes: limits.maximumObjectBytes
        ) { request in
            try await action(request)
        }
    }

    /// The authority to write with.
    func authority() throws -> (epoch: Epoch, members: ClusterMembersWriter) {
        guard let authority = services.authority(), !authority.capability.isRevoked else {
            throw ClusterTransportError(
                .notCoordinator,
                "This manager is not the coordinator now. Ask another, or this one again later.",
                retryAfter: .seconds(1)
            )
        }
        return (try authority.capability.requireEpoch(), authority.members)
    }

    /// How long a request may wait: what its query `wait` says in whole seconds, up to the limit.
    func wait(of request: HandlerRequest) throws -> Duration {
        let seconds = try request.query.integer("wait", in: 0...3_600) ?? 0
        return min(.seconds(seconds), limits.maximumWait)
    }
}

/// Who is there: `hello`, `heartbeat`.
extension LinkEndpoint {
    mutating func addMemberRoutes() throws {
        let endpoint = self
        try on(.post, "/hello", operationID: "linkHello") { request, node in
            try await endpoint.hello(try await request.decode(), from: node, request)
        }
        try on(.post, "/heartbeat", operationID: "linkHeartbeat") { request, node in
            try await endpoint.heartbeat(try await request.decode(), from: node)
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
                "This token is \(node)'s; the hello says \(hello.node). Give each worker its own token."
            )
        }
        guard hello.role.mayServe else {
            throw ClusterTransportError(
                .wrongRole,
                "A \(hello.role.rawValue) does not speak the worker's half of the link. Start it with "
                    + "the profile worker."
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
        let (epoch, members) = try authority()
        guard hello.highestEpoch <= epoch else {
            request.logger.error(
                "A worker has seen a newer coordinator than this manager",
                metadata: [
                    "node": "\(node)", "seen": "\(hello.highestEpoch)", "epoch": "\(epoch)",
                ]
            )
            throw ClusterTransportError(
                .epochBehind,
                "\(node) has seen \(hello.highestEpoch), this manager is at \(epoch). If its store was "
                    + "restored on purpose, raise the epoch above that."
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
        return try await welcome(epoch, mode: asked)
    }

    private func heartbeat(
        _ heartbeat: LinkHeartbeat,
        from node: NodeID
    ) async throws -> HandlerResponse {
        try check(heartbeat.properties)
        let (epoch, members) = try authority()
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

    private func welcome(_ epoch: Epoch, mode: MemberMode) async throws -> HandlerResponse {
        try .json(
            LinkWelcome(
                epoch: epoch,
                revision: try await services.replicas.currentRevision(),
                mode: mode,
                heartbeatEvery: limits.heartbeatInterval
            )
        )
    }
}
#endif
