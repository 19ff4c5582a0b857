#if Server
public import ClusterRole
public import HTTPTypes
public import Logging

/// One request, independent of the server that received it.
public struct HandlerRequest: Sendable {
    /// Method, target and header fields as they came, without what a stranger claimed in the name of a
    /// proxy (``TrustedProxyHandler``).
    public internal(set) var head: HTTPRequest
    /// The parsed target; complete, whatever the handler is mounted under.
    public let target: RequestTarget
    /// The address of the peer, without the port, if the host knows it. A proxy's, behind a proxy.
    public let remoteAddress: String?
    /// What a named proxy told of the client; `nil` without one.
    public internal(set) var origin: RequestOrigin?
    /// What the `{names}` of the route's pattern matched.
    public package(set) var parameters: PathParameters
    /// The body. It can be read once.
    public var body: HandlerBody
    /// A logger that names the request.
    public var logger: Logger
    /// Who is calling: set by the host, or by ``RouteTable`` from the bearer token.
    public var identity: Identity?
    /// The certificate the caller presented to this process, verified by the host; `nil` without one.
    /// Header fields never set it: whoever ends TLS in front of this process vouches for its callers in
    /// another way.
    public var peerCertificate: PeerCertificate?
    /// The limits that hold for this request.
    public var limits: HandlerLimits
    /// Returns once the caller has gone away, or when cancelled; `nil` where the host cannot tell. For
    /// handlers that wait: see ``whileCallerIsThere(_:)``.
    public var untilCallerIsGone: (@Sendable () async -> Void)?
    /// How many leading segments of the path were consumed by mounts.
    private var mountDepth = 0

    public init(
        head: HTTPRequest,
        body: HandlerBody = HandlerBody(),
        remoteAddress: String? = nil,
        identity: Identity? = nil,
        limits: HandlerLimits = HandlerLimits(),
        logger: Logger
    ) {
        self.head = head
        target = RequestTarget(head.path ?? "/")
        self.remoteAddress = remoteAddress
        parameters = PathParameters([])
        self.body = body
        self.logger = logger
        self.identity = identity
        self.limits = limits
    }

    public var method: HTTPRequest.Method { head.method }
    public var headerFields: HTTPFields { head.headerFields }
    public var query: RequestQuery { target.query }

    /// The segments of the path below the handler's mount.
    ///
    /// - Throws: ``HTTPHandlingError`` with code `invalidPath` if the path cannot be decoded.
    public func relativeSegments() throws -> ArraySlice<String> {
        guard let segments = target.segments else {
            throw HTTPHandlingError(
                .invalidPath,
                "The path holds a broken percent-escape. Encode each segment as UTF-8."
            )
        }
        return segments.dropFirst(mountDepth)
    }

    /// The same request as a handler mounted `count` segments further down sees it. Hosts call it.
    public func mounted(below count: Int) -> HandlerRequest {
        var result = self
        result.mountDepth += count
        return result
    }

    /// Runs `body`, and cancels it when the caller goes away: what a handler that waits does, so that
    /// nobody's place is kept.
    public func whileCallerIsThere<Result: Sendable>(
        _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        guard let untilCallerIsGone else { return try await body() }
        return try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                await untilCallerIsGone()
                return nil
            }
            defer { group.cancelAll() }
            guard let result = try await group.next() ?? nil else { throw CancellationError() }
            return result
        }
    }

    /// Who is calling, for a handler that needs to know.
    ///
    /// - Throws: ``HTTPHandlingError`` with code `unauthenticated`.
    public func requireIdentity() throws -> Identity {
        guard let identity else { throw HTTPHandlingError.unauthenticated() }
        return identity
    }

    /// The token of `Authorization: Bearer …` (RFC 6750), if there is one.
    public var bearerToken: String? {
        guard let value = headerFields[.authorization] else { return nil }
        let parts = value.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: true)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
        let token = parts[1].drop { $0 == " " }
        return token.isEmpty ? nil : String(token)
    }
}

/// What the `{names}` of a route's pattern matched, decoded.
public struct PathParameters: Hashable, Sendable {
    private let values: [Pair]

    private struct Pair: Hashable, Sendable {
        let name: String
        let value: String
    }

    package init(_ values: [(name: String, value: String)]) {
        self.values = values.map { Pair(name: $0.name, value: $0.value) }
    }

    public subscript(name: String) -> String? { values.first { $0.name == name }?.value }

    /// The value of `name`.
    ///
    /// - Throws: ``HTTPHandlingError`` with code `invalidParameter` if the pattern has no such
    ///   name.
    public func require(_ name: String) throws -> String {
        guard let value = self[name] else {
            throw HTTPHandlingError(.invalidParameter, "The path lacks \(name).")
        }
        return value
    }

    /// The value of `name` as a validated name.
    ///
    /// - Throws: `ClusterRoleError` with code `invalidName` if it is not one.
    public func require<Name: NameIdentifier>(
        _ name: String,
        as type: Name.Type = Name.self
    ) throws -> Name {
        try Name(validating: require(name))
    }

    /// The value of `name` as a random identifier.
    ///
    /// - Throws: `ClusterRoleError` with code `invalidIdentifier` if it is not one.
    public func require<Name: RandomIdentifier>(
        _ name: String,
        as type: Name.Type = Name.self
    ) throws -> Name {
        try Name(parsing: require(name))
    }
}

extension HTTPHandlingError {
    /// No token, or one nobody knows: the two are not told apart.
    public static func unauthenticated() -> HTTPHandlingError {
        HTTPHandlingError(
            .unauthenticated,
            "Send a valid token: Authorization: Bearer TOKEN.",
            headerFields: [.wwwAuthenticate: "Bearer realm=\"reeve\""]
        )
    }

    /// A known caller who may not do this.
    public static func forbidden(_ permission: Permission) -> HTTPHandlingError {
        HTTPHandlingError(
            .forbidden,
            "This needs the permission \(permission). Ask an administrator for a token that has it."
        )
    }
}
#endif
