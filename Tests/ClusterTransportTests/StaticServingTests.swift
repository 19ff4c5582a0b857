#if Server && SQLite
import ArtifactStore
import ClusterLink
import ClusterRole
import ClusterTestKit
import ClusterTransport
import Foundation
import HTTPHandling
import HTTPTypes
import HummingbirdHosting
import SQLiteReplica
import Synchronization
import XCTest

/// Bundles from a server that knows nothing of releases, and copies between managers.
final class StaticServingTests: XCTestCase {
    private func scratch() throws -> URL {
        let url = FileManager.default.temporaryDirectory
            .appending(path: "reeve-static-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        return url
    }

    private func publisher(
        _ manager: ManagerScene,
        _ objects: any ObjectStorage,
        _ signer: Ed25519Signer,
        in scratch: URL
    ) -> ArtifactPublisher {
        var configuration = PublisherConfiguration()
        configuration.scratchDirectory = scratch.path
        configuration.logger = quiet
        return ArtifactPublisher(
            storage: manager.releases,
            objects: objects,
            signer: signer,
            capability: manager.capability,
            configuration: configuration
        )
    }

    private func write(_ version: Int, to tree: URL) throws {
        try FileManager.default.createDirectory(at: tree, withIntermediateDirectories: true)
        let text = (0..<5_000).map { "\($0 &* 2_654_435_761)\n" }.joined()
        try Data((text + "\(version)").utf8).write(to: tree.appending(path: "big"))
        try Data("\(version)".utf8).write(to: tree.appending(path: "version"))
    }

    /// The manager answers for everything but objects, which it does not even have.
    func test_objects_servedByAPlainFileServer_reachTheWorker_evenWhenConnectionsBreak()
        async throws
    {
        let scratch = try scratch()
        defer { try? FileManager.default.removeItem(at: scratch) }
        let manager = try ManagerScene()
        let path = scratch.appending(path: "objects").path
        let objects = try DirectoryObjectStorage(path: path)
        let signer = manager.signer
        let publisher = publisher(manager, objects, signer, in: scratch)
        let files = FileServer(root: path, elseTo: manager.endpoint)
        let server = try ReeveServer(
            mounts: [HandlerMount(LinkEndpoint.standardPrefix, files)],
            logger: quiet
        )
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try? await server.run() }
            let address = try await server.boundAddress
            let worker = try WorkerScene(addresses: ["http://\(address)"])
            defer { worker.remove() }
            var configuration = SyncConfiguration(node: worker.node)
            configuration.logger = quiet
            configuration.bundleAttempts = 30
            let sync = ArtifactSync(
                channel: "web/site",
                source: worker.client,
                directory: scratch.appending(path: "worker").path,
                deployer: DirectoryDeployer(),
                trusted: TrustedKeys(signer.publicKey),
                configuration: configuration
            )
            for version in 1...2 {
                try write(version, to: scratch.appending(path: "tree"))
                let publication = try await publisher.publish(
                    scratch.appending(path: "tree").path,
                    to: "web/site"
                )
                let report = try await sync.syncOnce()
                XCTAssertEqual(report.transfer, version == 1 ? .full : .incremental)
                let want = try XCTUnwrap(publication.bundles.last).byteCount
                XCTAssertEqual(report.bytesReceived, want)
                let active = try XCTUnwrap(sync.active)
                XCTAssertEqual(
                    try String(contentsOfFile: active.path(of: "version"), encoding: .utf8),
                    "\(version)"
                )
            }
            XCTAssertGreaterThan(files.rangeCount, 0)
            XCTAssertEqual(manager.objects.digests, [])
            try await worker.replica.close()
            tasks.cancelAll()
        }
    }

    func test_bundle_thatIsMissing_isMadeForTheWorkerThatAsks_andResumed() async throws {
        let scratch = try scratch()
        defer { try? FileManager.default.removeItem(at: scratch) }
        let manager = try ManagerScene(makesBundlesIn: scratch.path)
        let publisher = publisher(manager, manager.objects, manager.signer, in: scratch)
        var releases: [Release] = []
        for version in 1...3 {
            try write(version, to: scratch.appending(path: "tree"))
            releases.append(
                try await publisher.publish(
                    scratch.appending(path: "tree").path,
                    to: "web/site"
                ).release.release
            )
        }
        try await withServer(manager) { address in
            let worker = try WorkerScene(addresses: ["http://\(address)"])
            defer { worker.remove() }
            let made = try await worker.client.update(
                from: releases[0].root,
                to: releases[2],
                at: 0
            )
            let bytes = try await XCTUnwrap(made).collect(upTo: 1 << 20)
            let rest = try await worker.client.update(
                from: releases[0].root,
                to: releases[2],
                at: 20
            )
            let tail = try await XCTUnwrap(rest).collect(upTo: 1 << 20)
            XCTAssertEqual(tail, Array(bytes.dropFirst(20)))
            let foreign = try await worker.client.update(
                from: TreeID(ContentDigest(of: [1])),
                to: releases[2],
                at: 0
            )
            XCTAssertNil(foreign)
            try await worker.replica.close()
        }
    }

    func test_publish_withTwoCopies_isDurableOnBothManagers_andAWorkerMayStoreNothing() async throws
    {
        let scratch = try scratch()
        defer { try? FileManager.default.removeItem(at: scratch) }
        let (near, far) = (try ManagerScene(), try ManagerScene())
        far.tokens.insert(
            TokenDigest(of: "manager-1"),
            for: Identity(name: "manager-1", permissions: [.link, .publish])
        )
        try await withServer(far) { address in
            func peer(_ token: String) throws -> LinkObjectPeer {
                LinkObjectPeer(
                    name: "manager-2",
                    try LinkClient(
                        node: "manager-1",
                        configuration: LinkClientConfiguration(
                            addresses: ["http://\(address)"],
                            token: token
                        ),
                        logger: quiet
                    )
                )
            }
            let objects = ReplicatedObjectStorage(
                local: near.objects,
                peers: [try peer("manager-1")],
                copies: 2,
                logger: quiet
            )
            let publisher = publisher(near, objects, try Ed25519Signer(), in: scratch)
            try write(1, to: scratch.appending(path: "tree"))
            _ = try await publisher.publish(scratch.appending(path: "tree").path, to: "web/site")
            XCTAssertEqual(near.objects.digests.count, 1)
            XCTAssertEqual(near.objects.digests, far.objects.digests)

            // What is missing here comes from there.
            let lost = near.objects.digests[0]
            try await near.objects.remove(lost)
            let read = try await objects.read(lost, from: 0).collect(upTo: 1 << 24)
            XCTAssertEqual(ContentDigest(of: read), lost)
            XCTAssertEqual(near.objects.digests, [lost])

            // Bytes under a wrong name, and a worker's token.
            let wrong = StoredObject(digest: ContentDigest(of: [1]), byteCount: 1)
            for (token, object, status) in [
                ("manager-1", wrong, 500), ("worker-1", wrong, 403),
            ] {
                do {
                    try await peer(token).keep(
                        object,
                        tenant: .standard,
                        ArtifactStore.ByteChunks([[2]])
                    )
                    XCTFail("It was taken.")
                } catch let error as ClusterLinkError {
                    XCTAssertEqual(error.status, status, "\(error)")
                }
            }
            XCTAssertEqual(far.objects.digests, [lost])
        }
    }
}

