#if Server && SQLite
import ArtifactStore
import ClusterMembership
import ClusterRole
import ClusterTransport
import DeviceRegistry
import Foundation
import HTTPHandling
import HummingbirdHosting
import OperationQueue
import SQLiteReplica
import XCTest

@testable import ClusterLink

final class LinkEndToEndTests: XCTestCase {
    private func enrolment(_ name: String) -> EnrolmentRequest {
        EnrolmentRequest(
            device: DeviceID(rawValue: name),
            token: "secret",
            idempotencyKey: "key-\(name)"
        )
    }

    private func completion(_ answer: ExchangeAnswer) -> ExchangeReport {
        ExchangeReport(
            results: answer.operations.map {
                ExecutionResult(execution: $0.execution, attempt: $0.attempt, outcome: .completed)
            }
        )
    }

    func test_device_fromEnrolmentToResult_isServedThroughTheLink() async throws {
        let manager = try ManagerScene()
        try await withServer(manager) { address in
            let worker = try WorkerScene(addresses: ["http://\(address)"])
            defer { worker.remove() }
            try await worker.running {
                let receipt = try await worker.client.enrol(self.enrolment("d"))
                let authenticated = try await worker.replica.authenticate(
                    token: receipt.credential.token
                )
                let identity = try XCTUnwrap(authenticated)
                XCTAssertEqual(identity, receipt.identity)
                let operation = try await manager.enqueue(.group(.everyone))
                try await eventually("the first snapshot") { worker.replica.revision != nil }
                var answer: ExchangeAnswer?
                try await eventually("the operation is offered") {
                    answer = try await worker.exchange.exchange(device: identity)
                    return answer?.operations.isEmpty == false
                }
                let given = try XCTUnwrap(answer)
                XCTAssertEqual(given.operations.map(\.execution.operation), [operation.id])
                let after = try await worker.exchange.exchange(
                    device: identity,
                    report: self.completion(given)
                )
                XCTAssertEqual(after.operations.count, 0)
                try await eventually("the result is at the manager") {
                    try await manager.completed(operation) == 1
                }
                try await eventually("the replica has its mark") {
                    worker.replica.pendingCount == 0
                }
                XCTAssertTrue(worker.link.status.isConnected)
                try await worker.client.unenrol(identity)
                try await eventually("the device is gone") {
                    try await worker.replica.authenticate(token: receipt.credential.token) == nil
                }
            }
            // A graceful end says good-bye.
            let member = try await manager.members.members().first
            XCTAssertEqual(member?.state, .left)
            try await worker.replica.close()
        }
    }

    func test_largeResult_throughSpoolAndLink_isWholeAtTheManager() async throws {
        let manager = try ManagerScene()
        try await withServer(manager) { address in
            let worker = try WorkerScene(addresses: ["http://\(address)"])
            defer { worker.remove() }
            try await worker.running {
                let identity = try await worker.client.enrol(self.enrolment("d")).identity
                let operation = try await manager.enqueue(.devices([identity.device]))
                var offer: OfferedOperation?
                try await eventually("the operation is offered") {
                    guard worker.replica.revision != nil else { return false }
                    let answer = try? await worker.exchange.exchange(device: identity)
                    offer = answer?.operations.first
                    return offer != nil
                }
                let sent = (0..<1_500_000).map { UInt8(truncatingIfNeeded: $0 &* 11 >> 3) }
                let taken = try await worker.exchange.accept(
                    LargeResultHead(execution: try XCTUnwrap(offer).execution),
                    body: HandlerBody(sent),
                    device: identity
                )
                XCTAssertEqual(taken.bytes, sent.count)
                // Sent again before the manager knows it: the worker has the answer already.
                let again = try await worker.exchange.accept(
                    LargeResultHead(execution: try XCTUnwrap(offer).execution),
                    body: HandlerBody([1, 2, 3]),
                    device: identity
                )
                XCTAssertLessThanOrEqual(again.bytes, 3)
                try await eventually("the result is at the manager") {
                    try await manager.completed(operation) == 1
                }
                let content = try await ActivityBrowser(reader: manager.operations).largeResult(
                    of: operation.activity,
                    on: identity.device
                )
                XCTAssertEqual(content.result.digest, taken.digest)
                var kept: [UInt8] = []
                for try await chunk in content.chunks { kept += chunk }
                XCTAssertEqual(kept, sent)
                try await eventually("the replica has its mark") {
                    worker.replica.pendingCount == 0
                }
            }
            try await worker.replica.close()
        }
    }

