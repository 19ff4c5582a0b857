import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue

/// What serves devices in a worker's place.
protocol WorkerHalf: PendingWorkReader, DeviceInbox {
    /// Takes the manager's newest revision.
    func follow() async throws
    /// Hands everything on to the manager.
    func handOn() async throws
}

/// The façades of operations and devices over some driver, in one tenant.
struct QueueHouse: Sendable {
    let tenant: TenantID
    let time: ManualTimeSource
    let capability: WriteCapability
    let storage: any OperationStorage
    let administration: DeviceAdministration
    let enqueuer: OperationEnqueuer
    let exchange: DeviceExchange
    let browser: ActivityBrowser
    let expiry: ExpiryTask
    let timers: ActivityTimers
    /// What lies between the devices and the manager, if a worker does.
    private let worker: (any WorkerHalf)?

    /// Puts a fault between the façades and the driver.
    typealias Decoration = @Sendable (any OperationStorage) -> any OperationStorage

    init(
        tenant: TenantID = .standard,
        devices: any DeviceStorage,
        operations: any OperationStorage,
        epoch: Epoch,
        time: ManualTimeSource,
        random: any RandomSource,
        worker: (any WorkerHalf)? = nil
    ) {
        self.tenant = tenant
        self.worker = worker
        self.time = time
        storage = operations
        capability = WriteCapability(epoch: epoch)
        administration = DeviceAdministration(
            storage: devices,
            capability: capability,
            clock: time,
            random: random
        )
        enqueuer = OperationEnqueuer(
            storage: operations,
            capability: capability,
            clock: time,
            random: random
        )
        let settings = DeviceExchange.Settings(clock: time, random: random)
        if let worker {
            exchange = DeviceExchange(reader: worker, inbox: worker, settings: settings)
        } else {
            exchange = DeviceExchange(
                storage: operations,
                capability: capability,
                settings: settings
            )
        }
        browser = ActivityBrowser(reader: operations)
        expiry = ExpiryTask(storage: operations, capability: capability, clock: time)
        timers = ActivityTimers(storage: operations, capability: capability, clock: time)
    }

    /// Whether devices are served by a worker's replica and spool.
    var isReplicated: Bool { worker != nil }

    /// Hands on to the manager what a worker has accepted.
    func settle() async throws { try await worker?.handOn() }

    /// Brings a worker to the manager's newest revision.
    func followManager() async throws { try await worker?.follow() }

    /// A new store in memory.
    static func inMemory(seed: UInt64, decorated decorate: Decoration = { $0 }) -> QueueHouse {
        let ledger = InMemoryLedger()
        let devices = InMemoryDeviceStorage(ledger: ledger)
        return QueueHouse(
            devices: devices,
            operations: decorate(InMemoryOperationStorage(ledger: ledger, devices: devices)),
            epoch: ledger.raiseEpoch(),
            time: ManualTimeSource(),
            random: SeededRandomSource(seed: seed)
        )
    }
}
