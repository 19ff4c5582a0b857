import ArtifactStore
import ClusterMembership
import ClusterRole
import DeviceRegistry
import Foundation
import OperationQueue
import SQLiteReplica
import SQLiteStore

/// The drivers of one store. Benchmarks know the protocols only.
struct Store: Sendable {
    let scratch: ScratchDirectory
    let devices: any DeviceStorage
    let operations: any OperationStorage & ReplicaSource
    let releases: any ReleaseStorage
    let capability: WriteCapability
    let close: @Sendable () async throws -> Void

    var administration: DeviceAdministration {
        DeviceAdministration(storage: devices, capability: capability)
    }

    var enqueuer: OperationEnqueuer {
        OperationEnqueuer(storage: operations, capability: capability)
    }

    var inbox: InProcessInbox { InProcessInbox(storage: operations, capability: capability) }

    var exchange: DeviceExchange { DeviceExchange(reader: operations, inbox: inbox) }
}

/// The stores that exist.
enum Driver: String, Sendable, CaseIterable {
    case inMemory = "in-memory"
    case embedded

    func open() async throws -> Store {
        let scratch = try ScratchDirectory()
        switch self {
        case .inMemory:
            let ledger = InMemoryLedger(history: HistoryID(from: SystemRandomSource()))
            let devices = InMemoryDeviceStorage(ledger: ledger)
            return Store(
                scratch: scratch,
                devices: devices,
                operations: InMemoryOperationStorage(ledger: ledger, devices: devices),
                releases: InMemoryReleaseStorage(ledger: ledger),
                capability: WriteCapability(epoch: ledger.raiseEpoch()),
                close: {}
            )
        case .embedded:
            let store = try await EmbeddedStore.open(
                path: scratch.path("store.db"),
                node: "manager",
                secrets: SecretBox(key: SystemRandomSource().bytes(SecretBox.keySize))
            )
            let lease = try await store.acquire(holder: "manager", duration: .seconds(15))
            return Store(
                scratch: scratch,
                devices: store,
                operations: store,
                releases: store,
                capability: WriteCapability(epoch: lease.epoch),
                close: { try await store.close() }
            )
        }
    }
}

/// A store with devices, all of them members of ``Fleet/group``.
struct Fleet: Sendable {
    static let group: GroupID = "fleet"

    let store: Store
    let devices: [DeviceIdentity]

    init(_ driver: Driver, size: Int) async throws {
        let store = try await driver.open()
        let administration = store.administration
        // Many at once: they share the store's commits.
        try await forEach(below: size, width: 512) { index in
            let id = DeviceID(rawValue: "device-\(index)")
            _ = try await administration.enrol(id, groups: [Self.group])
        }
        var devices: [DeviceIdentity] = []
        var after: DeviceID?
        repeat {
            let page = try await store.devices.devices(
                in: Self.group,
                after: after,
                limit: 1_000,
                tenant: .standard
            )
            devices += page.map(\.row.identity)
            after = page.last?.id
        } while after != nil
        self.store = store
        self.devices = devices
    }
}

/// A worker's replica of a fleet's store, with the link's work done by calls.
struct Worker: Sendable {
    let fleet: Fleet
    let replica: WorkerReplica
    let exchange: DeviceExchange

    init(_ fleet: Fleet) throws {
        self.fleet = fleet
        replica = try WorkerReplica(
            path: fleet.store.scratch.path("worker.db"),
            node: "worker",
            secrets: SecretBox(key: SystemRandomSource().bytes(SecretBox.keySize))
        )
        exchange = DeviceExchange(reader: replica, inbox: replica)
    }

    /// Hands the spool on, then takes what is new.
    func follow() async throws {
        let operations = fleet.store.operations
        while true {
            let entries = try await replica.pendingEntries(limit: 1_000)
            guard let last = entries.last else { break }
            let mark = SpoolMark(
                node: replica.node,
                incarnation: replica.incarnation,
                number: last.number
            )
            let receipt = try await operations.apply(
                entries,
                from: mark,
                epoch: try fleet.store.capability.requireEpoch(),
                at: SystemTimeSource().now()
            )
            replica.handedOn(upTo: last.number, at: receipt.revision)
        }
        var cursor: ReplicaCursor?
        while true {
            let page = try await operations.page(
                after: replica.position.revision,
                cursor: cursor,
                limit: 10_000,
                for: replica.node
            )
            try await replica.apply(page)
            cursor = page.next
            let newest = try await operations.currentRevision()
            if page.content == .delta, page.revision == newest { return }
        }
    }

    func close() async throws {
        try await replica.close()
        try await fleet.store.close()
    }
}
