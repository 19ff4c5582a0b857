#if Server
public import ArtifactStore
internal import AsyncHTTPClient
public import ClusterRole
internal import ClusterTransport
internal import NIOCore
internal import NIOHTTP1

/// The manager's releases, pulled over the link.
extension LinkClient: ReleaseSource {
    /// Asks for the newest release. With a revision the manager is asked to wait for a newer one, at
    /// most for ``LinkClientConfiguration/releaseWait``, so that a caller that asks in a loop hears of a
    /// release at once.
    public func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        var path =
            "/channels/\(percentEncoded(tenant.rawValue))/\(percentEncoded(channel.rawValue))"
        var request = LinkRequest.get(path)
        if let revision {
            let wait = connection.releaseWait
            path += "?wait=\(wait.components.seconds)"
            request = .get(path)
            request.wait = wait
            request.headers = [("If-None-Match", "\"\(revision)\"")]
            request.accepted = [304]
        }
        let answer = try await connection.send(request)
        switch answer.status {
        case 304: return .unchanged
        case 204: return .empty
        default: break
        }
        guard let tag = answer.headers.first(name: "ETag"), tag.count > 2,
            let newest = try? Revision(parsing: String(tag.dropFirst().dropLast()))
        else {
            throw ClusterLinkError(
                .badAnswer,
                "A release came without its revision. Compare versions."
            )
        }
        return .release(
            StoredRelease(
                published: try PublishedRelease(decoding: answer.body),
                revision: newest
            )
        )
    }

    /// Asks for root records and a pointer. A manager of an earlier version has neither.
    public func trust(
        of channel: ChannelName,
        tenant: TenantID,
        afterRoot version: Int64
    ) async throws -> TrustAnswer {
        var request = LinkRequest.get(
            "/trust/\(percentEncoded(tenant.rawValue))/\(percentEncoded(channel.rawValue))"
                + "?root=\(version)"
        )
        request.accepted = [404]
        let answer = try await connection.send(request)
        return answer.status == 404 ? TrustAnswer() : try TrustAnswer(decoding: answer.body)
    }

    /// Fetches a bundle. When the connection breaks off, the reader asks again from where it stood.
    public func bundle(
        _ bundle: BundleDescription,
        from offset: Int64
    ) async throws -> ByteChunks {
        try await bytes("/bundles/\(bundle.object)", from: offset)
    }

    /// Asks the manager to make the bundle if nobody did yet; `nil` when it says that there is none.
    public func update(
        from root: TreeID,
        to release: Release,
        at offset: Int64
    ) async throws -> ByteChunks? {
        let path =
            "/bundles/\(root)-\(release.root)?tenant=\(percentEncoded(release.tenant.rawValue))"
            + "&channel=\(percentEncoded(release.channel.rawValue))"
        do {
            return try await bytes(path, from: offset)
        } catch let error as ClusterLinkError where error.status == 404 || error.status == 400 {
            return nil
        }
    }

    func bytes(_ path: String, from offset: Int64) async throws -> ByteChunks {
        var request = LinkRequest.get(path)
        if offset > 0 { request.headers = [("Range", "bytes=\(offset)-")] }
        // The time for the head and the bytes: a bundle on a slow line takes minutes.
        request.wait = connection.bundleTimeout
        let (response, http) = try await connection.open(request)
        guard offset == 0 || response.status == .partialContent else {
            throw ClusterLinkError(
                .badAnswer,
                "The manager sent a bundle from its beginning instead of byte \(offset)."
            )
        }
        return ByteChunks(
            response.body.map { chunk in
                // The client lives as long as its answer is read.
                withExtendedLifetime(http) { Array(chunk.readableBytesView) }
            }
        )
    }

    public func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {
        let message = LinkAcknowledgement(tenant: tenant, applied: applied)
        _ = try await connection.send(try .post("/acknowledgements", json: message))
    }
}

extension LinkClient: ReleaseHealthSink {
    public func report(_ health: ReleaseHealth, tenant: TenantID) async throws {
        let message = LinkHealth(tenant: tenant, health: health)
        _ = try await connection.send(try .post("/health", json: message))
    }
}
#endif
