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
    /// Keeps copies for other managers, and tells them which of theirs it needs; `nil` for a manager
    /// whose ``objects`` are one storage for everybody, which then takes the copies.
    public var care: ObjectCare?
    /// Makes the bundles no publish made; without one workers fetch full ones instead.
    public var maker: BundleMaker?
    /// Root records and pointers; `nil` for a manager that hands out neither.
    public var trust: ReleaseTrust?
    /// Messages between members and the replicated state; without it their routes are not there.
    public var messaging: LinkMessaging?
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
/// Mount it at ``standardPrefix``. Every route asks for `Permission.link`, and the certificate's or the
/// token's name is the node: a worker speaks for itself only. With certificates their role decides what
/// may be asked: a manager's cannot play a worker, and a worker's cannot play a manager, whatever token
/// it shows. Neither is bound to a tenant, because a worker serves all of them.
public struct LinkEndpoint: HTTPHandler, RouteListing {
    /// Where workers look for it.
    public static let standardPrefix = "/link/v1"

    let services: LinkServices
    let limits: LinkLimits
    let time: any TimeSource
    let random: any RandomSource
    /// What it knows of workers since they said hello.
    public let sessions: LinkSessions
    private let requiresCertificates: Bool
    private var table: RouteTable

    /// Problems that are refusals of a caller although their status is no 401 or 403, for a
    /// `RefusalObserver`.
    public static let refusalCodes: Set<String> = [
        ClusterTransportError.Code.epochBehind.rawValue,
        ClusterTransportError.Code.replayed.rawValue,
    ]

    /// Makes the endpoint.
    ///
    /// - Parameters:
    ///   - services: what it works on.
    ///   - authenticator: knows the workers' tokens.
    ///   - requiresCertificates: whether only nodes with a certificate are heard; tokens alone then
    ///     count for nothing here.
    ///   - limits: sizes of pages, batches and waits; the standard ones work.
    ///   - time: bounds waits and stamps members.
    ///   - recorder: told of every request that is refused for who sends it.
    ///   - random: draws nonces.
    /// - Throws: never in practice: the routes are fixed, and a test holds them.
    public init(
        services: LinkServices,
        authenticator: any BearerAuthenticator,
        requiresCertificates: Bool = false,
        limits: LinkLimits = LinkLimits(),
        time: any TimeSource = SystemTimeSource(),
        random: any RandomSource = SystemRandomSource(),
        recorder: (any AccessRecorder)? = nil
    ) throws {
        self.services = services
        self.requiresCertificates = requiresCertificates
        self.limits = limits
        self.time = time
        self.random = random
        sessions = LinkSessions(maximumNodes: limits.maximumSessions)
        table = RouteTable(authenticator: authenticator, recorder: recorder)
        try addMemberRoutes()
        try addReplicaRoutes()
        try addDeviceRoutes()
        try addReleaseRoutes()
        try addMessageRoutes()
    }

    public var routes: [RouteDescription] { table.routes }

    public func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
        guard !requiresCertificates || request.peerCertificate != nil else {
            throw ClusterTransportError(
                .noCertificate,
                "The link is for nodes with a certificate of this cluster. Dial with one; header fields "
                    + "of a proxy do not stand for it."
            )
        }
        return try await table.handle(request)
    }

    /// Who may call a route, by the role of the certificate. Tokens say it by their permissions.
    enum Callers: Sendable {
        /// Nodes that serve.
        case serving
        /// Nodes of every role.
        case nodes
        /// Nodes that write.
        case managing
    }

    /// The node that calls.
    private func caller(
        of request: HandlerRequest,
        _ callers: Callers
    ) throws -> NodeID {
        let node = try NodeID(validating: try request.requireIdentity().name)
        guard let subject = request.peerCertificate?.subject else { return node }
        guard subject.node == node else {
            throw ClusterTransportError(
                .wrongNode,
                "This certificate is \(subject.node)'s, the token \(node)'s. Give each node its own."
            )
        }
        let may =
            switch callers {
            case .serving: subject.role.mayServe
            case .nodes: true
            case .managing: subject.role.mayWrite
            }
        guard may else {
            throw ClusterTransportError(
                .wrongRole,
                "The certificate of \(node) is a \(subject.role.rawValue)'s, which may not ask for this."
            )
        }
        return node
    }

    /// Adds a route that asks for the permission to link and hands its action the node that calls.
    mutating func on(
        _ method: HTTPRequest.Method,
        _ pattern: String,
        operationID: String,
        for callers: Callers = .serving,
        maximumBodyBytes: Int? = nil,
        perform action: @escaping @Sendable (HandlerRequest, NodeID) async throws -> HandlerResponse
    ) throws {
        let endpoint = self
        let services = services
        try table.on(
            method,
            pattern,
            operationID: operationID,
            access: .permission(.link),
            maximumBodyBytes: maximumBodyBytes
        ) { request in
            let node = try endpoint.caller(of: request, callers)
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
        let endpoint = self
        try table.on(
            method,
            pattern,
            operationID: operationID,
            access: .permission(.link),
            maximumBodyBytes: limits.maximumObjectBytes
        ) { request in
            _ = try endpoint.caller(of: request, .managing)
            return try await action(request)
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
#endif
