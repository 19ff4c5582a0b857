public import ClusterRole
public import DeviceRegistry

/// Which activities are wanted. Every condition that is set must hold.
public struct ActivityFilter: Hashable, Sendable {
    /// Empty for all. One code is found by an index; several are sifted.
    public var codes: Set<OperationCode>
    /// Empty for all.
    public var types: Set<OperationType>
    /// Empty for all.
    public var states: Set<ActivityState>
    /// Who enqueued it.
    public var initiator: String?
    /// The group addressed.
    public var group: GroupID?
    /// Enqueued at this time or later.
    public var createdFrom: Timestamp?
    /// Enqueued before this time.
    public var createdBefore: Timestamp?
    /// Enqueued with this key: one activity at most.
    public var idempotencyKey: String?

    /// Every activity, unless said otherwise.
    public init(
        codes: Set<OperationCode> = [],
        types: Set<OperationType> = [],
        states: Set<ActivityState> = [],
        initiator: String? = nil,
        group: GroupID? = nil
    ) {
        self.codes = codes
        self.types = types
        self.states = states
        self.initiator = initiator
        self.group = group
    }

    /// Every activity.
    public static let everything = ActivityFilter()

    /// Whether what does not change once enqueued is as wanted; ``idempotencyKey``, which an activity does
    /// not show, is the driver's to look up.
    package func matches(
        _ operation: DeviceOperation,
        group: GroupID?,
        initiator: String
    ) -> Bool {
        if !codes.isEmpty && !codes.contains(operation.code) { return false }
        if !types.isEmpty && !types.contains(operation.type) { return false }
        if let wanted = self.initiator, wanted != initiator { return false }
        if let wanted = self.group, wanted != group { return false }
        if let createdFrom, operation.createdAt < createdFrom { return false }
        if let createdBefore, operation.createdAt >= createdBefore { return false }
        return true
    }

    /// Whether the state is as wanted.
    package func matches(_ state: ActivityState) -> Bool {
        states.isEmpty || states.contains(state)
    }
}

/// How many operations one call of a query looks at, at most. A page may therefore hold fewer rows than its
/// limit, or none, and still name the next one.
public let maximumOperationsExamined = 2_000

/// How many executions of one activity one filtered call looks at, at most.
public let maximumExecutionsExamined = 5_000

/// One operation on one device, as a list of a device's work shows it.
public struct DeviceExecution: Hashable, Sendable {
    /// Without its payload.
    public var operation: DeviceOperation
    /// The group addressed; `nil` when devices were named.
    public var group: GroupID?
    /// The row, or, where nothing has happened yet, a virtual one of version 0; in the state the execution
    /// is in.
    public var execution: Execution

    public init(operation: DeviceOperation, group: GroupID?, execution: Execution) {
        self.operation = operation
        self.group = group
        self.execution = execution
        self.operation.payload = []
    }
}

/// A page of a device's executions.
public struct DeviceExecutionPage: Hashable, Sendable {
    public var executions: [DeviceExecution]
    /// Pass it as `before` for the next page; `nil` on the last one. A page may hold fewer rows than its
    /// limit and still name the next.
    public var next: Int64?

    public init(executions: [DeviceExecution], next: Int64?) {
        self.executions = executions
        self.next = next
    }
}
