public import ClusterRole
public import DeviceRegistry
public import OperationQueue

/// A ``WakeStorage`` in memory, over the table that the in-memory operation driver writes.
///
/// ```swift
/// let ledger = InMemoryLedger()
/// let devices = InMemoryDeviceStorage(ledger: ledger)
/// let wakes = InMemoryWakeTable()
/// let storage = InMemoryWakeStorage(wakes: wakes, devices: devices, ledger: ledger)
/// ```
public final class InMemoryWakeStorage: WakeStorage {
    private let wakes: InMemoryWakeTable
    private let devices: InMemoryDeviceStorage
    private let ledger: InMemoryLedger

    /// - Parameters:
    ///   - wakes: the table the operation driver of the same store writes.
    ///   - devices: the devices of the same store.
    ///   - ledger: compares the epoch.
    public init(wakes: InMemoryWakeTable, devices: InMemoryDeviceStorage, ledger: InMemoryLedger) {
        self.wakes = wakes
        self.devices = devices
        self.ledger = ledger
    }

    public func expand(
        limit: Int,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> WakeExpansionReceipt {
        try ledger.guarded(epoch: epoch) { _ in
            // Locks are taken in one order: the ledger's, the devices', the table's. So what is read of
            // the devices is read before the table is changed.
            var receipt = WakeExpansionReceipt(added: 0, coalesced: 0, isFinished: true)
            while receipt.added + receipt.coalesced < limit, let next = firstExpansion(at: now) {
                let room = limit - receipt.added - receipt.coalesced
                let page = members(of: next, limit: room)
                wakes.withState { state in
                    take(page, for: next, in: &state, &receipt)
                }
            }
            receipt.isFinished = wakes.withState { $0.expansions.isEmpty }
            return ([], receipt)
        }.result
    }

    public func due(at now: Timestamp, limit: Int) async throws -> [DueWakeUp] {
        let rows = wakes.withState { state in
            state.rows.values.filter { $0.due <= now }
                .sorted { ($0.due, $0.generation) < ($1.due, $1.generation) }
        }
        return rows.prefix(max(0, limit)).map { wake in
            DueWakeUp(
                wake: wake,
                registration: devices.registration(of: wake.device, tenant: wake.tenant)
            )
        }
    }

    public func settle(
        _ outcomes: [WakeSettlement],
        epoch: Epoch,
        at now: Timestamp
    ) async throws {
        _ = try ledger.guarded(epoch: epoch) { _ in
            for outcome in outcomes {
                // Whether the row goes for a dead registration depends on the devices, asked first.
                var isUnregistered = false
                if case .deadToken(let since) = outcome.verdict {
                    isUnregistered = devices.dropRegistration(
                        of: outcome.device,
                        tenant: outcome.tenant,
                        ifNoNewerThan: since
                    )
                }
                wakes.withState { $0.settle(outcome, isUnregistered: isUnregistered) }
            }
            return ([], ())
        }
    }

    public func nextDue() async throws -> Timestamp? {
        wakes.withState { state in
            let rows = state.rows.values.lazy.map(\.due).min()
            let expansions = state.expansions.lazy.map(\.due).min()
            return [rows, expansions].compactMap { $0 }.min()
        }
    }

    public func counters() async throws -> WakeCounters {
        wakes.withState { state in
            var counters = WakeCounters()
            counters.sent = state.sent
            counters.coalesced = state.coalesced
            counters.retried = state.retried
            counters.abandoned = state.abandoned
            counters.foundByPolling = state.foundByPolling
            counters.deadTokens = state.deadTokens
            return counters
        }
    }

    // MARK: Expansion

    private struct Page {
        /// Members to wake, in order of id.
        var devices: [DeviceID]
        /// The last member looked at.
        var cursor: DeviceID?
        var isLast: Bool
    }

    private func firstExpansion(at now: Timestamp) -> WakeExpansion? {
        wakes.withState { state in state.expansions.first { $0.due <= now } }
    }

    /// The next members as of the operation who are enrolled still; contacted ones are left to the table.
    private func members(of expansion: WakeExpansion, limit: Int) -> Page {
        let intervals = devices.memberships(
            of: expansion.group,
            tenant: expansion.tenant,
            after: expansion.cursor,
            limit: limit
        )
        guard let last = intervals.last else {
            return Page(devices: [], cursor: expansion.cursor, isLast: true)
        }
        let present = intervals.filter { interval in
            guard expansion.covers(interval),
                let row = devices.row(of: interval.device, tenant: expansion.tenant)
            else { return false }
            return row.state == .enrolled && row.incarnation == interval.incarnation
        }
        let rest = devices.memberships(
            of: expansion.group,
            tenant: expansion.tenant,
            after: last.device,
            limit: 1
        )
        return Page(
            devices: present.map(\.device),
            cursor: last.device,
            isLast: rest.isEmpty
        )
    }

    private func take(
        _ page: Page,
        for expansion: WakeExpansion,
        in state: inout InMemoryWakeTable.State,
        _ receipt: inout WakeExpansionReceipt
    ) {
        for device in page.devices {
            let key = InMemoryWakeTable.Key(tenant: expansion.tenant, device: device)
            if let contacted = state.contactedAt[key], contacted >= expansion.number { continue }
            if state.request(key, number: expansion.number, due: expansion.due) {
                receipt.added += 1
            } else {
                receipt.coalesced += 1
            }
        }
        guard let index = state.expansions.firstIndex(of: expansion) else { return }
        if page.isLast {
            state.expansions.remove(at: index)
        } else {
            state.expansions[index].cursor = page.cursor
        }
    }
}

extension InMemoryWakeTable.State {
    /// Stores what became of one attempt.
    fileprivate mutating func settle(_ outcome: WakeSettlement, isUnregistered: Bool) {
        switch outcome.verdict {
        case .sent: sent += 1
        case .retry: retried += 1
        case .abandon: abandoned += 1
        case .deadToken: deadTokens += isUnregistered ? 1 : 0
        }
        let key = InMemoryWakeTable.Key(tenant: outcome.tenant, device: outcome.device)
        // A newer wish than the one that was attempted stays due.
        guard var row = rows[key], row.generation == outcome.generation else { return }
        switch outcome.verdict {
        case .sent, .abandon:
            rows[key] = nil
        case .deadToken:
            if isUnregistered { rows[key] = nil }
        case .retry(let time, let failure):
            row.due = time
            row.attempts += 1
            row.lastFailure = failure
            rows[key] = row
        }
    }
}
