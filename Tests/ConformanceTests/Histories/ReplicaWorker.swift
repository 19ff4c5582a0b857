#if SQLite
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Logging
import OperationQueue
import SQLiteReplica

/// A worker's replica and spool before a manager in memory, without a link between them.
final class ReplicaWorker: WorkerHalf {
    private static let node = NodeID(rawValue: "worker-1")
    private let replica: WorkerReplica
    private let manager: InMemoryOperationStorage
    private let epoch: Epoch
    private let time: ManualTimeSource

    init(
        path: String,
        manager: InMemoryOperationStorage,
        epoch: Epoch,
        time: ManualTimeSource,
        seed: UInt64
    ) throws {
        replica = try WorkerReplica(
            path: path,
            node: Self.node,
            secrets: SecretBox(key: Array(repeating: 7, count: SecretBox.keySize)),
            time: time,
            random: SeededRandomSource(seed: seed),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        self.manager = manager
        self.epoch = epoch
        self.time = time
    }

    func openWork(for device: DeviceID, tenant: TenantID) async throws -> OpenWork? {
        try await replica.openWork(for: device, tenant: tenant)
    }

    func accept(_ entries: [InboxEntry]) async throws { try await replica.accept(entries) }

    func follow() async throws {
        var cursor: ReplicaCursor?
        while true {
            let page = try await manager.page(
                after: replica.position.revision,
                cursor: cursor,
                limit: 1_000,
                for: Self.node
            )
            try await replica.apply(page)
            cursor = page.next
            let newest = try await manager.currentRevision()
            if page.content == .delta, page.revision == newest { return }
        }
    }

    func handOn() async throws {
        while true {
            let entries = try await replica.pendingEntries(limit: 1_000)
            guard let last = entries.last else { return }
            let mark = SpoolMark(
                node: Self.node,
                incarnation: replica.incarnation,
                number: last.number
            )
            let receipt = try await manager.apply(
                entries,
                from: mark,
                epoch: epoch,
                at: time.now()
            )
            replica.handedOn(upTo: receipt.mark?.number ?? last.number, at: receipt.revision)
        }
    }

    func close() async throws { try await replica.close() }
}
#endif
