public import ClusterRole
public import DeviceRegistry

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
    /// How many devices are addressed: frozen at commit, or, for a group with joiners, when it closes;
    /// until then the members, and those who left after something had happened on them.
    public var addressed: Int
    /// Executions that have a row, by the row's state.
    public var rowCounts: StateCounts
    /// Answers that came after the server had closed their execution.
    public var answeredLate: Int
    /// To whom it may be handed out now.
    public var gate: OfferGate
    public var rollout: RolloutProgress
    /// Who approved, rejected, paused or resumed it last; empty if nobody did.
    public var decidedBy: String
    /// How many live activities wait for this one.
    public var dependents: Int

    public init(
        tenant: TenantID,
        operation: DeviceOperation,
        group: GroupID?,
        initiator: String,
        state: ActivityState = .open,
        closedAt: Timestamp? = nil,
        addressed: Int,
        rowCounts: StateCounts = StateCounts(),
        answeredLate: Int = 0,
        gate: OfferGate = OfferGate(),
        rollout: RolloutProgress = RolloutProgress(),
        decidedBy: String = "",
        dependents: Int = 0
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
        self.gate = gate
        self.rollout = rollout
        self.decidedBy = decidedBy
        self.dependents = dependents
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

    /// Whether every addressed execution has a final row: the activity then closes as finished. One
    /// that waits for joiners never is.
    public var isFullyAnswered: Bool {
        addressed == rowCounts.totalFinal && !operation.terms.scope.isStanding
    }

    /// Whether replicas must hold it: it is open, a device still has work of it in hand, or another live
    /// one waits for it.
    public var isLive: Bool {
        state == .open || dependents > 0 || rowCounts.hasAny(of: StateCounts.heldStates)
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
    public var totalFinal: Int { Self.finalStates.reduce(0) { $0 + self[$1] } }

    func hasAny(of states: [ExecutionState]) -> Bool { states.contains { self[$0] > 0 } }

    // Each answer of a device asks for them.
    private static let finalStates = ExecutionState.allCases.filter(\.isFinal)
    static let heldStates = ExecutionState.allCases.filter(\.isHeldByDevice)
}
