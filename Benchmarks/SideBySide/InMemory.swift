import ClusterRole
import DeviceRegistry
import OperationQueue

/// The in-memory drivers: what an operation costs without a disk.
enum InMemory {
    static func all(_ arguments: Arguments) async throws {
        let size = arguments.number("devices", 100_000)
        let count = arguments.number("n", 20_000)
        let ledger = InMemoryLedger(history: HistoryID(from: SystemRandomSource()))
        let devices = InMemoryDeviceStorage(ledger: ledger)
        let operations = InMemoryOperationStorage(ledger: ledger, devices: devices)
        let capability = WriteCapability(epoch: ledger.raiseEpoch())
        let administration = DeviceAdministration(storage: devices, capability: capability)
        let enqueuer = OperationEnqueuer(storage: operations, capability: capability)
        var identities: [DeviceIdentity] = []

        let enrolment = Measurement()
        for index in 0..<size {
            let id = DeviceID(rawValue: "device-\(index)")
            let receipt = try await administration.enrol(id, groups: [Site.group])
            identities.append(receipt.identity)
        }
        enrolment.report("reeve in-memory", "M enrol", size)

        let polls = Measurement()
        for index in 0..<count {
            let device = identities[scattered(index, of: size)].device
            let work = try await operations.openWork(for: device, tenant: .standard)
            try expect(work?.items.isEmpty ?? false, "nothing is open")
        }
        polls.report("reeve in-memory", "M open work, empty", count)

        _ = try await enqueuer.enqueue(Site.request(.group(Site.group)))
        try await apply(operations, capability, identities, count)

        let enqueue = Measurement()
        for index in 0..<count {
            let device = identities[scattered(index, of: size)].device
            _ = try await enqueuer.enqueue(Site.request(.devices([device])))
        }
        enqueue.report("reeve in-memory", "M enqueue to one", count)

        let group = Measurement()
        for _ in 0..<count { _ = try await enqueuer.enqueue(Site.request(.group(Site.group))) }
        group.report("reeve in-memory", "M enqueue to group", count)
    }

    /// Fetches, claims and results on the driver itself.
    private static func apply(
        _ operations: InMemoryOperationStorage,
        _ capability: WriteCapability,
        _ identities: [DeviceIdentity],
        _ count: Int
    ) async throws {
        let random = SystemRandomSource()
        var claims: [InboxEntry] = []
        var results: [InboxEntry] = []
        let fetch = Measurement()
        for index in 0..<count {
            let identity = identities[scattered(index, of: identities.count)]
            let work = try await operations.openWork(for: identity.device, tenant: .standard)
            guard let item = work?.items.first else { throw UsageError("nothing is open") }
            let now = SystemTimeSource().now()
            let attempt = AttemptID(from: random)
            claims.append(
                InboxEntry(
                    identity: identity,
                    receivedAt: now,
                    body: .claim(item.operation.id, attempt: attempt, leaseEnd: now + .seconds(60))
                )
            )
            results.append(
                InboxEntry(
                    identity: identity,
                    receivedAt: now,
                    body: .result(
                        item.operation.id,
                        attempt: attempt,
                        outcome: .completed,
                        detail: Site.detail
                    )
                )
            )
        }
        fetch.report("reeve in-memory", "M open work, one", count)
        for (name, entries) in [("M claim", claims), ("M result", results)] {
            let start = Measurement()
            for entry in entries {
                let receipt = try await operations.apply(
                    [SpooledEntry(number: 0, entry: entry)],
                    from: nil,
                    epoch: try capability.requireEpoch(),
                    at: entry.receivedAt
                )
                try expect(receipt.applied == 1, "it is applied")
            }
            start.report("reeve in-memory", name, count)
        }
    }
}
