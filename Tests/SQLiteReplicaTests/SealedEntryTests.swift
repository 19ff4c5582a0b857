#if SQLite
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import OperationQueue
import SQLiteEngine
import Synchronization
import XCTest

@testable import SQLiteReplica

final class SealedEntryTests: XCTestCase {
    private let address = "https://push.example/an-address-nobody-may-read"
    private let location = "a-location-that-is-not-sealed"

    /// A replica whose spool holds a registration between two plain entries.
    private func spooled(
        _ scene: ReplicaScene
    ) async throws -> (replica: WorkerReplica, path: String, entries: [InboxEntry]) {
        let row = try await scene.manager.enrol("d", token: "t", at: scene.time.now())
        let path = scene.newPath()
        let replica = try scene.open(path)
        try await scene.follow(replica)
        let now = scene.time.now()
        let information = row.identity.entry(
            .information(.location, body: Array(location.utf8)),
            at: now
        )
        let registration = PushRegistration(
            transport: "http",
            address: address,
            registeredAt: now
        )
        let entries = [
            information, row.identity.entry(.registration(registration), at: now), information,
        ]
        try await replica.accept(entries)
        return (replica, path, entries)
    }

    func test_registration_isNotReadableInTheFile() async throws {
        let scene = try ReplicaScene()
        let (replica, path, _) = try await spooled(scene)
        func files(_ suffixes: [String]) throws -> Data {
            try suffixes.reduce(into: Data()) {
                $0.append(try Data(contentsOf: URL(filePath: path + $1)))
            }
        }
        let open = try files(["", "-wal"])
        try await replica.close()
        let closed = try files([""])
        for bytes in [open, closed] {
            XCTAssertNil(bytes.range(of: Data(address.utf8)))
            // What is not sealed is found, so the search would have found the address.
            XCTAssertNotNil(bytes.range(of: Data(location.utf8)))
        }
    }

    func test_registration_afterARestart_isHandedOn() async throws {
        let scene = try ReplicaScene()
        let (replica, path, entries) = try await spooled(scene)
        var pending = try await replica.pendingEntries(limit: 10)
        XCTAssertEqual(pending.map(\.entry), entries)
        try await replica.close()
        let reopened = try scene.open(path)
        XCTAssertTrue(reopened.damage.isNone)
        pending = try await reopened.pendingEntries(limit: 10)
        XCTAssertEqual(pending.map(\.entry), entries)
        try await scene.drain(reopened)
        let device = try await scene.manager.devices.device("d", tenant: .standard)
        XCTAssertEqual(device?.push?.address, address)
        try await reopened.close()
    }

    func test_registration_sealedWithAnotherKey_isPassedOverAndReported() async throws {
        let scene = try ReplicaScene()
        let (replica, path, _) = try await spooled(scene)
        try await replica.close()
        let reopened = try scene.open(path, key: 8)
        XCTAssertEqual(reopened.damage.entries, 1)
        let pending = try await reopened.pendingEntries(limit: 10)
        XCTAssertEqual(pending.map(\.number), [1, 3])
        XCTAssertEqual(reopened.damage.entries, 1)
        let receipt = try await scene.drain(reopened)
        XCTAssertEqual(receipt?.mark?.number, 3)
        try await reopened.close()
    }

    func test_spool_countsTheBytesItStores() async throws {
        let scene = try ReplicaScene()
        let (replica, path, _) = try await spooled(scene)
        let stored = try await replica.file.database.read { connection in
            try connection.row("SELECT sum(length(entry)) FROM spool") { $0.int(0) }
        }
        XCTAssertEqual(replica.state.withLock { $0.gauge.bytes }, stored)
        try await replica.close()
        let reopened = try scene.open(path)
        XCTAssertEqual(reopened.state.withLock { $0.gauge.bytes }, stored)
        try await reopened.close()
    }

    func test_sealedEntry_inAnotherPlace_doesNotOpen() throws {
        let secrets = try SecretBox(key: Array(repeating: 7, count: SecretBox.keySize))
        let life = IncarnationID(bits: 1)
        let coding = try SpoolCoding(secrets: secrets, incarnation: life)
        let entry = DeviceIdentity(tenant: .standard, device: "d", incarnation: life)
            .entry(.registration(nil), at: Timestamp(rawValue: 1))
        let stored = try coding.stored(coding.draft(entry), number: 5)
        XCTAssertEqual(try coding.entry(stored, number: 5), entry)
        XCTAssertThrowsError(try coding.entry(stored, number: 6))
        let other = try SpoolCoding(secrets: secrets, incarnation: IncarnationID(bits: 2))
        XCTAssertThrowsError(try other.entry(stored, number: 5))
        for index in stored.indices {
            var damaged = stored
            damaged[index] ^= 1
            XCTAssertThrowsError(try coding.entry(damaged, number: 5), "byte \(index)")
            XCTAssertThrowsError(try coding.entry(Array(stored[..<index]), number: 5))
        }
    }
}
#endif
