#if Server
public import ArtifactStore
internal import AsyncHTTPClient
public import ClusterRole
internal import ClusterTransport
internal import NIOCore
internal import NIOHTTP1
internal import Synchronization

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
        let path =
            "/channels/\(percentEncoded(tenant.rawValue))/\(percentEncoded(channel.rawValue))"
        let line = TrustMemory.Line(tenant: tenant, channel: channel)
        // A worker that asked for trust before will ask again.
        var query = trustMemory.begin(line).map { ["root=\($0)"] } ?? []
        var wait = Duration.zero
        if revision != nil {
            wait = connection.releaseWait
            if wait > .zero { query.append("wait=\(wait.components.seconds)") }
        }
        let isPlain = query.isEmpty
        var request = LinkRequest.get(
            isPlain ? path : path + "?" + query.joined(separator: "&")
        )
        if let revision {
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
        guard LinkRelease.begins(answer.body) else {
            let published = try PublishedRelease(decoding: answer.body)
            return .release(StoredRelease(published: published, revision: newest))
        }
        let both = try LinkRelease(decoding: answer.body)
        trustMemory.keep(both.trust, for: line)
        return .release(StoredRelease(published: both.published, revision: newest))
    }

    /// Asks for root records and a pointer. A manager of an earlier version has neither.
    public func trust(
        of channel: ChannelName,
        tenant: TenantID,
        afterRoot version: Int64
    ) async throws -> TrustAnswer {
        let line = TrustMemory.Line(tenant: tenant, channel: channel)
        if let came = trustMemory.take(line, afterRoot: version) { return came }
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
        let bytes = LinkAcknowledgement.encoded(applied, tenant: tenant)
        do {
            _ = try await connection.send(.post("/acknowledgements", bytes: bytes))
        } catch let error as ClusterLinkError where error.status == 415 {
            // A manager of an earlier version reads JSON only.
            let message = LinkAcknowledgement(tenant: tenant, applied: applied)
            _ = try await connection.send(try .post("/acknowledgements", json: message))
        }
    }
}

/// What came about trust with a release, until it is asked for; and after which root record that was.
final class TrustMemory: Sendable {
    struct Line: Hashable, Sendable {
        let tenant: TenantID
        let channel: ChannelName
    }

    private struct Known {
        var root: Int64
        var answer: TrustAnswer?
    }

    private let known = Mutex<[Line: Known]>([:])

    /// The most channels that are remembered: a worker keeps fewer.
    private static let maximumLines = 1_024

    /// A release is asked for: what came with the one before is forgotten.
    ///
    /// - Returns: the root record the worker last named; `nil` if it never asked.
    func begin(_ line: Line) -> Int64? {
        known.withLock { known in
            known[line]?.answer = nil
            return known[line]?.root
        }
    }

    func keep(_ answer: TrustAnswer, for line: Line) {
        known.withLock { $0[line]?.answer = answer }
    }

    /// What came with the release, once, if it is what would be asked for now.
    func take(_ line: Line, afterRoot version: Int64) -> TrustAnswer? {
        known.withLock { known in
            if known.count >= Self.maximumLines, known[line] == nil { known.removeAll() }
            let found = known[line]
            known[line] = Known(root: version, answer: nil)
            return found?.root == version ? found?.answer : nil
        }
    }
}

extension LinkClient: ReleaseHealthSink {
    public func report(_ health: ReleaseHealth, tenant: TenantID) async throws {
        let message = LinkHealth(tenant: tenant, health: health)
        _ = try await connection.send(try .post("/health", json: message))
    }
}
#endif
