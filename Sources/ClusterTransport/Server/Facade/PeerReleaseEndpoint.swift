#if Server
public import ArtifactStore
internal import ClusterRole
public import HTTPHandling
internal import HTTPTypes

/// The link's read half of artifacts, served by a worker to its peers: mounted at `/link/v1`, so that
/// a peer dials it with the same client as a manager.
///
/// | route | answer |
/// |--|--|
/// | `GET /channels/{tenant}/{channel}` | the newest release: 200 with its revision as `ETag`, 304, 204 |
/// | `GET /trust/{tenant}/{channel}` | the root record and the pointer this worker goes by |
/// | `GET /bundles/{object}` | a bundle's bytes, from where `Range: bytes=N-` says |
///
/// It writes nothing and takes no acknowledgements; what it hands out is verified by whoever asks.
public struct PeerReleaseEndpoint: HTTPHandler, RouteListing {
    private var table: RouteTable

    /// - Parameters:
    ///   - source: what this node serves.
    ///   - authenticator: tells peers by their token; they need the permission `link`.
    /// - Throws: `HTTPHandlingError` with code `invalidRoute`, which the fixed routes never cause.
    public init(_ source: HeldReleaseSource, authenticator: any BearerAuthenticator) throws {
        table = RouteTable(authenticator: authenticator)
        try table.on(
            .get,
            "/channels/{tenant}/{channel}",
            operationID: "peerChannel",
            access: .permission(.link)
        ) { try await Self.latestRelease($0, source) }
        try table.on(
            .get,
            "/trust/{tenant}/{channel}",
            operationID: "peerTrust",
            access: .permission(.link)
        ) { try await Self.trust($0, source) }
        try table.on(
            .get,
            "/bundles/{object}",
            operationID: "peerBundle",
            access: .permission(.link)
        ) { request in
            try await ObjectAnswer.make(
                try ContentDigest(parsing: try request.parameters.require("object")),
                of: source.objects,
                to: request
            )
        }
    }

    public var routes: [RouteDescription] { table.routes }

    public func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
        try await table.handle(request)
    }

    private static func latestRelease(
        _ request: HandlerRequest,
        _ source: HeldReleaseSource
    ) async throws -> HandlerResponse {
        let answer = try await source.latestRelease(
            of: try ChannelName(validating: try request.parameters.require("channel")),
            tenant: try request.parameters.require("tenant"),
            unlessAt: nil
        )
        guard case .release(let stored) = answer else { return .empty() }
        let tag = "\"\(stored.revision)\""
        if request.headerFields[.ifNoneMatch] == tag {
            return .empty(.notModified, headerFields: [.eTag: tag])
        }
        return .bytes(
            stored.published.encoded,
            contentType: MediaType.bytes,
            headerFields: [.eTag: tag, .cacheControl: "no-store"]
        )
    }

    private static func trust(
        _ request: HandlerRequest,
        _ source: HeldReleaseSource
    ) async throws -> HandlerResponse {
        let answer = try await source.trust(
            of: try ChannelName(validating: try request.parameters.require("channel")),
            tenant: try request.parameters.require("tenant"),
            afterRoot: Int64(try request.query.integer("root", in: 0...Int(Int32.max)) ?? 0)
        )
        return .bytes(
            answer.encoded,
            contentType: MediaType.bytes,
            headerFields: [.cacheControl: "no-store"]
        )
    }
}
#endif
