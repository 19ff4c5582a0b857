#if Server && SQLite
import ClusterMembership
import ClusterRole
import ClusterTransport
import DeviceRegistry
import Foundation
import HTTPHandling
import HTTPTypes
import HummingbirdHosting
import NodeCertificates
import OperationQueue
import SQLiteReplica
import XCTest

@testable import ClusterLink

/// The whole link over HTTP/2 with mutual TLS.
final class SecureLinkTests: XCTestCase {
    private func enrolment(_ name: String) -> EnrolmentRequest {
        EnrolmentRequest(
            device: DeviceID(rawValue: name),
            token: "secret",
            idempotencyKey: "key-\(name)"
        )
    }

    func test_device_overMutualTLS_isServedFromEnrolmentToResult() async throws {
        let authority = try AuthorityScene()
        let manager = try ManagerScene(requiresCertificates: true)
        let server = try authority.credentials(.manager, "manager-1")
        let mounts = [HandlerMount(LinkEndpoint.standardPrefix, manager.endpoint)]
        try await withSecureServer(mounts, server, clients: .required) { address in
            var configuration = WorkerScene.quick
            configuration.codecs = ["plain"]
            configuration.capabilities = ["gpu"]
            configuration.digest = { "0a" }
            let credentials = try authority.credentials(.worker, "worker-1")
            let worker = try WorkerScene(
                addresses: [address],
                credentials: credentials,
                configuration: configuration
            )
            defer { worker.remove() }
            try await worker.running {
                let identity = try await worker.client.enrol(self.enrolment("d")).identity
                let operation = try await manager.enqueue(.devices([identity.device]))
                var offered: [OfferedOperation] = []
                try await eventually("the operation is offered") {
                    guard worker.replica.revision != nil else { return false }
                    offered =
                        (try? await worker.exchange.exchange(device: identity))?.operations ?? []
                    return !offered.isEmpty
                }
                _ = try await worker.exchange.exchange(
                    device: identity,
                    report: ExchangeReport(
                        results: offered.map {
                            ExecutionResult(
                                execution: $0.execution,
                                attempt: $0.attempt,
                                outcome: .completed
                            )
                        }
                    )
                )
                try await eventually("the result is at the manager") {
                    try await manager.completed(operation) == 1
                }
                let sessions = manager.endpoint.sessions
                try await eventually("the page is acknowledged") {
                    sessions["worker-1"]?.acknowledged == worker.replica.revision
                }
                let session = try XCTUnwrap(sessions["worker-1"])
                XCTAssertEqual(session.certificate, credentials.credentials.peer)
                XCTAssertEqual(session.codecs, ["plain"])
                XCTAssertEqual(session.capabilities, ["gpu"])
                XCTAssertEqual(session.digest, "0a")
                XCTAssertNil(session.lastRefusal)
            }
            try await worker.replica.close()
        }
    }

    /// A restored store: an older state, a new history, an epoch above all. The workers' replicas are
    /// newer than it, and their spools hold what it has lost.
    func test_restoredManager_andItsWorkers_comeBackTogetherWithoutLosingAResult() async throws {
        let authority = try AuthorityScene()
        let credentials = try authority.credentials(.manager, "manager-1")
        let before = try ManagerScene(history: 7, epochs: 1, requiresCertificates: true)
        let nodes = ["worker-1", "worker-2"]
        var workers: [WorkerScene] = []
        var identities: [DeviceIdentity] = []
        let mounts = [HandlerMount(LinkEndpoint.standardPrefix, before.endpoint)]
        try await withSecureServer(mounts, credentials) { address in
            for name in nodes {
                let worker = try WorkerScene(
                    addresses: [address],
                    node: name,
                    credentials: try authority.credentials(.worker, NodeID(rawValue: name))
                )
                workers.append(worker)
                try await worker.running {
                    let identity = try await worker.client.enrol(self.enrolment("d-\(name)"))
                        .identity
                    identities.append(identity)
                    let operation = try await before.enqueue(.devices([identity.device]))
                    try await eventually("it is done and applied") {
                        guard worker.replica.revision != nil else { return false }
                        let answer = try? await worker.exchange.exchange(device: identity)
                        guard let first = answer?.operations.first else {
                            return try await before.completed(operation) == 1
                        }
                        _ = try await worker.exchange.exchange(
                            device: identity,
                            report: ExchangeReport(results: [
                                ExecutionResult(
                                    execution: first.execution,
                                    attempt: first.attempt,
                                    outcome: .completed
                                )
                            ])
                        )
                        return false
                    }
                }
            }
        }
        for worker in workers {
            let position = worker.replica.position
            XCTAssertEqual(position.revision?.history, HistoryID(bits: 7))
            XCTAssertEqual(position.epoch, Epoch(rawValue: 1))
        }
        try await comeBack(workers, identities, authority, credentials)
        for worker in workers { worker.remove() }
    }

    private func comeBack(
        _ workers: [WorkerScene],
        _ identities: [DeviceIdentity],
        _ authority: AuthorityScene,
        _ credentials: CredentialSource
    ) async throws {
        let after = try ManagerScene(history: 8, epochs: 9, requiresCertificates: true)
        // What the backup has: the devices, and their operations still open (both managers draw the same
        // ids, in the same order).
        var operations: [DeviceOperation] = []
        for identity in identities {
            _ = try await after.devices.commit(
                .enrol(
                    EnrolmentRecord(
                        device: identity.device,
                        incarnation: identity.incarnation,
                        credential: CredentialDigest(of: "t-\(identity.device)")
                    )
                ),
                tenant: .standard,
                epoch: after.ledger.epoch,
                at: after.time.now()
            )
            operations.append(try await after.enqueue(.devices([identity.device])))
        }
        let mounts = [HandlerMount(LinkEndpoint.standardPrefix, after.endpoint)]
        try await withSecureServer(mounts, credentials) { address in
            for (index, worker) in workers.enumerated() {
                let name = worker.node.rawValue
                // The same file, a new process.
                try await worker.replica.close()
                let again = try WorkerScene(
                    addresses: [address],
                    node: name,
                    credentials: try authority.credentials(.worker, worker.node),
                    path: worker.directory
                )
                XCTAssertEqual(again.replica.position.epoch, Epoch(rawValue: 1), "kept in its file")
                try await again.running {
                    try await eventually("the new history is reached") {
                        again.replica.revision?.history == HistoryID(bits: 8)
                    }
                    try await eventually("nothing is left to hand on") {
                        again.replica.pendingCount == 0
                    }
                }
                XCTAssertEqual(again.replica.position.epoch, Epoch(rawValue: 9))
                let completed = try await after.completed(operations[index])
                XCTAssertEqual(completed, 1, "the result of \(name) came again, once")
                try await again.replica.close()
            }
        }
    }
}
#endif
