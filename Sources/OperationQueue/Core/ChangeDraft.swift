package import ClusterRole
internal import DeviceRegistry

/// What one guarded write will log: the keys it changed and the transitions it made.
///
/// A driver fills it while it writes; the revision, its keys and its transitions are then committed
/// together. Keys are kept once each, transitions in the order in which they were made.
package struct ChangeDraft: Sendable {
    /// The keys, each once, in the order in which they came.
    package private(set) var keys: [ChangeKey] = []
    /// The transitions, in order.
    package private(set) var transitions: [OperationTransition] = []
    /// The same keys, from the time on when there are too many to look at each.
    private var known: Set<ChangeKey> = []
    private static let listedKeys = 8
    private let time: Timestamp?

    /// - Parameter time: when the write is made, by the writer's clock; `nil` takes the newest time among
    ///   the transitions.
    package init(at time: Timestamp? = nil) { self.time = time }

    /// Whether nothing that takes a revision has been logged.
    package var isEmpty: Bool { keys.isEmpty }

    /// The transitions as the log keeps them; `nil` if there are none.
    package var note: ChangeNote? {
        guard !transitions.isEmpty else { return nil }
        let newest = transitions.map(\.at).max() ?? .distantPast
        return TransitionCoding.encode(transitions, at: time ?? newest)
    }

    /// Logs a key. A repeated key is logged once.
    package mutating func log(_ key: ChangeKey) {
        if keys.count < Self.listedKeys {
            if !keys.contains(key) { keys.append(key) }
            return
        }
        if known.isEmpty { known = Set(keys) }
        if known.insert(key).inserted { keys.append(key) }
    }

    /// Logs that an activity was opened (`from` is `nil`) or moved to the state it has now, and its key.
    package mutating func log(_ activity: Activity, from: ActivityState?, at time: Timestamp) {
        log(.activity(tenant: activity.tenant, number: activity.operation.number))
        transitions.append(
            OperationTransition(
                of: activity,
                at: time,
                change: .activity(from: from, to: activity.state)
            )
        )
    }

    /// Logs that the row of an execution became this one, and its key.
    ///
    /// - Parameters:
    ///   - row: the row as it is stored now.
    ///   - from: the state of the row before; `nil` if there was none.
    ///   - activity: the activity it belongs to.
    package mutating func log(
        _ row: Execution,
        from: ExecutionState?,
        of activity: Activity
    ) {
        let device = row.id.device
        log(
            .execution(
                tenant: activity.tenant,
                number: activity.operation.number,
                device: device.rawValue
            )
        )
        transitions.append(
            OperationTransition(
                of: activity,
                at: row.updatedAt,
                change: .execution(
                    device: device,
                    from: from,
                    to: row.state,
                    version: row.version
                )
            )
        )
    }
}

/// A transition before it has its place in the log: an ``OperationEvent`` without a position.
package struct OperationTransition: Hashable, Sendable {
    package var tenant: TenantID
    package var activity: ActivityID
    package var number: Int64
    package var code: OperationCode
    package var at: Timestamp
    package var change: OperationEvent.Change

    package init(of activity: Activity, at: Timestamp, change: OperationEvent.Change) {
        self.init(
            tenant: activity.tenant,
            activity: activity.id,
            number: activity.operation.number,
            code: activity.operation.code,
            at: at,
            change: change
        )
    }

    package init(
        tenant: TenantID,
        activity: ActivityID,
        number: Int64,
        code: OperationCode,
        at: Timestamp,
        change: OperationEvent.Change
    ) {
        self.tenant = tenant
        self.activity = activity
        self.number = number
        self.code = code
        self.at = at
        self.change = change
    }

    package func event(at position: EventPosition) -> OperationEvent {
        OperationEvent(
            position: position,
            tenant: tenant,
            activity: activity,
            number: number,
            code: code,
            at: at,
            change: change
        )
    }
}
