import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue

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

    /// Puts a fault between the façades and the driver.
    typealias Decoration = @Sendable (any OperationStorage) -> any OperationStorage

    init(
        tenant: TenantID = .standard,
        devices: any DeviceStorage,
        operations: any OperationStorage,
        epoch: Epoch,
        time: ManualTimeSource,
        random: any RandomSource
    ) {
        self.tenant = tenant
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
        exchange = DeviceExchange(
            storage: operations,
            capability: capability,
            settings: .init(clock: time, random: random)
        )
        browser = ActivityBrowser(reader: operations)
        expiry = ExpiryTask(storage: operations, capability: capability, clock: time)
    }

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
