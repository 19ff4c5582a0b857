#if SQLite
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import XCTest

@testable import SQLiteReplica

final class CredentialTests: XCTestCase {
    private struct CutOff: Error {}

    private func row(_ name: String, token: String) -> DeviceRow {
        DeviceRow(
            tenant: .standard,
            id: DeviceID(rawValue: name),
            incarnation: IncarnationID(bits: 5),
            state: .enrolled,
            credential: CredentialDigest(of: token)
        )
    }

    func test_credential_nobodyHereHasSeen_isAskedOnceByAllWhoAskAtOnce() async throws {
        let scene = try ReplicaScene()
        let oracle = RecordingOracle(.success(row("new", token: "t")))
        let replica = try scene.open(scene.newPath(), oracle: oracle)
        try await scene.follow(replica)
        await oracle.hold()
        try await withThrowingTaskGroup(of: DeviceIdentity?.self) { group in
            for _ in 0..<20 { group.addTask { try await replica.authenticate(token: "t") } }
            // All but the first are waiting for it, or will find the answer.
            while await oracle.questions == 0 { await Task.yield() }
            await oracle.release()
            for try await identity in group {
                XCTAssertEqual(identity?.device.rawValue, "new")
            }
        }
        let questions = await oracle.questions
        XCTAssertLessThanOrEqual(questions, 20)
        // It is served at once, with nothing to do, before the replica knows it.
        let work = try await replica.openWork(for: DeviceID(rawValue: "new"), tenant: .standard)
        XCTAssertEqual(work?.items, [])
        try await replica.close()
    }

    func test_credential_theManagerDoesNotKnow_isRefusedAndRememberedForAWhile() async throws {
        let scene = try ReplicaScene()
        let oracle = RecordingOracle(.success(nil))
        let replica = try scene.open(scene.newPath(), oracle: oracle)
        for _ in 0..<5 {
            let identity = try await replica.authenticate(token: "guess")
            XCTAssertNil(identity)
        }
        var questions = await oracle.questions
        XCTAssertEqual(questions, 1)
        scene.time.advance(by: .seconds(31))
        _ = try await replica.authenticate(token: "guess")
        questions = await oracle.questions
        XCTAssertEqual(questions, 2)
        try await replica.close()
    }

    func test_refusals_beyondTheLimit_forgetTheOldest() async throws {
        let scene = try ReplicaScene()
        let oracle = RecordingOracle(.success(nil))
        let replica = try scene.open(
            scene.newPath(),
            oracle: oracle,
            configuration: WorkerReplicaConfiguration(maximumRefusals: 2)
        )
        for token in ["a", "b", "c", "b", "c", "a"] {
            _ = try await replica.authenticate(token: token)
        }
        let questions = await oracle.questions
        XCTAssertEqual(questions, 4)
        try await replica.close()
    }

    func test_credential_whileCutOff_isNeverCalledInvalid() async throws {
        let scene = try ReplicaScene()
        let oracle = RecordingOracle(.failure(CutOff()))
        let replica = try scene.open(scene.newPath(), oracle: oracle)
        try await scene.manager.enrol("d", token: "known", at: scene.time.now())
        try await scene.follow(replica)
        let known = try await replica.authenticate(token: "known")
        XCTAssertEqual(known?.device.rawValue, "d")
        do {
            _ = try await replica.authenticate(token: "unknown")
            XCTFail("It decided.")
        } catch let error as DeviceRegistryError {
            XCTAssertEqual(error.code, .cannotDecide)
            XCTAssertEqual(error.category, .unavailable)
        }
        // Nothing was remembered: once the manager is back, it is asked.
        await oracle.set(.success(row("new", token: "unknown")))
        let identity = try await replica.authenticate(token: "unknown")
        XCTAssertEqual(identity?.device.rawValue, "new")
        try await replica.close()
    }

    func test_device_removed_isNoLongerKnownByItsCredential() async throws {
        let scene = try ReplicaScene()
        let oracle = RecordingOracle(.success(nil))
        let replica = try scene.open(scene.newPath(), oracle: oracle)
        let row = try await scene.manager.enrol("d", token: "t", at: scene.time.now())
        try await scene.follow(replica)
        _ = try await scene.manager.devices.commit(
            .remove(row.id),
            tenant: .standard,
            epoch: scene.manager.ledger.epoch,
            at: scene.time.now()
        )
        try await scene.follow(replica)
        let identity = try await replica.authenticate(token: "t")
        XCTAssertNil(identity)
        let work = try await replica.openWork(for: row.id, tenant: .standard)
        XCTAssertNil(work)
        try await replica.close()
    }

    func test_device_enrolledAgainElsewhere_isServedAsItsNewIncarnation() async throws {
        let scene = try ReplicaScene()
        let old = try await scene.manager.enrol("d", token: "old", at: scene.time.now())
        try await scene.manager.enqueue(.group(.everyone), at: scene.time.now())
        let oracle = RecordingOracle(.success(row("d", token: "new")))
        let replica = try scene.open(scene.newPath(), oracle: oracle)
        try await scene.follow(replica)
        let identity = try await replica.authenticate(token: "new")
        XCTAssertEqual(identity?.incarnation, IncarnationID(bits: 5))
        let work = try await replica.openWork(for: old.id, tenant: .standard)
        XCTAssertEqual(work?.device.incarnation, IncarnationID(bits: 5))
        // Nothing of the enrolment before is offered to it.
        XCTAssertEqual(work?.items, [])
        try await replica.close()
    }
}
#endif
