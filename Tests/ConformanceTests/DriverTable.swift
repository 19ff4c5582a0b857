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

    static let stores: [Store] = [
        Store(name: "in memory", make: inMemory),
        Store(name: "in memory, one holder", make: inMemoryOfOneHolder),
    ]

    static let workers: [Worker] = [
        Worker(name: "in process, in memory", make: inProcess, store: inMemory)
    ]

    static let buses: [Bus] = [
        Bus(name: "in memory", make: inMemoryBus)
    ]
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
