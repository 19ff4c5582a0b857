import ClusterRole
import DeviceRegistry
import OperationQueue
import SQLiteStore

/// An opened store with its writers.
struct Site: Sendable {
    static let group: GroupID = "fleet"
    /// 200 bytes, as `Peers/limit.c` has it.
    static let payload = [UInt8](repeating: 0x70, count: 200)
    static let detail = Array(#"{"status":"ok","elapsedMs":1234}"#.utf8)

    let store: EmbeddedStore
    let capability: WriteCapability

    init(_ path: String) async throws {
        store = try await EmbeddedStore.open(
            path: path,
            node: "manager",
            secrets: SecretBox(key: [UInt8](repeating: 7, count: SecretBox.keySize))
        )
        let lease = try await store.acquire(holder: "manager", duration: .seconds(15))
        capability = WriteCapability(epoch: lease.epoch)
    }

    var enqueuer: OperationEnqueuer { OperationEnqueuer(storage: store, capability: capability) }

    var exchange: DeviceExchange { DeviceExchange(storage: store, capability: capability) }

    func close() async throws { try await store.close() }

    /// The devices of the fleet, in order of their ids.
    func devices() async throws -> [DeviceIdentity] {
        var devices: [DeviceIdentity] = []
        var after: DeviceID?
        repeat {
            let page = try await store.devices(
                in: nil,
                after: after,
                limit: 1_000,
                tenant: .standard
            )
            devices += page.map(\.row.identity)
            after = page.last?.id
        } while after != nil
        return devices
    }

    /// A request of the benchmark's operation. Nobody is woken: outbox rows are no part of it.
    static func request(_ target: OperationTarget) -> EnqueueRequest {
        var request = EnqueueRequest("INSTALL", to: target, payload: payload)
        request.wake = .none
        return request
    }
}

/// Files both sides begin with.
enum Preparation {
    /// Enrols `devices=N` into a new file, all in group `fleet`.
    static func devices(_ arguments: Arguments) async throws {
        let site = try await Site(arguments.path)
        let administration = DeviceAdministration(
            storage: site.store,
            capability: site.capability
        )
        let count = arguments.number("devices", 100_000)
        let start = Measurement()
        try await forEach(below: count, width: 1_024) { index in
            let id = DeviceID(rawValue: name(index))
            _ = try await administration.enrol(id, groups: [Site.group])
        }
        start.report("reeve", "enrol", count, note: "1024 clients")
        try await site.close()
    }

    /// 36 characters, as a UUID has.
    private static func name(_ index: Int) -> String {
        let scramble = String(UInt32(truncatingIfNeeded: index &* 2_654_435_761), radix: 16)
        let digits = String(index)
        return String(repeating: "0", count: 8 - scramble.count) + scramble + "-5b1e-4c3a-9d2f-"
            + String(repeating: "0", count: 12 - digits.count) + digits
    }

    /// Enqueues one operation that names `named=N` of the devices, all if it is left out.
    static func target(_ arguments: Arguments) async throws {
        let site = try await Site(arguments.path)
        let devices = try await site.devices().map(\.device)
        let named = arguments.number("named", devices.count)
        _ = try await site.enqueuer.enqueue(Site.request(.devices(Array(devices.prefix(named)))))
        try await site.close()
    }

    /// Reads every device's open work and the newest activities' executions: each row's checksum is
    /// compared on the way.
    static func check(_ arguments: Arguments) async throws {
        let site = try await Site(arguments.path)
        let devices = try await site.devices()
        var open = 0
        for device in devices {
            let work = try await site.store.openWork(for: device.device, tenant: .standard)
            open += work?.items.count ?? 0
        }
        var counts: [String] = []
        let browser = ActivityBrowser(reader: site.store)
        for activity in try await browser.activities(limit: 3).activities {
            var rows = 0
            var after: DeviceID?
            repeat {
                let page = try await browser.executions(
                    of: activity.id,
                    after: after,
                    limit: 1_000
                )
                rows += page.executions.filter { $0.version > 0 }.count
                after = page.next
            } while after != nil
            counts.append("\(activity.operation.number) \(activity.state) \(rows) rows")
        }
        print("\(devices.count) devices, \(open) open items; executions: \(counts)")
        try await site.close()
    }
}
