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
            in: items[index].activityState
        )
        items[index].row = change.after
        return change
    }

    /// Chooses what to hand out now.
    ///
    /// A batch is a prefix in order. Work the device has in hand blocks what is behind it; work that
    /// waits is passed by unless it is strict.
    ///
    /// - Parameters:
    ///   - limit: the most operations.
    ///   - redelivery: whether work whose lease still runs is handed out again.
    ///   - now: the present time: leases and waits are compared with it.
    public func batch(
        limit: Int,
        redelivery: RedeliveryRule,
        at now: Timestamp
    ) -> [OpenItem] {
        var chosen: [OpenItem] = []
        for item in items {
            if chosen.count >= limit { break }
            if item.operation.expiresAt.map({ $0 <= now }) ?? false, !item.state.isHeldByDevice {
                continue
            }
            switch item.state {
            case .pending, .confirmed:
                if item.activityState == .open { chosen.append(item) }
            case .delivered:
                let leaseRuns = item.row?.until.map { $0 > now } ?? false
                if leaseRuns && redelivery == .afterLease { return chosen }
                if item.activityState == .open { chosen.append(item) }
            case .inProgress:
                let stepRuns = item.row?.until.map { $0 > now } ?? true
                if redelivery == .now && item.activityState == .open {
                    chosen.append(item)
                } else if stepRuns {
                    return chosen
                } else if item.activityState == .open {
                    chosen.append(item)
                }
            case .deferred:
                let waits = item.row?.until.map { $0 > now } ?? false
                if !waits && item.activityState == .open {
                    chosen.append(item)
                } else if item.operation.order == .strict {
                    return chosen
                }
            case .awaitingConfirmation:
                if item.operation.order == .strict { return chosen }
            case .cancelRequested, .completed, .failed, .timedOut, .expired, .cancelled,
                .superseded:
                continue
            }
        }
        return chosen
    }

    /// Executions the device has in hand and must end because they were cancelled.
    public var cancellations: [ExecutionID] {
        items.filter { $0.state == .cancelRequested }.map { $0.executionID(on: device) }
    }

    /// The earliest time after `now` at which waiting or leased work is offered again, if any.
    public func nextOffer(after now: Timestamp) -> Timestamp? {
        items.compactMap { item -> Timestamp? in
            switch item.state {
            case .deferred, .delivered: item.row?.until.flatMap { $0 > now ? $0 : nil }
            default: nil
            }
        }.min()
    }

    /// Whether anything remains to be done by this device.
    public var isEmpty: Bool { items.allSatisfy { $0.state.isFinal } }
}

/// One open operation of a device.
public struct OpenItem: Hashable, Sendable {
    public var operation: DeviceOperation
    public var activityState: ActivityState
    public var row: Execution?

    public init(operation: DeviceOperation, activityState: ActivityState, row: Execution?) {
        self.operation = operation
        self.activityState = activityState
        self.row = row
    }

    public var state: ExecutionState { activityState.effective(row?.state) }

    public func executionID(on device: DeviceRow) -> ExecutionID {
        ExecutionID(operation: operation.id, incarnation: device.incarnation, device: device.id)
    }
}

/// Whether work whose delivery lease still runs is handed out again.
public enum RedeliveryRule: String, Hashable, Sendable, Codable {
    /// A plain poll: only once the lease has ended.
    case afterLease
    /// The device lost it (it restarted) and asks for it at once.
    case now
}