    func test_longPoll_atAWorker_isEndedByWhatTheLinkBrings() async throws {
        let manager = try ManagerScene()
        try await withServer(manager) { address in
            let worker = try WorkerScene(addresses: ["http://\(address)"])
            defer { worker.remove() }
            try await worker.running {
                let identity = try await worker.client.enrol(self.enrolment("d")).identity
                try await eventually("the device is known") {
                    guard worker.replica.revision != nil else { return false }
                    return (try? await worker.exchange.exchange(device: identity)) != nil
                }
                let exchange = worker.exchange
                async let answer = exchange.exchange(
                    device: identity,
                    report: ExchangeReport(wait: .seconds(60))
                )
                try await eventually("the device waits") { worker.exchange.waitingCount == 1 }
                let operation = try await manager.enqueue(.devices([identity.device]))
                let given = try await answer
                XCTAssertEqual(given.operations.map(\.execution.operation), [operation.id])
            }
            try await worker.replica.close()
        }
    }

    func test_manager_awayAndBack_losesNothingAndDevicesGoOn() async throws {
        let manager = try ManagerScene()
        var port = 0
        var scene: WorkerScene?
        var identity: DeviceIdentity?
        try await withServer(manager) { address in
            port = address.port
            let worker = try WorkerScene(addresses: ["http://\(address)"])
            scene = worker
            identity = try await worker.client.enrol(self.enrolment("d")).identity
            try await worker.running {
                _ = try await manager.enqueue(.group(.everyone))
                try await eventually("the first snapshot") { worker.replica.revision != nil }
                try await eventually("the replica has the operation") {
                    try await worker.replica.openWork(
                        for: DeviceID(rawValue: "d"),
                        tenant: .standard
                    )?.items.isEmpty == false
                }
            }
        }
        let worker = try XCTUnwrap(scene)
        let device = try XCTUnwrap(identity)
        defer { worker.remove() }
        // The manager is away: devices go on being served, also after the worker's own restart.
        try await worker.replica.close()
        let reborn = try WorkerScene(
            addresses: ["http://127.0.0.1:\(port)"],
            path: worker.directory
        )
        try await reborn.running {
            let answer = try await reborn.exchange.exchange(device: device)
            XCTAssertEqual(answer.operations.count, 1)
            _ = try await reborn.exchange.exchange(
                device: device,
                report: self.completion(answer)
            )
            let poll = try await reborn.exchange.exchange(device: device)
            XCTAssertEqual(poll.operations.count, 0)
            try await eventually("the link says so") { reborn.link.status.lastFailure != nil }
            XCTAssertNotNil(reborn.replica.age)
            do {
                _ = try await reborn.replica.authenticate(token: "unknown")
                XCTFail("It decided.")
            } catch let error as DeviceRegistryError {
                XCTAssertEqual(error.code, .cannotDecide)
            }
            do {
                _ = try await reborn.client.enrol(self.enrolment("e"))
                XCTFail("It enrolled without a manager.")
            } catch let error as ClusterLinkError {
                XCTAssertEqual(error.code, .unreachable)
                XCTAssertEqual(error.category, .unavailable)
            }
            try await withServer(manager, port: port) { _ in
                try await eventually("the report arrives") {
                    let activities = try await manager.operations.activities(
                        before: nil,
                        limit: 10,
                        tenant: .standard
                    )
                    return activities.first?.counts[.completed] == 1
                }
                try await eventually("the mark arrives") { reborn.replica.pendingCount == 0 }
                XCTAssertTrue(reborn.link.status.isConnected)
            }
        }
        try await reborn.replica.close()
    }

    func test_client_withOneManagerGone_failsOverToTheOther() async throws {
        let manager = try ManagerScene()
        try await withServer(manager) { address in
            // Port 1 refuses connections.
            for addresses in [
                ["http://127.0.0.1:1", "http://\(address)"],
                ["http://\(address)", "http://127.0.0.1:1"],
            ] {
                let worker = try WorkerScene(addresses: addresses)
                defer { worker.remove() }
                for _ in 0..<3 {
                    let row = try await worker.client.device(
                        credential: CredentialDigest(of: "nobody's")
                    )
                    XCTAssertNil(row)
                }
                try await worker.replica.close()
            }
        }
    }

