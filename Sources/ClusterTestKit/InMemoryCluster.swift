public import ArtifactStore
public import ClusterMembership
public import ClusterRole
public import DeviceRegistry
public import NotificationDispatch
public import OperationQueue

/// A whole cluster in memory: the drivers of one store, the façades over them, a clock that a test
/// moves and randomness that repeats. Nothing sleeps, and no file or socket is opened.
///
/// ```swift
/// let cluster = InMemoryCluster()
/// let phone = try await cluster.enrol("phone-1", groups: ["field"])
/// cluster.push.failNext(2, with: .retry(after: nil, scope: .device, reason: "busy"))
/// let receipt = try await cluster.enqueuer.enqueue(EnqueueRequest(lock, to: .group("field")))
/// try await cluster.advance(by: .seconds(600))
/// let wakeUps = cluster.push.wakeUps                    // one, after two failures
/// let answer = try await cluster.exchange.exchange(device: phone)
/// ```
///
/// All drivers share one ledger, so they are atomic with each other as those of a real store are. The
/// façades reach them through ``faults``: add a rule, and that call fails.
public final class InMemoryCluster: Sendable {
    public let time: ManualTimeSource
    public let random: SeededRandomSource
    /// Which calls of the façades to the drivers, and of the dispatcher to ``push``, fail. No rules at
    /// first.
    public let faults: FaultScript

    // The drivers.

    /// Epoch, revision counter and log of all drivers.
    public let ledger: InMemoryLedger
    public let devices: InMemoryDeviceStorage
    /// Operations and executions; serves replicas as well.
    public let operations: InMemoryOperationStorage
    public let wakes: InMemoryWakeStorage
    public let webhooks: InMemoryWebhookStorage
    public let tasks: InMemoryPeriodicTaskStorage
    public let compliance: InMemoryComplianceStorage
    /// Releases and their rollouts.
    public let releases: InMemoryReleaseStorage
    public let audit: InMemoryAuditLog
    public let identities: InMemoryIdentityStorage
    public let log: InMemoryRevisionLog
    public let leases: InMemoryLeaseStore
    public let members: InMemoryMemberRegistry
    /// Slots of cluster tasks.
    public let taskSlots: InMemoryTaskSlotStorage
    public let hints: InMemoryHintBus
    /// Reliable messages between members.
    public let messages: InMemoryMessageLog
    public let sharedState: InMemorySharedStateStorage
    /// Records the wake-ups; the dispatcher knows it as ``transportName``.
    public let push: RecordingPushTransport

    // The façades.

    /// The right to write of the epoch with which the cluster begins.
    public let capability: WriteCapability
    public let administration: DeviceAdministration
    public let enqueuer: OperationEnqueuer
    public let browser: ActivityBrowser
    /// What happened; looks each second of ``time``, and at each of ``hints``.
    public let events: OperationEvents
    public let exchange: DeviceExchange
    public let dispatcher: WakeDispatcher
    public let periodicTasks: PeriodicTaskRunner
    public let policies: PolicyMonitor
    public let expiry: ExpiryTask
    public let timers: ActivityTimers

    /// The transport that ``enrol(_:groups:tenant:)`` registers devices with.
    public static let transportName = "recording"

