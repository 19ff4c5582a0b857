#if Server
public import ArtifactStore
internal import AsyncHTTPClient
public import ClusterRole
internal import NIOCore
internal import NIOHTTP1

/// Another manager, over its link, as a place of objects.
///
/// Make its ``LinkClient`` with that manager's address alone and a token that has the permissions `link`
/// and `publish`, and hand it to a `ReplicatedObjectStorage`.
public struct LinkObjectPeer: ObjectPeer {
    public let name: String
    private let client: LinkClient

    /// Names a manager in errors and reports.
    public init(name: String, _ client: LinkClient) {
        self.name = name
        self.client = client
    }

    public func fetch(
        _ digest: ContentDigest,
        tenant: TenantID
    ) async throws -> ByteChunks? {
        do {
            return try await client.bytes("/bundles/\(digest)\(Self.query(tenant))", from: 0)
        } catch let error as ClusterLinkError where error.status == 404 {
            return nil
        }
    }

    public func keep(
        _ object: StoredObject,
        tenant: TenantID,
        _ chunks: ByteChunks
    ) async throws {
        var request = LinkRequest(
            method: .PUT,
            path: "/bundles/\(object.digest)\(Self.query(tenant))"
        )
        request.contentType = "application/octet-stream"
        request.stream = (chunks, object.byteCount)
        request.wait = client.connection.bundleTimeout
        _ = try await client.connection.send(request)
    }

    public func needed(of tenant: TenantID) async throws -> Set<ContentDigest> {
        let answer = try await client.connection.send(.get("/bundles\(Self.query(tenant))"))
        return try Self.digests(in: answer)
    }

    /// A manager of an earlier version cannot be asked: that throws.
    public func missing(
        of objects: Set<ContentDigest>,
        tenant: TenantID
    ) async throws -> Set<ContentDigest> {
        let answer = try await client.connection.send(
            .post("/bundles\(Self.query(tenant))", bytes: objects.sorted().flatMap(\.bytes))
        )
        return try Self.digests(in: answer)
    }

    private static func digests(in answer: LinkAnswer) throws -> Set<ContentDigest> {
        do {
            return Set(try ContentDigest.all(in: answer.body))
        } catch {
            throw ClusterLinkError(
                .badAnswer,
                "A manager's list of objects ends in the middle of one. Compare versions.",
                cause: error
            )
        }
    }

    private static func query(_ tenant: TenantID) -> String {
        "?tenant=\(percentEncoded(tenant.rawValue))"
    }
}
#endif