/// Sends files of a directory, and ranges of them; every second answer breaks off in the middle.
private final class FileServer: HTTPHandler {
    private let root: String
    private let fallback: any HTTPHandler
    private let counts = Mutex((answers: 0, ranges: 0))

    init(root: String, elseTo fallback: any HTTPHandler) {
        self.root = root
        self.fallback = fallback
    }

    var rangeCount: Int { counts.withLock { $0.ranges } }

    func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
        guard let name = request.target.segments?.last, name.count == 64,
            request.method == .get,
            let file = try? OpenFile(path: "\(root)/\(name.prefix(2))/\(name)")
        else { return try await fallback.handle(request) }
        let isRange = request.headerFields[.range] != nil
        let breaks = counts.withLock { counts in
            counts.answers += 1
            if isRange { counts.ranges += 1 }
            return counts.answers % 2 == 1
        }
        let response = try Representation(
            .file(file),
            contentType: "application/octet-stream",
            entityTag: name
        ).response(to: request)
        guard breaks, case .file(let region) = response.body, region.length > 2_000 else {
            return response
        }
        var broken = response
        let half = FileRegion(file, offset: region.offset, length: region.length / 2)
        broken.body = .stream(half.chunks(of: 1_000), length: region.length)
        return broken
    }
}
#endif
