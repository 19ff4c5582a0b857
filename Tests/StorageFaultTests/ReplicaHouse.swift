#if SQLite
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import SQLiteEngine
import SQLiteReplica

/// A manager in memory and the file of one worker.
struct ReplicaHouse {
    static let node = NodeID(rawValue: "worker-1")
    let cluster: InMemoryCluster
    let replica: WorkerReplica

    static func open(
        _ path: String,
        _ cluster: InMemoryCluster,
        synchronous: DatabaseFileOptions.Synchronous = .full
    ) throws -> ReplicaHouse {
        var options = DatabaseFileOptions()
        options.readers = 1
        options.checkpointPages = 30
        options.synchronous = synchronous
        return ReplicaHouse(
            cluster: cluster,
            replica: try WorkerReplica(
                path: path,
                node: node,
                secrets: SecretBox(key: Array(repeating: 7, count: SecretBox.keySize)),
                oracle: nil,
                configuration: WorkerReplicaConfiguration(),
                options: options,
                time: cluster.time,
                random: SeededRandomSource(seed: 3),
                logger: quiet
            )
        )
    }

    /// Takes pages until it has the manager's newest revision.
    func follow() async throws {
        var cursor: ReplicaCursor?
        while true {
            let page = try await cluster.operations.page(
                after: replica.position.revision,
                cursor: cursor,
                limit: 100,
                for: Self.node
            )
            try await replica.apply(page)
            cursor = page.next
            let newest = try await cluster.operations.currentRevision()
            if page.content == .delta, page.revision == newest { return }
        }
    }

    /// Hands a few entries on to the manager.
    func drain() async throws {
        let entries = try await replica.pendingEntries(limit: 4)
        guard let last = entries.last else { return }
        let receipt = try await cluster.operations.apply(
            entries,
            from: SpoolMark(
                node: Self.node,
                incarnation: replica.incarnation,
                number: last.number
            ),
            epoch: cluster.ledger.epoch,
            at: cluster.time.now()
        )
        replica.handedOn(upTo: receipt.mark?.number ?? last.number, at: receipt.revision)
    }
}
#endif
