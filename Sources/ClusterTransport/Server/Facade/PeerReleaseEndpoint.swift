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
            "/bundles/{object}",
            operationID: "peerBundle",
            access: .permission(.link)
        ) { try await Self.bundle($0, source.objects) }
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

    private static func bundle(
        _ request: HandlerRequest,
        _ objects: any ObjectStorage
    ) async throws -> HandlerResponse {
        let digest = try ContentDigest(parsing: try request.parameters.require("object"))
        guard let length = try await objects.byteCount(of: digest) else {
            throw ArtifactStoreError(
                .notFound,
                "There is no object \(digest). Ask for the channel's newest release again."
            )
        }
        let field = request.headerFields[.range]
        let start = field.flatMap { field -> Int64? in
            guard field.hasPrefix("bytes="), field.hasSuffix("-") else { return nil }
            return Int64(field.dropFirst(6).dropLast())
        }
        guard let start, (0..<length).contains(start) else {
            return HandlerResponse(
                headerFields: [.contentType: MediaType.bytes, .acceptRanges: "bytes"],
                body: .stream(try await objects.read(digest, from: 0), length: length)
            )
        }
        return HandlerResponse(
            status: .partialContent,
            headerFields: [
                .contentType: MediaType.bytes,
                .contentRange: "bytes \(start)-\(length - 1)/\(length)",
            ],
            body: .stream(try await objects.read(digest, from: start), length: length - start)
        )
    }
}
#endif
