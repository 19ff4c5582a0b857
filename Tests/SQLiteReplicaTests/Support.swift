#if SQLite
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import Logging
import OperationQueue
import SQLiteEngine
import XCTest

@testable import SQLiteReplica

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// A manager in memory, and files for workers' replicas.
final class ReplicaScene {
    let time = ManualTimeSource()
    let directory: URL
    let node = NodeID(rawValue: "worker-1")
    private(set) var manager: InMemoryManager
    private var files = 0

    init() throws {
        manager = InMemoryManager(history: HistoryID(bits: 7))
        directory = FileManager.default.temporaryDirectory
            .appending(path: "reeve-replica-\(UUID().uuidString)")
        try FileManager.default.createDirectory(
            at: directory,
            withIntermediateDirectories: true
        )
    }

    deinit { try? FileManager.default.removeItem(at: directory) }

    /// Another store in the manager's place, as after a restore.
    func replaceManager(history: UInt128, epochs: Int = 1) {
        manager = InMemoryManager(history: HistoryID(bits: history), epochs: epochs)
    }

    func newPath() -> String {
        files += 1
        return directory.appending(path: "worker-\(files).sqlite").path
    }

    func open(
        _ path: String,
        key: UInt8 = 7,
        oracle: (any CredentialOracle)? = nil,
        configuration: WorkerReplicaConfiguration = WorkerReplicaConfiguration(),
        options: DatabaseFileOptions = DatabaseFileOptions()
    ) throws -> WorkerReplica {
        try WorkerReplica(
            path: path,
            node: node,
            secrets: SecretBox(key: Array(repeating: key, count: SecretBox.keySize)),
            oracle: oracle,
            configuration: configuration,
            options: options,
            time: time,
            random: SeededRandomSource(seed: UInt64(files)),
            logger: quiet
        )
    }

    /// Brings the replica up to the manager's newest revision, as the link does.
    func follow(_ replica: WorkerReplica, limit: Int = 1_000) async throws {
        var cursor: ReplicaCursor?
        while true {
            let position = replica.position
            let page = try await manager.operations.page(
                after: position.revision,
                cursor: cursor,
                limit: limit,
                for: node
            )
            try await replica.apply(page)
            cursor = page.next
            let newest = try await manager.operations.currentRevision()
            if page.content == .delta, page.revision == newest { return }
        }
    }

    /// Hands the spool on, as the link does.
    @discardableResult
    func drain(_ replica: WorkerReplica, limit: Int = 100) async throws -> ApplyReceipt? {
        var last: ApplyReceipt?
        while true {
            let entries = try await replica.pendingEntries(limit: limit)
            guard let newest = entries.last else { return last }
            let receipt = try await upload(entries, from: replica)
            replica.handedOn(upTo: receipt.mark?.number ?? newest.number, at: receipt.revision)
            last = receipt
        }
    }

    func upload(
        _ entries: [SpooledEntry],
        from replica: WorkerReplica
    ) async throws -> ApplyReceipt {
        try await manager.operations.apply(
            entries,
            from: SpoolMark(
                node: node,
                incarnation: replica.incarnation,
                number: entries.last?.number ?? 0
            ),
            epoch: manager.ledger.epoch,
            at: time.now()
        )
    }
}

/// A store in memory with what a test does to it.
struct InMemoryManager {
    let ledger: InMemoryLedger
    let devices: InMemoryDeviceStorage
    let operations: InMemoryOperationStorage
    private let random = SeededRandomSource(seed: 99)

    init(history: HistoryID, epochs: Int = 1) {
        ledger = InMemoryLedger(history: history)
        for _ in 0..<epochs { _ = ledger.raiseEpoch() }
        devices = InMemoryDeviceStorage(ledger: ledger)
        operations = InMemoryOperationStorage(ledger: ledger, devices: devices)
    }

    /// Enrols a device whose credential is `token`.
    @discardableResult
    func enrol(_ name: String, token: String, at now: Timestamp) async throws -> DeviceRow {
        let record = EnrolmentRecord(
            device: DeviceID(rawValue: name),
            incarnation: IncarnationID(from: random),
            credential: CredentialDigest(of: token)
        )
        let receipt = try await devices.commit(
            .enrol(record),
            tenant: .standard,
            epoch: ledger.epoch,
            at: now
        )
        return try XCTUnwrap(receipt.row)
    }

    /// Enqueues an operation to a group or to devices.
    @discardableResult
    func enqueue(
        _ target: OperationTarget,
        code: String = "lock",
        at now: Timestamp
    ) async throws -> DeviceOperation {
        let operation = DeviceOperation(
            id: OperationID(from: random),
            activity: ActivityID(from: random),
            number: 0,
            code: OperationCode(rawValue: code),
            createdAt: now
        )
        _ = try await operations.enqueue(
            EnqueuePlan(
                operation: operation,
                target: target,
                initiator: "test",
                idempotencyKey: nil,
                requestDigest: [],
                wakeAt: nil
            ),
            tenant: .standard,
            epoch: ledger.epoch
        )
        return operation
    }
}

/// An oracle that answers what a test says, and counts.
actor RecordingOracle: CredentialOracle {
    private(set) var questions = 0
    var answer: Result<DeviceRow?, any Error>
    private var isHeld = false
    private var held: [CheckedContinuation<Void, Never>] = []

    init(_ answer: Result<DeviceRow?, any Error>) { self.answer = answer }

    func set(_ answer: Result<DeviceRow?, any Error>) { self.answer = answer }

    /// Questions wait until ``release()``.
    func hold() { isHeld = true }

    func release() {
        isHeld = false
        for waiter in held { waiter.resume() }
        held = []
    }

    func device(credential: CredentialDigest) async throws -> DeviceRow? {
        questions += 1
        if isHeld { await withCheckedContinuation { held.append($0) } }
        return try answer.get()
    }
}

extension DeviceIdentity {
    /// An entry of this device.
    func entry(_ body: InboxEntry.Body, at now: Timestamp) -> InboxEntry {
        InboxEntry(identity: self, receivedAt: now, body: body)
    }
}

extension OpenWork {
    /// What a plain poll would be handed.
    func offered(at now: Timestamp) -> [OperationID] {
        batch(limit: 100, redelivery: .afterLease, at: now).map(\.operation.id)
    }
}
#endif
