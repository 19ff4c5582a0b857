import ArtifactStore
import ClusterMembership
import ClusterRole
import ClusterTestKit
import OperationQueue

/// Every driver the suites run on. **A new driver is one line here.**
enum DriverTable {
    struct Store: Sendable {
        let name: String
        let make: StoreFactory
    }

    struct Worker: Sendable {
        let name: String
        let make: @Sendable (Epoch, StoreUnderTest) async throws -> WorkerUnderTest
        let store: StoreFactory
    }

    struct Bus: Sendable {
        let name: String
        let make: @Sendable () async throws -> HintBusUnderTest
    }

    struct Releases: Sendable {
        let name: String
        let make: @Sendable () async throws -> ReleaseStorageConformance.Subject
    }

    static let stores: [Store] =
        [
            Store(name: "in memory", make: inMemory),
            Store(name: "in memory, one holder", make: inMemoryOfOneHolder),
        ] + embeddedStores

    static let workers: [Worker] =
        [
            Worker(name: "in process, in memory", make: inProcess, store: inMemory)
        ] + embeddedWorkers

    static let buses: [Bus] =
        [
            Bus(name: "in memory", make: inMemoryBus)
        ] + embeddedBuses

    static let releases: [Releases] =
        [
            Releases(name: "in memory", make: inMemoryReleases)
        ] + embeddedReleases
}

extension DriverTable {
    @Sendable static func inMemory() async throws -> StoreUnderTest {
        InMemoryCluster().storeUnderTest
    }

    @Sendable static func inMemoryOfOneHolder() async throws -> StoreUnderTest {
        let cluster = InMemoryCluster()
        var store = cluster.storeUnderTest
        store.leases = InMemoryExclusiveLease(ledger: cluster.ledger)
        store.capabilities = []
        store.advanceLeaseClock = nil
        return store
    }

    @Sendable static func inMemoryBus() async throws -> HintBusUnderTest {
        HintBusUnderTest(InMemoryHintBus())
    }

    @Sendable static func inMemoryReleases() async throws -> ReleaseStorageConformance.Subject {
        let ledger = InMemoryLedger()
        return .init(storage: InMemoryReleaseStorage(ledger: ledger)) { ledger.raiseEpoch() }
    }

    @Sendable static func inProcess(
        _ epoch: Epoch,
        _ store: StoreUnderTest
    ) async throws -> WorkerUnderTest {
        WorkerUnderTest(
            store: store,
            reader: store.operations,
            inbox: InProcessInbox(
                storage: store.operations,
                capability: WriteCapability(epoch: epoch),
                clock: ManualTimeSource()
            )
        )
    }
}

#if !SQLite
extension DriverTable {
    static let embeddedStores: [Store] = []
    static let embeddedWorkers: [Worker] = []
    static let embeddedBuses: [Bus] = []
    static let embeddedReleases: [Releases] = []
}
#endif
