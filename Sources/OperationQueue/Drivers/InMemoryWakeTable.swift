package import ClusterRole
package import DeviceRegistry
internal import OrderedCollections
internal import Synchronization

/// The wake outbox in memory: written by the operation driver, taken from by NotificationDispatch's.
///
/// One table is shared by the in-memory drivers of one store. It has its own lock, which is always
/// taken inside the ledger's.
public final class InMemoryWakeTable: Sendable {
    package struct Key: Hashable, Sendable {
        package var tenant: TenantID
        package var device: DeviceID

        package init(tenant: TenantID, device: DeviceID) {
            self.tenant = tenant
            self.device = device
        }
    }

    package struct State: Sendable {
        package var rows: [Key: WakeUp] = [:]
        /// Waiting expansions, oldest first.
        package var expansions: [WakeExpansion] = []
        /// The newest revision number each device has been answered at.
        package var contactedAt: [Key: Int64] = [:]
        package var coalesced = 0
        package var foundByPolling = 0
        package var sent = 0
        package var retried = 0
        package var abandoned = 0
        package var deadTokens = 0
        private var nextGeneration: Int64 = 1

        package init() {}

        /// Adds a wish to wake a device for `number`, joining the row it has.
        ///
        /// - Returns: whether a new row was made.
        @discardableResult
        package mutating func request(_ key: Key, number: Int64, due: Timestamp) -> Bool {
            let generation = nextGeneration
            nextGeneration += 1
            if var row = rows[key] {
                row.generation = generation
                row.number = max(row.number, number)
                rows[key] = row
                coalesced += 1
                return false
            }
            rows[key] = WakeUp(
                tenant: key.tenant,
                device: key.device,
                generation: generation,
                number: number,
                due: due
            )
            return true
        }

        /// Notes that a device was answered at `number`: a wake at or below it has done its work.
        package mutating func contact(_ key: Key, answeredAt number: Int64) {
            contactedAt[key] = max(contactedAt[key] ?? 0, number)
            if let row = rows[key], row.number <= number {
                rows[key] = nil
                foundByPolling += 1
            }
        }
    }

    private let state = Mutex(State())

    public init() {}

    package func withState<Result: Sendable>(
        _ body: (inout sending State) throws -> sending Result
    ) rethrows -> sending Result {
        try state.withLock(body)
    }
}
