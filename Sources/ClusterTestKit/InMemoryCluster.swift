public import ClusterMembership
public import ClusterRole
public import DeviceRegistry
public import NotificationDispatch
public import OperationQueue

/// Everything a cluster stores, in memory, with a clock that a test moves and randomness that repeats.
///
/// All drivers share one ledger, so they are atomic with each other as those of a real store are. Hand
/// them to the façades your product uses; nothing sleeps, and no file or socket is opened.
public final class InMemoryCluster: Sendable {
    public let time: ManualTimeSource
    public let random: SeededRandomSource
    /// Epoch, revision counter and log of all drivers below.
    public let ledger: InMemoryLedger
    public let devices: InMemoryDeviceStorage
    /// Operations and executions; serves replicas as well.
    public let operations: InMemoryOperationStorage
    public let wakes: InMemoryWakeStorage
    public let tasks: InMemoryPeriodicTaskStorage
    public let log: InMemoryRevisionLog
    public let leases: InMemoryLeaseStore
    public let members: InMemoryMemberRegistry
    public let hints: InMemoryHintBus
    /// The right to write of the epoch with which the cluster begins.
    public let capability: WriteCapability

    /// - Parameters:
    ///   - start: the wall time at first.
    ///   - seed: of ``random``.
    public init(
        startingAt start: Timestamp = ManualTimeSource.standardStart,
        seed: UInt64 = 1
    ) {
        time = ManualTimeSource(startingAt: start)
        random = SeededRandomSource(seed: seed)
        ledger = InMemoryLedger(history: HistoryID(from: random))
        devices = InMemoryDeviceStorage(ledger: ledger)
        let table = InMemoryWakeTable()
        operations = InMemoryOperationStorage(ledger: ledger, devices: devices, wakes: table)
        wakes = InMemoryWakeStorage(wakes: table, devices: devices, ledger: ledger)
        tasks = InMemoryPeriodicTaskStorage(ledger: ledger)
        log = InMemoryRevisionLog(ledger: ledger)
        leases = InMemoryLeaseStore(ledger: ledger, clock: time)
        members = InMemoryMemberRegistry(ledger: ledger)
        hints = InMemoryHintBus()
        capability = WriteCapability(epoch: ledger.raiseEpoch())
    }

    /// The drivers as the conformance suites take them.
    public var storeUnderTest: StoreUnderTest {
        let (ledger, time) = (ledger, time)
        var store = StoreUnderTest(
            devices: devices,
            operations: operations,
            newEpoch: { ledger.raiseEpoch() }
        )
        store.replicas = operations
        store.wakes = wakes
        store.log = log
        store.members = members
        store.tasks = tasks
        store.leases = leases
        store.capabilities = [.competingLeaseHolders]
        store.advanceLeaseClock = { time.advance(by: $0) }
        return store
    }
}