    func test_client_atAManagerThatIsNotTheCoordinator_goesOnToTheOne() async throws {
        let standby = try ManagerScene()
        standby.coordinator.isSet = false
        let manager = try ManagerScene()
        try await withServer(standby) { other in
            try await withServer(manager) { address in
                let worker = try WorkerScene(
                    addresses: ["http://\(other)", "http://\(address)"])
                defer { worker.remove() }
                let receipt = try await worker.client.enrol(self.enrolment("d"))
                XCTAssertEqual(receipt.identity.device.rawValue, "d")
                try await worker.replica.close()
            }
        }
    }

    func test_refusals_ofTheManager_keepTheirCodeAndCategory() async throws {
        let manager = try ManagerScene()
        try await withServer(manager) { address in
            let worker = try WorkerScene(addresses: ["http://\(address)"])
            defer { worker.remove() }
            do {
                _ = try await worker.client.enrol(
                    EnrolmentRequest(device: DeviceID(rawValue: "d"), token: "wrong")
                )
                XCTFail("It enrolled.")
            } catch let error as ClusterLinkError {
                XCTAssertEqual(error.codeName, "devices.enrolment-refused")
                XCTAssertEqual(error.category, .forbidden)
            }
            let stranger = try WorkerScene(addresses: ["http://\(address)"], token: "nobody")
            defer { stranger.remove() }
            do {
                _ = try await stranger.client.hello(
                    LinkHello(node: stranger.node, applied: nil, highestEpoch: .none)
                )
                XCTFail("It was let in.")
            } catch let error as ClusterLinkError {
                XCTAssertEqual(error.category, .unauthenticated)
            }
            try await worker.replica.close()
            try await stranger.replica.close()
        }
    }

