public import ClusterRole
public import DeviceRegistry

/// All executions of one request.
public struct ActivityID: RandomIdentifier {
    private let stored: IdentifierBits
    public init(bits: UInt128) { stored = IdentifierBits(bits) }
    public var bits: UInt128 { stored.value }
}

/// One operation: what is asked.
public struct OperationID: RandomIdentifier {
    private let stored: IdentifierBits
    public init(bits: UInt128) { stored = IdentifierBits(bits) }
    public var bits: UInt128 { stored.value }
}

/// One handing-out of an operation to a device.
public struct AttemptID: RandomIdentifier {
    private let stored: IdentifierBits
    public init(bits: UInt128) { stored = IdentifierBits(bits) }
    public var bits: UInt128 { stored.value }
}

/// What a device is asked to do, by name: `lock`, `install`, `device-information`.
public struct OperationCode: NameIdentifier {
    public static let noun = "operation code"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }

    /// Asks the device to report its information (`InformationKind`).
    public static let deviceInformation = OperationCode(rawValue: "device-information")
}

/// The kind of an operation.
public enum OperationType: String, Hashable, Sendable, Codable, CaseIterable {
    /// Do something now.
    case command
    /// Take these settings.
    case config
    /// Install this profile.
    case profile
    /// Comply with this policy.
    case policy
    /// Bytes the library does not interpret.
    case opaque
}

/// What is asked of a device. It does not change once enqueued.
public struct DeviceOperation: Hashable, Sendable {
    public var id: OperationID
    public var activity: ActivityID
    /// Given when it commits; it grows. Order means (priority descending, number).
    public var number: Int64
    public var code: OperationCode
    public var type: OperationType
    /// What the device gets, as the enqueuer gave it.
    public var payload: [UInt8]
    /// Higher is offered first; 0 unless said.
    public var priority: Int32
    /// Whether open work of any state ahead of it blocks it.
    public var order: OrderRule
    /// After this nothing is handed out any more; the activity closes as expired.
    public var expiresAt: Timestamp?
    /// How long a handed-out operation is withheld from plain polls.
    public var deliveryLease: Duration
    public var createdAt: Timestamp

    public init(
        id: OperationID,
        activity: ActivityID,
        number: Int64,
        code: OperationCode,
        type: OperationType = .command,
        payload: [UInt8] = [],
        priority: Int32 = 0,
        order: OrderRule = .skipsWaiting,
        expiresAt: Timestamp? = nil,
        deliveryLease: Duration = .seconds(60),
        createdAt: Timestamp
    ) {
        self.id = id
        self.activity = activity
        self.number = number
        self.code = code
        self.type = type
        self.payload = payload
        self.priority = priority
        self.order = order
        self.expiresAt = expiresAt
        self.deliveryLease = deliveryLease
        self.createdAt = createdAt
    }

    /// Whether `self` is offered before `other`.
    public func precedes(_ other: DeviceOperation) -> Bool {
        priority != other.priority ? priority > other.priority : number < other.number
    }
}

/// Whether work ahead that only waits (deferred, awaiting confirmation) is passed by.
public enum OrderRule: UInt8, Hashable, Sendable, Codable {
    /// Waiting work ahead is passed by; delivered and running work blocks.
    case skipsWaiting = 0
    /// While this operation waits, nothing behind it is offered.
    case strict = 1
}

/// Whom an operation addresses.
public enum OperationTarget: Hashable, Sendable {
    /// Devices by name, as enrolled at commit. Unknown and removed ones are counted, not addressed.
    case devices([DeviceID])
    /// The members of a group at the operation's own revision. One row, whatever the group's size.
    case group(GroupID)

    /// The group, if it is one.
    public var group: GroupID? {
        if case .group(let group) = self { group } else { nil }
    }
}

/// The state of one activity.
public enum ActivityState: UInt8, Hashable, Sendable, Codable, CaseIterable {
    case open = 0
    /// Every addressed execution has a final state of its own.
    case finished = 1
    /// Closed as a whole; unclaimed executions have that state.
    case cancelled = 2
    case expired = 3
    case superseded = 4

    /// The state of an execution whose row, if it has one, says `row`.
    ///
    /// Closing an activity as a whole writes one row; what that means for each execution follows
    /// here. Work a device has in hand goes on: to its result, or, when cancelled, to the device's
    /// answer. Everything else ends with the activity.
    public func effective(_ row: ExecutionState?) -> ExecutionState {
        if let row, row.isFinal { return row }
        let isHeld = row?.isHeldByDevice ?? false
        switch self {
        case .open, .finished: return row ?? .pending
        case .cancelled: return isHeld ? .cancelRequested : .cancelled
        case .expired: return isHeld ? row ?? .expired : .expired
        case .superseded: return isHeld ? row ?? .superseded : .superseded
        }
    }
}

/// One request and how it stands.
public struct Activity: Hashable, Sendable {
    public var id: ActivityID { operation.activity }
    public var tenant: TenantID
    public var operation: DeviceOperation
    /// The group addressed; `nil` when devices were named.
    public var group: GroupID?
    public var initiator: String
    public var state: ActivityState
    public var closedAt: Timestamp?
    /// How many devices are addressed, frozen at commit.
    public var addressed: Int
    /// Executions that have a row, by the row's state.
    public var rowCounts: StateCounts
    /// Answers that came after the server had closed their execution.
    public var answeredLate: Int

    public init(
        tenant: TenantID,
        operation: DeviceOperation,
        group: GroupID?,
        initiator: String,
        state: ActivityState = .open,
        closedAt: Timestamp? = nil,
        addressed: Int,
        rowCounts: StateCounts = StateCounts(),
        answeredLate: Int = 0
    ) {
        self.tenant = tenant
        self.operation = operation
        self.group = group
        self.initiator = initiator
        self.state = state
        self.closedAt = closedAt
        self.addressed = addressed
        self.rowCounts = rowCounts
        self.answeredLate = answeredLate
    }

    /// Executions by their present state, with and without a row of their own.
    public var counts: StateCounts {
        var result = StateCounts()
        for rowState in ExecutionState.allCases where rowCounts[rowState] != 0 {
            result[state.effective(rowState)] += rowCounts[rowState]
        }
        result[state.effective(nil)] += addressed - rowCounts.total
        return result
    }

    /// Whether every addressed execution has a final row: the activity then closes as finished.
    public var isFullyAnswered: Bool { addressed == rowCounts.totalFinal }

    /// Whether replicas must hold it: it is open, or a device still has work of it in hand.
    public var isLive: Bool {
        state == .open
            || ExecutionState.allCases.contains { $0.isHeldByDevice && rowCounts[$0] > 0 }
    }

    /// Moves one execution's row from one state to another (`nil`: it had no row) and finishes the
    /// activity when that was the last.
    public mutating func recount(
        from old: ExecutionState?,
        to new: ExecutionState,
        at now: Timestamp
    ) {
        if let old { rowCounts[old] -= 1 }
        rowCounts[new] += 1
        if state == .open && isFullyAnswered {
            state = .finished
            closedAt = now
        }
    }
}

/// One counter a state.
public struct StateCounts: Hashable, Sendable {
    private var values: [Int]

    public init() { values = Array(repeating: 0, count: ExecutionState.allCases.count) }

    public subscript(state: ExecutionState) -> Int {
        get { values[Int(state.rawValue)] }
        set { values[Int(state.rawValue)] = newValue }
    }

    public var total: Int { values.reduce(0, +) }
    public var totalFinal: Int {
        ExecutionState.allCases.reduce(0) { $1.isFinal ? $0 + self[$1] : $0 }
    }
}
