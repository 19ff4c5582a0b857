import ArtifactStore
import ClusterRole
import Foundation
import Logging
import XCTest

final class RestartTests: XCTestCase {
    private func published() async throws -> Harness {
        let harness = try Harness()
        _ = try await harness.publish(["a": "1", "b": "kept"])
        try await harness.sync().syncOnce()
        return harness
    }

    func test_restart_withoutASource_servesTheLastGoodRelease() async throws {
        let harness = try await published()
        harness.source.damage(full: .refuse, update: .refuse, release: .refuse)
        let deployer = RecordingDeployer()
        let sync = harness.sync(deployer: deployer)
        try await sync.start()
        XCTAssertEqual(sync.active?.release.number, .first)
        XCTAssertEqual(deployer.events, [.prepared(.first, replacing: nil), .activated(.first)])
        let text = try await sync.withActiveRelease {
            try String(contentsOfFile: $0.path(of: "a"), encoding: .utf8)
        }
        XCTAssertEqual(text, "1")
    }

    func test_restart_keepsTheFloorAndTheRefusals() async throws {
        let harness = try await published()
        let deployer = RecordingDeployer()
        deployer.refuse(ReleaseNumber(2), at: .prepare)
        _ = try await harness.publish(["a": "2"])
        try await harness.sync(deployer: deployer).syncOnce()
        let again = RecordingDeployer()
        let sync = harness.sync(deployer: again)
        let report = try await sync.syncOnce()
        guard case .refused(let error) = report.outcome else { return XCTFail("\(report)") }
        XCTAssertEqual(error.code, .deploymentFailed)
        XCTAssertEqual(again.events, [.prepared(.first, replacing: nil), .activated(.first)])
    }

    func test_restart_afterAnInterruptedSync_forgetsWhatWasHalfDone() async throws {
        let harness = try await published()
        let staging = harness.directory.path("worker-1/staging/leftover/deep")
        try FileManager.default.createDirectory(
            atPath: staging, withIntermediateDirectories: true)
        let worker = harness.directory.path("worker-1")
        try FileManager.default.removeItem(atPath: "\(worker)/current")
        try FileManager.default.createSymbolicLink(
            atPath: "\(worker)/current", withDestinationPath: "releases/half")
        let sync = harness.sync()
        try await sync.start()
        XCTAssertEqual(harness.current("a"), "1")
        XCTAssertEqual(
            try FileManager.default.contentsOfDirectory(atPath: "\(worker)/staging"), [])
    }

    func test_restart_withADamagedTree_servesNothingOfIt_andFetchesItAgain() async throws {
        let harness = try await published()
        let path = harness.directory.path("worker-1/current/b")
        try Data("kepT".utf8).write(to: URL(fileURLWithPath: path))
        let sync = harness.sync()
        try await sync.start()
        XCTAssertNil(sync.active)
        let report = try await sync.syncOnce()
        XCTAssertEqual(report.transfer, .full)
        XCTAssertEqual(sync.active?.release.number, .first)
        XCTAssertEqual(harness.current("b"), "kept")
    }

    func test_restart_withADamagedState_beginsAnew() async throws {
        let harness = try await published()
        let path = harness.directory.path("worker-1/state")
        var bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
        bytes[bytes.count / 2] ^= 1
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let sync = harness.sync()
        try await sync.start()
        XCTAssertNil(sync.active)
        let report = try await sync.syncOnce()
        XCTAssertTrue(report.isApplied)
        XCTAssertEqual(report.transfer, .none)
        XCTAssertTrue(FileManager.default.fileExists(atPath: "\(path).damaged"))
    }

    func test_directory_ofAnotherChannel_isRefused() async throws {
        let harness = try await published()
        let sync = harness.sync(channel: "web/other")
        await assertThrows(.wrongChannel) { try await sync.start() }
    }

    func test_publish_onADirectoryOfObjects_survivesANewProcessOfTheManager() async throws {
        let directory = try TemporaryDirectory()
        let ledger = InMemoryLedger()
        let releases = InMemoryReleaseStorage(ledger: ledger)
        let source = try directory.write(["a": "1"])
        var configuration = PublisherConfiguration()
        configuration.scratchDirectory = directory.path
        configuration.logger.logLevel = .critical
        for number in 1...2 {
            let objects = try DirectoryObjectStorage(path: directory.path("objects"))
            let capability = WriteCapability(epoch: ledger.raiseEpoch())
            let publisher = ArtifactPublisher(
                storage: releases,
                objects: objects,
                signer: try Ed25519Signer(file: directory.path("key")),
                capability: capability,
                configuration: configuration
            )
            _ = try directory.write(["a": "\(number)"])
            let publication = try await publisher.publish(source, to: "web/site")
            XCTAssertEqual(publication.release.release.number.rawValue, Int64(number))
        }
    }
}