    /// - Parameters:
    ///   - start: the wall time at first.
    ///   - seed: of ``random``; name it in a failure message.
    public init(
        startingAt start: Timestamp = ManualTimeSource.standardStart,
        seed: UInt64 = 1
    ) {
        let time = ManualTimeSource(startingAt: start)
        let random = SeededRandomSource(seed: seed)
        let faults = FaultScript()
        let ledger = InMemoryLedger(history: HistoryID(from: random))
        let table = InMemoryWakeTable()
        devices = InMemoryDeviceStorage(ledger: ledger)
        operations = InMemoryOperationStorage(ledger: ledger, devices: devices, wakes: table)
        wakes = InMemoryWakeStorage(wakes: table, devices: devices, ledger: ledger)
        webhooks = InMemoryWebhookStorage(ledger: ledger)
        tasks = InMemoryPeriodicTaskStorage(ledger: ledger, devices: devices)
        compliance = InMemoryComplianceStorage(ledger: ledger, devices: devices, tasks: tasks)
        releases = InMemoryReleaseStorage(ledger: ledger)
        audit = InMemoryAuditLog(ledger: ledger)
        identities = InMemoryIdentityStorage(ledger: ledger)
        log = InMemoryRevisionLog(ledger: ledger)
        leases = InMemoryLeaseStore(ledger: ledger, clock: time)
        members = InMemoryMemberRegistry(ledger: ledger)
        taskSlots = InMemoryTaskSlotStorage(clock: time)
        hints = InMemoryHintBus()
        messages = InMemoryMessageLog(ledger: ledger)
        sharedState = InMemorySharedStateStorage(ledger: ledger)
        push = RecordingPushTransport()
        capability = WriteCapability(epoch: ledger.raiseEpoch())

        let storage = FailingOperationStorage(operations, faults)
        administration = DeviceAdministration(
            storage: FailingDeviceStorage(devices, faults),
            capability: capability,
            clock: time,
            random: random
        )
        enqueuer = OperationEnqueuer(
            storage: storage,
            capability: capability,
            clock: time,
            random: random
        )
        browser = ActivityBrowser(reader: storage)
        events = OperationEvents(
            reader: FailingEventReader(operations, faults),
            clock: time,
            hints: { [hints] in hints.hints() }
        )
        exchange = DeviceExchange(
            storage: storage,
            capability: capability,
            signals: operations,
            settings: DeviceExchange.Settings(clock: time, random: random)
        )
        dispatcher = WakeDispatcher(
            storage: FailingWakeStorage(wakes, faults),
            transports: [Self.transportName: FailingPushTransport(push, faults)],
            capability: capability,
            clock: time,
            random: random
        )
        periodicTasks = PeriodicTaskRunner(
            tasks: FailingPeriodicTaskStorage(tasks, faults),
            enqueuer: enqueuer,
            capability: capability,
            settings: PeriodicTaskRunner.Settings(clock: time)
        )
        policies = PolicyMonitor(
            storage: FailingComplianceStorage(compliance, faults),
            tasks: FailingPeriodicTaskStorage(tasks, faults),
            enqueuer: enqueuer,
            capability: capability,
            settings: PolicyMonitor.Settings(clock: time)
        )
        expiry = ExpiryTask(storage: storage, capability: capability, clock: time)
        timers = ActivityTimers(storage: storage, capability: capability, clock: time)
        self.time = time
        self.random = random
        self.faults = faults
        self.ledger = ledger
    }

    /// Enrols a device and registers it for wake-ups.
    @discardableResult
    public func enrol(
        _ name: String,
        groups: [String] = [],
        tenant: TenantID = .standard
    ) async throws -> DeviceIdentity {
        let receipt = try await administration.enrol(
            DeviceID(validating: name),
            groups: groups.map { try GroupID(validating: $0) },
            tenant: tenant
        )
        try await exchange.register(
            push: (transport: Self.transportName, address: name),
            device: receipt.identity
        )
        return receipt.identity
    }

    /// Does what is due now: periodic tasks, policies, expiry, timers and rollouts, wake-ups.
    public func settle() async throws {
        try await periodicTasks.tick(at: time.now())
        try await policies.tick(at: time.now())
        try await expiry.tick(at: time.now())
        try await timers.tick(at: time.now())
        try await dispatcher.step()
    }

    /// Lets time pass: moves the clock from one due time to the next and does what is due there, as a
    /// running manager would.
    public func advance(by duration: Duration) async throws {
        let end = time.monotonic() + duration
        try await settle()
        while time.monotonic() < end {
            let left = end - time.monotonic()
            // What is due already waits for the rate of wake-ups: a second later there are permits.
            let next = try await nextDue().map { max($0 - time.now(), .seconds(1)) } ?? left
            time.advance(by: min(next, left))
            try await settle()
        }
    }

    private func nextDue() async throws -> Timestamp? {
        let wake = try await wakes.nextDue()
        return [wake, tasks.nextDue, compliance.nextDue, operations.nextTimer].compactMap { $0 }
            .min()
    }

    /// The drivers as the conformance suites take them.
    public var storeUnderTest: StoreUnderTest {
        let (ledger, time) = (ledger, time)
        var store = StoreUnderTest(
            devices: devices,
            operations: operations,
            newEpoch: { ledger.raiseEpoch() }
        )
        store.events = operations
        store.replicas = operations
        store.wakes = wakes
        store.webhooks = webhooks
        store.log = log
        store.members = members
        store.taskSlots = taskSlots
        store.tasks = tasks
        store.compliance = compliance
        store.leases = leases
        store.retention = operations
        store.quotas = devices
        store.releases = releases
        store.rollouts = releases
        store.messages = messages
        store.sharedState = sharedState
        store.audit = audit
        store.identities = identities
        store.owners = devices
        store.capabilities = [.competingLeaseHolders]
        store.advanceLeaseClock = { time.advance(by: $0) }
        return store
    }
}
