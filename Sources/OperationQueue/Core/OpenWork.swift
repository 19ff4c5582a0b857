public import ClusterRole
public import DeviceRegistry

/// What is open for one device, as of one revision.
public struct OpenWork: Hashable, Sendable {
    /// The revision it is true of.
    public var revision: Revision
    public var device: DeviceRow
    /// In order: priority descending, then number.
    public private(set) var items: [OpenItem]
    /// The shortest polling frequency of the device's groups; `nil` if none has one.
    public var groupPollingFrequency: Duration?

    /// How often the device polls by itself: its own frequency, else that of its groups, else `nil` for
    /// the product's default.
    public var pollingFrequency: Duration? { device.pollingFrequency ?? groupPollingFrequency }

    public init(revision: Revision, device: DeviceRow, items: [OpenItem]) {
        self.revision = revision
        self.device = device
        self.items = items.sorted { $0.operation.precedes($1.operation) }
    }

    /// Applies an entry of this device by the same rule the manager will use, so that a device is not
    /// offered again what it has just reported.
    @discardableResult
    public mutating func apply(_ entry: InboxEntry) -> ExecutionChange? {
        guard entry.identity.incarnation == device.incarnation, let operation = entry.operation,
            let index = items.firstIndex(where: { $0.operation.id == operation })
        else { return nil }
        let change = ExecutionRules.apply(
            entry,
            to: items[index].row,
            of: items[index].operation,
            in: items[index].activityState
        )
        items[index].row = change.after
        if change.changedRow, items[index].state.isFinal { settle(items[index]) }
        return change
    }

    /// Tells what waits for a finished item that it need not any more.
    private mutating func settle(_ done: OpenItem) {
        let activity = done.operation.activity
        for index in items.indices {
            let after = items[index].operation.terms.after
            guard after.contains(where: { $0.activity == activity }) else { continue }
            items[index].dependencies[activity] = DependencyState(activity, done.state)
        }
    }

    /// Ends what need not be done because another operation is done in its place, and says what.
    ///
    /// Of the visible operations with the same code under ``RepetitionControl/noRepeat``, the oldest
    /// stays; of those with the same ``RepetitionControl/supersede(_:)`` key, the newest. Only work
    /// that was never handed out is ended.
    ///
    /// - Returns: the operations ended; the manager applies exactly this list.
    public mutating func supersede(at now: Timestamp) -> [OperationID] {
        var rivals: [RivalKey: [Int]] = [:]
        for index in items.indices {
            let item = items[index]
            guard let key = RivalKey(item.operation), takesPart(item, at: now) else { continue }
            rivals[key, default: []].append(index)
        }
        var ended: [OperationID] = []
        for index in items.indices {
            guard let key = RivalKey(items[index].operation), let all = rivals[key], all.count > 1,
                all.contains(index), isUntouched(items[index])
            else { continue }
            if index != survivor(of: key, among: all) { ended.append(items[index].operation.id) }
        }
        if !ended.isEmpty { items.removeAll { ended.contains($0.operation.id) } }
        return ended
    }

    private func survivor(of key: RivalKey, among rivals: [Int]) -> Int? {
        let numbered = rivals.map { (index: $0, number: items[$0].operation.number) }
        switch key {
        case .code:
            if let held = rivals.first(where: { !isUntouched(items[$0]) }) { return held }
            return numbered.min { $0.number < $1.number }?.index
        case .superseded: return numbered.max { $0.number < $1.number }?.index
        }
    }

    /// Whether the device never had it.
    private func isUntouched(_ item: OpenItem) -> Bool {
        item.row == nil && item.state == .pending
    }

    private func takesPart(_ item: OpenItem, at now: Timestamp) -> Bool {
        switch item.availability(on: device.id, redelivery: .afterLease, at: now) {
        case .invisible, .ended, .waiting(.notBefore, _): false
        case .offered, .inHand, .waiting: true
        }
    }

    /// Chooses what to hand out now.
    ///
    /// A batch is a prefix in order. Work the device has in hand blocks what is behind it; work that
    /// waits is passed by unless it is strict.
    ///
    /// - Parameters:
    ///   - limit: the most operations.
    ///   - redelivery: whether work whose lease still runs is handed out again.
    ///   - now: the present time: leases, waits and windows are compared with it.
    public func batch(
        limit: Int,
        redelivery: RedeliveryRule,
        at now: Timestamp
    ) -> [OpenItem] {
        var chosen: [OpenItem] = []
        for item in items {
            if chosen.count >= limit { break }
            switch item.availability(on: device.id, redelivery: redelivery, at: now) {
            case .offered: chosen.append(item)
            case .inHand: return chosen
            case .waiting: if item.operation.order == .strict { return chosen }
            case .invisible, .ended: continue
            }
        }
        return chosen
    }

    /// Executions the device has in hand and must end because they were cancelled.
    public var cancellations: [ExecutionID] {
        items.filter { $0.state == .cancelRequested }.map { $0.executionID(on: device) }
    }

