import ArtifactStore
import ClusterRole
import Foundation
import Logging
import XCTest

final class TenantNamespaceTests: XCTestCase {
    private struct Scene {
        let directory: TemporaryDirectory
        let ledger = InMemoryLedger()
        let releases: InMemoryReleaseStorage
        let objects: TenantObjects
        let publisher: ArtifactPublisher
        let capability: WriteCapability
        let signer: Ed25519Signer

        init() throws {
            directory = try TemporaryDirectory()
            releases = InMemoryReleaseStorage(ledger: ledger)
            objects = try TenantObjects(directory: directory.path("objects"))
            capability = WriteCapability(epoch: ledger.raiseEpoch())
            signer = try Ed25519Signer()
            var configuration = PublisherConfiguration()
            configuration.scratchDirectory = directory.path
            configuration.time = StandingTime()
            configuration.logger.logLevel = .critical
            publisher = ArtifactPublisher(
                storage: releases,
                objects: objects,
                signer: signer,
                capability: capability,
                configuration: configuration
            )
        }

        func publish(_ text: String, for tenant: TenantID) async throws -> Publication {
            let path = try directory.write(["a": text], in: "source-\(UUID().uuidString)")
            return try await publisher.publish(path, to: "web/site", tenant: tenant)
        }
    }

    func test_equalChannelsOfTwoTenants_areTwoLines_withNumbersOfTheirOwn() async throws {
        let scene = try Scene()
        _ = try await scene.publish("one", for: "anna")
        _ = try await scene.publish("two", for: "anna")
        let other = try await scene.publish("three", for: "bert")
        XCTAssertEqual(other.release.release.number, .first)
        XCTAssertNil(other.release.release.previousRoot)
        XCTAssertEqual(other.bundles.count, 1, "no bundle from another tenant's tree")
        let names = try await scene.publisher.channels(of: "carl")
        XCTAssertEqual(names, [])
        let foreign = await assertThrows(.notFound) {
            _ = try await scene.publisher.rollback("web/site", to: ReleaseNumber(2), tenant: "bert")
        }
        XCTAssertNotNil(foreign)
    }

    func test_equalContentOfTwoTenants_isStoredTwice_andTheAnswerDoesNotTell() async throws {
        let scene = try Scene()
        let first = try await scene.publish("the same", for: "anna")
        let second = try await scene.publish("the same", for: "bert")
        XCTAssertEqual(second.outcome, .published)
        XCTAssertEqual(first.bundles.map(\.byteCount), second.bundles.map(\.byteCount))
        let object = try XCTUnwrap(second.bundles.first).object
        for tenant in ["anna", "bert"] as [TenantID] {
            let count = try await scene.objects.storage(of: tenant).byteCount(of: object)
            XCTAssertNotNil(count, tenant.rawValue)
        }
        // What one lets go of stays the other's.
        try await scene.objects.storage(of: "anna").remove(object)
        let kept = try await scene.objects.storage(of: "bert").byteCount(of: object)
        XCTAssertNotNil(kept)
        let strange = try await scene.objects.storage(of: "carl").byteCount(of: object)
        XCTAssertNil(strange)
        // A worker is served over the link whoever's it is; nothing can be stored there.
        let read = try await scene.objects.reader.byteCount(of: object)
        XCTAssertNotNil(read)
        await assertThrows(.invalidName) {
            _ = try await scene.objects.reader.put(ByteChunks([[1]]))
        }
        let again = try TenantObjects(directory: scene.directory.path("objects"))
        let found = try await again.reader.byteCount(of: object)
        XCTAssertNotNil(found)
    }

    func test_tenantName_cannotLeaveItsDirectory() async throws {
        let scene = try Scene()
        for name in ["..", ".", "a/b", "", "a\u{0}b"] {
            do {
                _ = try scene.objects.storage(of: TenantID(rawValue: name))
                XCTFail("\(name) was opened")
            } catch is ClusterRoleError {}
        }
    }

    func test_releaseOfAnotherTenant_isRefusedByAWorker_thoughTheKeyIsTheSame() async throws {
        let scene = try Scene()
        _ = try await scene.publish("anna's", for: "anna")
        _ = try await scene.publish("bert's", for: "bert")
        let source = Swapping(
            base: InProcessReleaseSource(
                storage: scene.releases,
                objects: scene.objects.reader,
                capability: scene.capability
            )
        )
        var configuration = SyncConfiguration(node: NodeID(rawValue: "worker-1"), tenant: "anna")
        configuration.time = StandingTime()
        configuration.logger.logLevel = .critical
        let sync = ArtifactSync(
            channel: "web/site",
            source: source,
            directory: scene.directory.path("worker-1"),
            deployer: DirectoryDeployer(),
            trusted: TrustedKeys(scene.signer.publicKey),
            configuration: configuration
        )
        let report = try await sync.syncOnce()
        guard case .refused(let error) = report.outcome, error.code == .wrongChannel else {
            return XCTFail("\(report.outcome)")
        }
        XCTAssertNil(sync.active)
    }
}

/// Hands out bert's releases, whoever asks.
private struct Swapping: ReleaseSource {
    let base: InProcessReleaseSource

    func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        try await base.latestRelease(of: channel, tenant: "bert", unlessAt: revision)
    }

    func bundle(_ bundle: BundleDescription, from offset: Int64) async throws -> ByteChunks {
        try await base.bundle(bundle, from: offset)
    }

    func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {}
}
