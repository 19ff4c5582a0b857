import ClusterRole
import ClusterTestKit
import DeviceRegistry
import NotificationDispatch
import OperationQueue

/// One in-memory store with its devices, its outbox and a clock that the test moves.
struct Scene {
    let clock = ManualTimeSource()
    let random = SeededRandomSource(seed: 42)
    let ledger = InMemoryLedger()
    let devices: InMemoryDeviceStorage
    let wakes = InMemoryWakeTable()
    let operations: InMemoryOperationStorage
    let storage: InMemoryWakeStorage
    let transport = RecordingPushTransport()
    let capability: WriteCapability
    let tenant = TenantID.standard

    var epoch: Epoch { capability.epoch }

    init() {
        devices = InMemoryDeviceStorage(ledger: ledger)
        operations = InMemoryOperationStorage(ledger: ledger, devices: devices, wakes: wakes)
        storage = InMemoryWakeStorage(wakes: wakes, devices: devices, ledger: ledger)
        capability = WriteCapability(epoch: ledger.raiseEpoch())
    }

    func makeDispatcher(
        _ configuration: WakeDispatchConfiguration = WakeDispatchConfiguration()
    ) -> WakeDispatcher {
        WakeDispatcher(
            storage: storage,
            transports: ["recording": transport],
            capability: capability,
            configuration: configuration,
            clock: clock,
            random: random
        )
    }

    /// Enrols devices, by default with a push registration.
    @discardableResult
    func enrol(
        _ names: [String],
        groups: [String] = [],
        transport: String? = "recording"
    ) async throws -> [DeviceID] {
        for name in names {
            let record = EnrolmentRecord(
                device: DeviceID(rawValue: name),
                incarnation: IncarnationID(from: random),
                credential: DeviceCredential(from: random).digest,
                groups: groups.map { GroupID(rawValue: $0) }
            )
            _ = try await devices.commit(
                .enrol(record),
                tenant: tenant,
                epoch: epoch,
                at: clock.now()
            )
            if let transport { try await register(name, with: transport) }
        }
        return names.map { DeviceID(rawValue: $0) }
    }

    func register(_ name: String, with transport: String = "recording") async throws {
        let registration = PushRegistration(
            transport: transport,
            address: "secret-address-of-\(name)",
            registeredAt: clock.now()
        )
        try await report(name, .registration(registration))
    }

    /// The device polled and was answered at the present revision.
    func contact(_ name: String) async throws {
        try await report(name, .contact(answeredAt: ledger.revision))
    }

    private func report(_ name: String, _ body: InboxEntry.Body) async throws {
        let device = DeviceID(rawValue: name)
        guard let row = try await devices.device(device, tenant: tenant)?.row else {
            throw DeviceRegistryError(.unknownDevice, name)
        }
        let entry = InboxEntry(identity: row.identity, receivedAt: clock.now(), body: body)
        _ = try await operations.apply(
            [SpooledEntry(number: 1, entry: entry)],
            from: nil,
            epoch: epoch,
            at: clock.now()
        )
    }

    @discardableResult
    func enqueue(_ target: OperationTarget) async throws -> Int64 {
        let operation = DeviceOperation(
            id: OperationID(from: random),
            activity: ActivityID(from: random),
            number: 0,
            code: OperationCode(rawValue: "lock"),
            createdAt: clock.now()
        )
        let plan = EnqueuePlan(
            operation: operation,
            target: target,
            initiator: "test",
            idempotencyKey: nil,
            requestDigest: [],
            wakeAt: clock.now()
        )
        return try await operations.enqueue(plan, tenant: tenant, epoch: epoch).number
    }

    func enqueue(to devices: [DeviceID]) async throws { try await enqueue(.devices(devices)) }

    /// All rows of the outbox, by device.
    var rows: [WakeUp] {
        wakes.withState { $0.rows.values.sorted { $0.device < $1.device } }
    }

    /// Moves the clock from one due time to the next, stepping at each, for as long as said.
    func run(_ dispatcher: WakeDispatcher, for duration: Duration) async throws {
        let end = clock.monotonic() + duration
        while true {
            let step = try await dispatcher.step()
            let rest = end - clock.monotonic()
            guard let next = step.nextDue, rest > .zero else { break }
            clock.advance(by: min(rest, max(.milliseconds(1), next - clock.now())))
        }
        clock.advance(by: max(.zero, end - clock.monotonic()))
    }
}

/// Device names `prefix-0000`, in order.
func names(_ prefix: String, _ count: Int) -> [String] {
    (0..<count).map { number in
        let digits = String(number)
        return "\(prefix)-" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}
