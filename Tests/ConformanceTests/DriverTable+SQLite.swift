#if SQLite
import ClusterMembership
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import Logging
import OperationQueue
import SQLiteReplica
import SQLiteStore

/// The drivers that keep what they are told in a file.
extension DriverTable {
    static let embeddedStores = [
        Store(name: "embedded", make: embedded)
    ]

    static let embeddedWorkers = [
        Worker(name: "in process, embedded", make: inProcess, store: embedded),
        Worker(name: "replica of a store in memory", make: replica, store: inMemory),
        Worker(name: "replica of an embedded store", make: replica, store: embedded),
    ]

    static let embeddedBuses = [
        Bus(name: "embedded", make: embeddedBus)
    ]

    static let embeddedReleases = [
        Releases(name: "embedded", make: releasesOfAnEmbeddedStore)
    ]

    @Sendable static func embedded() async throws -> StoreUnderTest {
        try await EmbeddedFile().open()
    }

    @Sendable static func embeddedBus() async throws -> HintBusUnderTest {
        let file = try EmbeddedFile()
        let store = try await file.openStore()
        var subject = HintBusUnderTest(store)
        subject.close = { [file] in
            try await store.close()
            file.remove()
        }
        return subject
    }

    @Sendable static func releasesOfAnEmbeddedStore() async throws
        -> ReleaseStorageConformance.Subject
    {
        let file = try EmbeddedFile()
        let store = try await file.openStore()
        return .init(storage: store) { [file] in
            try await store.acquire(holder: file.node, duration: .seconds(30)).epoch
        }
    }

    @Sendable static func replica(
        _ epoch: Epoch,
        _ store: StoreUnderTest
    ) async throws -> WorkerUnderTest {
        guard let source = store.replicas else {
            throw ConformanceFailure(
                suite: "PendingWork",
                step: "a replica is opened",
                message: "the store serves no replicas"
            )
        }
        let directory = try TemporaryDirectory()
        let worker = NodeID(rawValue: "worker-1")
        let replica = try WorkerReplica(
            path: directory.path + "/replica.sqlite",
            node: worker,
            secrets: SecretBox(key: Array(repeating: 7, count: SecretBox.keySize)),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        var closing = store
        closing.close = { [directory] in
            try await replica.close()
            try await store.close()
            directory.remove()
        }
        return WorkerUnderTest(
            store: closing,
            reader: replica,
            inbox: replica,
            refresh: { try await refresh(replica, of: worker, from: source) },
            drain: { try await drain(replica, of: worker, to: store.operations, epoch: epoch) }
        )
    }

    /// Reads pages until the replica holds the newest revision, as a link does.
    private static func refresh(
        _ replica: WorkerReplica,
        of worker: NodeID,
        from source: any ReplicaSource
    ) async throws {
        var cursor: ReplicaCursor?
        while true {
            let page = try await source.page(
                after: replica.position.revision,
                cursor: cursor,
                limit: 50,
                for: worker
            )
            try await replica.apply(page)
            cursor = page.next
            let newest = try await source.currentRevision()
            if page.content == .delta, page.revision == newest { return }
        }
    }

    /// Hands on what the spool holds, as a link does: an entry leaves it when the replica, too, holds
    /// the revision it was applied at.
    private static func drain(
        _ replica: WorkerReplica,
        of worker: NodeID,
        to operations: any OperationStorage,
        epoch: Epoch
    ) async throws {
        while true {
            let entries = try await replica.pendingEntries(limit: 64)
            guard let last = entries.last else { return }
            let receipt = try await operations.apply(
                entries,
                from: SpoolMark(
                    node: worker,
                    incarnation: replica.incarnation,
                    number: last.number
                ),
                epoch: epoch,
                at: SystemTimeSource().now()
            )
            guard replica.revision != nil else { return }
            replica.handedOn(upTo: last.number, at: receipt.revision)
        }
    }
}

/// A directory of its own for each step.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.path + "/reeve-" + UUID().uuidString
        try FileManager.default.createDirectory(
            atPath: path,
            withIntermediateDirectories: true
        )
    }

    deinit { remove() }

    func remove() { try? FileManager.default.removeItem(atPath: path) }
}

/// The file of an embedded store, which outlives each opening.
private final class EmbeddedFile: Sendable {
    let node = NodeID(rawValue: "manager-1")
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    func remove() { directory.remove() }

    func openStore() async throws -> EmbeddedStore {
        try await EmbeddedStore.open(
            path: directory.path + "/store.sqlite",
            node: node,
            secrets: try SecretBox(key: Array(repeating: 7, count: SecretBox.keySize))
        )
    }

    func open() async throws -> StoreUnderTest {
        let store = try await openStore()
        var subject = StoreUnderTest(
            devices: store,
            operations: store,
            newEpoch: { [node] in
                try await store.acquire(holder: node, duration: .seconds(30)).epoch
            }
        )
        subject.events = store
        subject.replicas = store
        subject.wakes = store
        subject.webhooks = store
        subject.log = store
        subject.members = store
        subject.tasks = store
        subject.compliance = store
        subject.leases = store
        subject.taskSlots = store
        subject.retention = store
        subject.quotas = store
        subject.releases = store
        subject.rollouts = store
        subject.audit = store
        subject.identities = store
        subject.owners = store
        subject.messages = store
        subject.sharedState = store
        subject.reopen = { [self] in
            try await store.close()
            return try await open()
        }
        subject.close = { try await store.close() }
        return subject
    }
}
#endif
