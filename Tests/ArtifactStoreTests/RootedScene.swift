import ArtifactStore
import ClusterRole
import Foundation
import XCTest

/// A manager and workers that go by a root record: two of three root keys, two release keys, one
/// pointer key.
struct RootedScene {
    let harness: Harness
    let rootKeys: [Ed25519Signer]
    /// Signs releases beside the harness's signer.
    let second: Ed25519Signer
    let pointerKey: Ed25519Signer

    init() async throws {
        let second = try Ed25519Signer()
        let pointerKey = try Ed25519Signer()
        self.second = second
        self.pointerKey = pointerKey
        rootKeys = try (0..<3).map { _ in try Ed25519Signer() }
        harness = try Harness(pointerSigners: [pointerKey]) { $0.cosigners = [second] }
        let first = try await SignedRoot.signed(
            try RootRecord(
                version: 1,
                rootKeys: try RoleKeys(rootKeys.map(\.publicKey), threshold: 2),
                releaseKeys: try RoleKeys(
                    [harness.signer.publicKey, second.publicKey],
                    threshold: 2
                ),
                pointerKeys: try RoleKeys([pointerKey.publicKey])
            ),
            by: rootKeys
        )
        try harness.trust.roots.install(first)
    }

    func sync(_ name: String = "worker-1") -> ArtifactSync {
        harness.sync(name, trusted: pinned)
    }

    /// What an installer would have given each worker: the first root record.
    var pinned: TrustedKeys {
        guard let first = harness.trust.roots.records(after: 0).first,
            let keys = try? TrustedKeys(pinning: first)
        else { return TrustedKeys() }
        return keys
    }

    /// What the worker keeps across restarts, byte by byte.
    func remembered(_ name: String = "worker-1") throws -> [Data] {
        try ["state", "trust"].map {
            try Data(contentsOf: URL(fileURLWithPath: "\(harness.directory.path(name))/\($0)"))
        }
    }

    func newest() async throws -> PublishedRelease {
        let stored = try await harness.releases.latest(of: Harness.channel, tenant: .standard)
        return try XCTUnwrap(stored).published
    }

    func pointer(
        to signed: SignedRelease,
        by signers: [any ReleaseSigner],
        issued: Timestamp? = nil
    ) async throws -> SignedPointer {
        let now = issued ?? harness.time.now()
        return try await SignedPointer.signed(
            ReleasePointer(to: signed, issued: now, expires: now + .seconds(3_600)),
            by: signers
        )
    }

    /// Installs the next root record with other release and pointer keys.
    func rotate(
        releaseKeys: [Ed25519Signer],
        pointerKey: Ed25519Signer,
        signedBy signers: [any ReleaseSigner]? = nil
    ) async throws {
        let old = try XCTUnwrap(harness.trust.roots.newest).root
        let next = try RootRecord(
            version: old.version + 1,
            rootKeys: old.rootKeys,
            releaseKeys: try RoleKeys(releaseKeys.map(\.publicKey), threshold: releaseKeys.count),
            pointerKeys: try RoleKeys([pointerKey.publicKey])
        )
        try harness.trust.roots.install(
            try await SignedRoot.signed(next, by: signers ?? Array(rootKeys.prefix(2)))
        )
    }

    /// A manager with other keys takes over: its pointers are the source's from now on.
    func republish(
        _ files: [String: String],
        signedBy keys: [Ed25519Signer]
    ) async throws -> Release {
        var configuration = PublisherConfiguration()
        configuration.scratchDirectory = harness.directory.path
        configuration.time = harness.time
        configuration.cosigners = Array(keys.dropFirst())
        let publisher = ArtifactPublisher(
            storage: harness.releases,
            objects: harness.objects,
            signer: keys[0],
            capability: harness.capability,
            configuration: configuration
        )
        let path = try harness.directory.write(files, in: "rotated")
        let publication = try await publisher.publish(path, to: Harness.channel)
        let signed = publication.release.published.signed
        let root = try XCTUnwrap(harness.trust.roots.newest).root
        let signer = try XCTUnwrap(
            keys.first { $0.publicKey.id == root.pointerKeys.keys[0].id }
        )
        let pointer = try await pointer(to: signed, by: [signer])
        harness.source.answerTrust { TrustAnswer(roots: $0.roots, pointer: pointer) }
        return publication.release.release
    }
}

extension Release {
    /// The same record with something else in it. Trees are empty where only their size counts.
    private func changed(
        tenant: TenantID? = nil,
        channel: ChannelName? = nil,
        kind: ArtifactKind? = nil,
        number: ReleaseNumber? = nil,
        needs: [ReleaseDependency]? = nil
    ) -> Release {
        Release(
            tenant: tenant ?? self.tenant,
            channel: channel ?? self.channel,
            kind: kind ?? self.kind,
            number: number ?? self.number,
            root: root,
            fileCount: fileCount,
            totalBytes: totalBytes,
            manifestBytes: manifestBytes,
            previousRoot: previousRoot,
            created: created,
            expires: expires,
            key: key,
            links: links,
            dependencies: needs ?? dependencies,
            requirements: requirements,
            publisher: publisher
        )
    }

    func numbered(_ number: ReleaseNumber) -> Release { changed(number: number) }
    func needing(_ channel: ChannelName) -> Release {
        changed(needs: [ReleaseDependency(channel)])
    }
    func moved(channel: ChannelName) -> Release { changed(channel: channel) }
    func moved(tenant: TenantID) -> Release { changed(tenant: tenant) }
    func moved(kind: ArtifactKind) -> Release { changed(kind: kind) }
}
