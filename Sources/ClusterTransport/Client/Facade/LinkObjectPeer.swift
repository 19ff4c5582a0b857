#if Server
public import ArtifactStore
internal import AsyncHTTPClient
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

    public func fetch(_ digest: ContentDigest) async throws -> ByteChunks? {
        do {
            return try await client.bytes("/bundles/\(digest)", from: 0)
        } catch let error as ClusterLinkError where error.status == 404 {
            return nil
        }
    }

    public func keep(_ object: StoredObject, _ chunks: ByteChunks) async throws {
        var request = LinkRequest(method: .PUT, path: "/bundles/\(object.digest)")
        request.contentType = "application/octet-stream"
        request.stream = (chunks, object.byteCount)
        request.wait = client.connection.bundleTimeout
        _ = try await client.connection.send(request)
    }
}
#endif