    /// The earliest time after `now` at which something is to be offered that is not now, if any.
    public func nextOffer(after now: Timestamp) -> Timestamp? {
        items.compactMap { item -> Timestamp? in
            switch item.availability(on: device.id, redelivery: .afterLease, at: now) {
            case .inHand(let until), .waiting(_, let until):
                item.state == .inProgress ? nil : until.flatMap { $0 > now ? $0 : nil }
            case .offered, .invisible, .ended: nil
            }
        }.min()
    }

    /// Whether anything remains to be done by this device.
    public var isEmpty: Bool { items.allSatisfy { $0.state.isFinal } }
}

/// What operations may stand in each other's way by.
private enum RivalKey: Hashable {
    case code(OperationCode)
    case superseded(String)

    init?(_ operation: DeviceOperation) {
        switch operation.terms.control {
        case .always: return nil
        case .noRepeat: self = .code(operation.code)
        case .supersede(let key): self = .superseded(key)
        }
    }
}

/// One open operation of a device.
public struct OpenItem: Hashable, Sendable {
    public var operation: DeviceOperation
    public var activityState: ActivityState
    public var gate: OfferGate
    public var row: Execution?
    /// How the activities it must wait for stand on this device.
    public var dependencies: [ActivityID: DependencyState]

    public init(
        operation: DeviceOperation,
        activityState: ActivityState,
        gate: OfferGate = OfferGate(),
        row: Execution?,
        dependencies: [ActivityID: DependencyState] = [:]
    ) {
        self.operation = operation
        self.activityState = activityState
        self.gate = gate
        self.row = row
        self.dependencies = dependencies
    }

    public var state: ExecutionState { activityState.effective(row?.state) }

    public func executionID(on device: DeviceRow) -> ExecutionID {
        ExecutionID(operation: operation.id, incarnation: device.incarnation, device: device.id)
    }

    /// Whether it may be handed out now, and if not, why.
    ///
    /// - Parameters:
    ///   - device: the device whose work it is.
    ///   - redelivery: whether work whose lease still runs is handed out again.
    ///   - now: the present time.
    public func availability(
        on device: DeviceID,
        redelivery: RedeliveryRule = .afterLease,
        at now: Timestamp
    ) -> Availability {
        let state = state
        let isOpen = activityState == .open
        // Before what it may be waiting for: what has expired blocks nothing, even while its manager is away.
        if let expiry = operation.expiresAt, expiry <= now, !state.isHeldByDevice, !state.isFinal {
            return .ended(.expired)
        }
        switch state {
        case .completed, .failed, .timedOut, .expired, .cancelled, .superseded:
            return .ended(state)
        case .cancelRequested: return .ended(state)
        case .delivered:
            let leaseRuns = row?.until.map { $0 > now } ?? false
            if leaseRuns && redelivery == .afterLease { return .inHand(until: row?.until) }
            return isOpen ? .offered : .ended(state)
        case .inProgress:
            let stepRuns = row?.until.map { $0 > now } ?? true
            if stepRuns && !(redelivery == .now && isOpen) { return .inHand(until: row?.until) }
            return isOpen ? .offered : .ended(state)
        case .awaitingConfirmation: return .waiting(.awaitingConfirmation, until: nil)
        case .deferred:
            if let until = row?.until, until > now { return .waiting(.deferred, until: until) }
        case .pending, .confirmed:
            if let row, row.state == .pending, let until = row.until, until > now {
                return .waiting(.retry(row.retries), until: until)
            }
        }
        guard isOpen else { return .ended(state) }
        return gated(on: device, at: now) ?? .offered
    }

    /// What keeps work back that the device does not have.
    private func gated(on device: DeviceID, at now: Timestamp) -> Availability? {
        switch gate.hold {
        case .none: break
        case .awaitingApproval: return .invisible(.approval)
        case .paused: return .invisible(.paused)
        case .pausedByFailures: return .invisible(.pausedByFailures)
        }
        if gate.ceiling < RolloutPlan.everyone {
            let rank = operation.activity.rank(of: device)
            if rank >= gate.ceiling {
                return .invisible(.rollout(rank: rank, ceiling: gate.ceiling))
            }
        }
        switch dependencies.values.reduce(DependencyState.met, { $0.combined(with: $1) }) {
        case .met: break
        case .waits(let activity): return .invisible(.dependency(activity))
        case .failed(let activity): return .invisible(.failedDependency(activity))
        }
        if let start = operation.terms.notBefore, now < start {
            return .waiting(.notBefore, until: start)
        }
        if case .closed(let opens) = operation.terms.window?.state(at: now) {
            return .waiting(.windowClosed, until: opens)
        }
        return nil
    }
}

/// Whether work whose delivery lease still runs is handed out again.
public enum RedeliveryRule: String, Hashable, Sendable, Codable {
    /// A plain poll: only once the lease has ended.
    case afterLease
    /// The device lost it (it restarted) and asks for it at once.
    case now
}
