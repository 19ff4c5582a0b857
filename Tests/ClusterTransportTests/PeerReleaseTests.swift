#if Server && SQLite
import ArtifactStore
import ClusterRole
import ClusterTransport
import Foundation
import HTTPHandling
import HummingbirdHosting
import XCTest

@testable import ClusterLink

/// A worker that serves its releases to peers, over HTTP and without any manager.
final class PeerReleaseTests: XCTestCase {
    private var directory = ""

    override func setUpWithError() throws {
        directory =
            FileManager.default.temporaryDirectory
            .appendingPathComponent("reeve-peers-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(
            atPath: "\(directory)/site",
            withIntermediateDirectories: true
        )
        try Data("one".utf8).write(to: URL(fileURLWithPath: "\(directory)/site/index.html"))
        // More than one piece of a bundle, and nothing that compresses.
        let noise = (0..<600_000).map { _ in UInt8.random(in: 0...255) }
        try Data(noise).write(to: URL(fileURLWithPath: "\(directory)/site/noise"))
    }

    override func tearDownWithError() throws {
        try FileManager.default.removeItem(atPath: directory)
    }

    func test_newWorker_startsFromAPeerOverHTTP_andFromItsExport_withEveryManagerDown() async throws
    {
        let ledger = InMemoryLedger()
        let capability = WriteCapability(epoch: ledger.raiseEpoch())
        let releases = InMemoryReleaseStorage(ledger: ledger)
        let objects = InMemoryObjectStorage()
        let signer = try Ed25519Signer()
        var publishing = PublisherConfiguration()
        publishing.scratchDirectory = directory
        publishing.logger = quiet
        let publisher = ArtifactPublisher(
            storage: releases,
            objects: objects,
            signer: signer,
            capability: capability,
            configuration: publishing
        )
        _ = try await publisher.publish("\(directory)/site", to: "web/site")
        let artifacts = ArtifactSet(
            channels: ["web/site"],
            deployers: [DirectoryDeployer()],
            source: InProcessReleaseSource(
                storage: releases,
                objects: objects,
                capability: capability
            ),
            directory: "\(directory)/channels",
            trusted: TrustedKeys(signer.publicKey),
            configuration: configuration("worker-1")
        )
        try await artifacts.start()
        try await artifacts.sync(of: "web/site")?.syncOnce()

        let held = try HeldReleaseSource(artifacts, directory: "\(directory)/held")
        let tokens = InMemoryTokens([
            "shared": Identity(name: "peer", permissions: [.link]),
            "weak": Identity(name: "reader", permissions: [.read]),
        ])
        let server = try ReeveServer(
            configuration: ReeveServerConfiguration(address: .loopback(port: 0)),
            mounts: [
                HandlerMount(
                    LinkEndpoint.standardPrefix,
                    try PeerReleaseEndpoint(held, authenticator: tokens)
                )
            ],
            logger: quiet
        )
        let running = Task { try await server.run() }
        do {
            let port = try await server.boundAddress.port
            try await exercise(port: port, TrustedKeys(signer.publicKey))
        } catch {
            running.cancel()
            throw error
        }
        running.cancel()
        _ = await running.result
    }

    private func configuration(_ node: NodeID) -> SyncConfiguration {
        var configuration = SyncConfiguration(node: node)
        configuration.logger = quiet
        return configuration
    }

    private func client(_ port: Int, token: String) throws -> LinkClient {
        try LinkClient(
            node: "fresh",
            configuration: LinkClientConfiguration(
                addresses: ["http://127.0.0.1:\(port)"],
                token: token
            ),
            logger: quiet
        )
    }

    private func worker(
        _ name: String,
        _ source: any ReleaseSource,
        _ trusted: TrustedKeys
    ) -> ArtifactSync {
        ArtifactSync(
            channel: "web/site",
            source: source,
            directory: "\(directory)/\(name)",
            deployer: DirectoryDeployer(),
            trusted: trusted,
            configuration: configuration(NodeID(rawValue: name))
        )
    }

    private func exercise(port: Int, _ trusted: TrustedKeys) async throws {
        let manager = try client(1, token: "shared")
        let peer = try client(port, token: "shared")
        let fresh = worker("fresh", FailoverReleaseSource([manager, peer]), trusted)
        let report = try await fresh.syncOnce()
        XCTAssertTrue(report.isApplied)
        XCTAssertEqual(try text(fresh), "one")
        let again = try await fresh.syncOnce()
        guard case .unchanged = again.outcome else { return XCTFail("\(again)") }

        for token in ["weak", "wrong"] {
            do {
                let denied = worker("denied-\(token)", try client(port, token: token), trusted)
                try await denied.syncOnce()
                XCTFail("\(token) was let in")
            } catch is ClusterLinkError {}
        }

        let file = "\(directory)/site.export"
        try await ReleaseExport.write("web/site", from: peer, to: file)
        let imported = worker(
            "imported",
            FailoverReleaseSource([manager, ExportedReleaseSource(paths: [file])]),
            trusted
        )
        try await imported.syncOnce()
        XCTAssertEqual(try text(imported), "one")

        // Taken up in the middle.
        let answer = try await peer.latestRelease(
            of: "web/site",
            tenant: .standard,
            unlessAt: nil
        )
        guard case .release(let stored) = answer else { return XCTFail("\(answer)") }
        let full = stored.published.bundles[0]
        let whole = try await peer.bundle(full, from: 0).collect(upTo: 1 << 24)
        let rest = try await peer.bundle(full, from: 300_000).collect(upTo: 1 << 24)
        XCTAssertEqual(rest, Array(whole.dropFirst(300_000)))
    }

    private func text(_ sync: ArtifactSync) throws -> String {
        try String(
            contentsOfFile: try XCTUnwrap(sync.active).path(of: "index.html"),
            encoding: .utf8
        )
    }
}
#endif