    func test_link_atARestoredManager_takesASnapshotAndSendsItsEntriesAgain() async throws {
        let manager = try ManagerScene(history: 7)
        let restored = try ManagerScene(history: 8, epochs: 2)
        var scene: WorkerScene?
        var port = 0
        try await withServer(manager) { address in
            port = address.port
            let worker = try WorkerScene(addresses: ["http://\(address)"])
            scene = worker
            try await worker.running {
                let identity = try await worker.client.enrol(self.enrolment("d")).identity
                _ = try await manager.enqueue(.group(.everyone))
                var answer: ExchangeAnswer?
                try await eventually("the operation is offered") {
                    answer = try? await worker.exchange.exchange(device: identity)
                    return answer?.operations.isEmpty == false
                }
                _ = try await worker.exchange.exchange(
                    device: identity,
                    report: self.completion(try XCTUnwrap(answer))
                )
                try await eventually("all is applied") { worker.replica.pendingCount == 0 }
            }
        }
        let worker = try XCTUnwrap(scene)
        defer { worker.remove() }
        try await withServer(restored, port: port) { address in
            let again = WorkerLink(
                client: worker.client,
                replica: worker.replica,
                configuration: WorkerScene.quick,
                logger: quiet
            )
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await again.run() }
                try await eventually("the replica is of the new history") {
                    worker.replica.revision?.history == HistoryID(bits: 8)
                }
                // The device is unknown there, so the entries are kept as rejected: none is lost.
                try await eventually("the entries came again") {
                    restored.operations.rejections.count >= 2
                }
                XCTAssertEqual(worker.replica.position.epoch, restored.ledger.epoch)
                tasks.cancelAll()
            }
        }
        // The manager of before has a lower epoch: nothing of it is taken any more.
        try await withServer(manager, port: port) { _ in
            let late = WorkerLink(
                client: worker.client,
                replica: worker.replica,
                configuration: WorkerScene.quick,
                logger: quiet
            )
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await late.run() }
                try await eventually("it is refused") { late.status.lastFailure != nil }
                tasks.cancelAll()
            }
            XCTAssertEqual(worker.replica.revision?.history, HistoryID(bits: 8))
        }
        try await worker.replica.close()
    }

    func test_bundle_isPulledFromAnyOffset() async throws {
        let manager = try ManagerScene()
        let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let object = try await manager.objects.put(ByteChunks([bytes]))
        try await withServer(manager) { address in
            let worker = try WorkerScene(addresses: ["http://\(address)"])
            defer { worker.remove() }
            let bundle = BundleDescription(
                from: nil,
                to: TreeID(object.digest),
                object: object.digest,
                byteCount: object.byteCount
            )
            for offset in [0, 1, 2_999_999] as [Int64] {
                let chunks = try await worker.client.bundle(bundle, from: offset)
                let received = try await chunks.collect(upTo: 4 << 20)
                XCTAssertEqual(received, Array(bytes[Int(offset)...]))
            }
            let answer = try await worker.client.latestRelease(
                of: "web/site",
                tenant: .standard,
                unlessAt: nil
            )
            XCTAssertEqual(answer, .empty)
            try await worker.replica.close()
        }
    }

    func test_release_published_isAnnouncedFetchedAndAcknowledged() async throws {
        let manager = try ManagerScene()
        let tree = FileManager.default.temporaryDirectory
            .appending(path: "reeve-tree-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: tree, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: tree) }
        try Data("hello".utf8).write(to: tree.appending(path: "index.html"))
        let publisher = ArtifactPublisher(
            storage: manager.releases,
            objects: manager.objects,
            signer: manager.signer,
            capability: manager.capability
        )
        // A name with a slash is one segment of the path.
        let channel: ChannelName = "web/site"
        _ = try await publisher.publish(tree.path, to: channel)
        let stored = try await manager.releases.latest(of: channel, tenant: .standard)
        let published = try XCTUnwrap(stored)
        try await withServer(manager) { address in
            let worker = try WorkerScene(addresses: ["http://\(address)"])
            defer { worker.remove() }
            let first = try await worker.client.latestRelease(
                of: channel,
                tenant: .standard,
                unlessAt: nil
            )
            XCTAssertEqual(first, .release(published))
            let second = try await worker.client.latestRelease(
                of: channel,
                tenant: .standard,
                unlessAt: published.revision
            )
            XCTAssertEqual(second, .unchanged)
            let trust = try await worker.client.trust(
                of: channel,
                tenant: .standard,
                afterRoot: 0
            )
            XCTAssertEqual(trust.roots, [])
            let pointer = try XCTUnwrap(trust.pointer)
            XCTAssertEqual(pointer.pointer.number, .first)
            XCTAssertEqual(
                pointer.pointer.record,
                ContentDigest(of: published.published.signed.record)
            )
            try TrustedKeys(manager.signer.publicKey).verify(pointer)
            let bundle = try XCTUnwrap(published.published.bundles.first)
            let bytes = try await worker.client.bundle(bundle, from: 0).collect(upTo: 1 << 20)
            XCTAssertEqual(Int64(bytes.count), bundle.byteCount)
            let word = AppliedRelease(
                node: worker.node,
                release: published.release,
                at: manager.time.now(),
                floorRecord: [1, 2, 255]
            )
            try await worker.client.acknowledge(word, tenant: .standard)
            let words = try await manager.releases.acknowledgements(
                of: channel,
                tenant: .standard
            )
            XCTAssertEqual(words, [word])
            // Nobody speaks for another node.
            let forged = AppliedRelease(
                node: NodeID(rawValue: "worker-2"),
                release: published.release,
                at: manager.time.now()
            )
            do {
                try await worker.client.acknowledge(forged, tenant: .standard)
                XCTFail("It was taken.")
            } catch let error as ClusterLinkError {
                XCTAssertEqual(error.codeName, "link.wrong-node")
            }
            try await worker.replica.close()
        }
    }

    func test_configuration_thatNamesNobody_isRefused() {
        for addresses in [[], ["10.0.0.1:80"], ["ftp://x"]] as [[String]] {
            XCTAssertThrowsError(
                try LinkClient(
                    node: NodeID(rawValue: "w"),
                    configuration: LinkClientConfiguration(addresses: addresses, token: "t")
                )
            ) { error in
                XCTAssertEqual((error as? ClusterLinkError)?.code, .invalidConfiguration)
            }
        }
    }
}
#endif
