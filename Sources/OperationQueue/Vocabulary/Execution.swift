public import ClusterRole
public import DeviceRegistry

/// The state of one operation on one device.
public enum ExecutionState: UInt8, Hashable, Sendable, Codable, CaseIterable {
    /// Addressed; nothing happened yet, or it failed and is to be repeated. An execution without a row
    /// is pending.
    case pending = 0
    /// Handed out, for a delivery lease.
    case delivered = 1
    /// The device said that it works on it.
    case inProgress = 2
    /// The device answered NotNow; offered again at `until`.
    case deferred = 3
    /// The device asks its user.
    case awaitingConfirmation = 4
    /// The user agreed; offered again.
    case confirmed = 5
    case completed = 6
    case failed = 7
    case timedOut = 8
    case expired = 9
    /// Cancelled while the device had it; ends by the device's answer or the timeout.
    case cancelRequested = 10
    case cancelled = 11
    case superseded = 12

    /// Whether nothing changes it any more.
    public var isFinal: Bool {
        switch self {
        case .completed, .failed, .timedOut, .expired, .cancelled, .superseded: true
        case .pending, .delivered, .inProgress, .deferred, .awaitingConfirmation, .confirmed,
            .cancelRequested:
            false
        }
    }

    /// The name in JSON and logs.
    public var name: String { String(describing: self) }
}

/// Names one execution, whether or not it has a row.
///
/// Its text form (``description``) is what a device gets and sends back; it is opaque to it.
public struct ExecutionID: Hashable, Sendable, CustomStringConvertible {
    public let operation: OperationID
    public let incarnation: IncarnationID
    public let device: DeviceID

    public init(operation: OperationID, incarnation: IncarnationID, device: DeviceID) {
        self.operation = operation
        self.incarnation = incarnation
        self.device = device
    }

    /// `operation.incarnation.device`
    public var description: String { "\(operation).\(incarnation).\(device)" }

    /// Parses what ``description`` wrote.
    public init(parsing text: String) throws(ClusterRoleError) {
        let parts = text.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3 else {
            throw ClusterRoleError(
                .invalidIdentifier,
                "That is no execution id. Send back the one the exchange gave out."
            )
        }
        self.init(
            operation: try OperationID(parsing: String(parts[0])),
            incarnation: try IncarnationID(parsing: String(parts[1])),
            device: try DeviceID(validating: String(parts[2]))
        )
    }
}

/// The row of one execution. It exists once something happened on the device.
public struct Execution: Hashable, Sendable {
    public var id: ExecutionID
    public var state: ExecutionState
    /// Grows with each change of the row; begins at 1.
    public var version: Int32
    /// The newest handing-out; `nil` for an answer to work that was never handed out by a row.
    public var attempt: AttemptID?
    /// Delivered: the lease's end. Deferred, or pending after a failure: when it is offered again. In
    /// progress: the step's end. Cancel requested: when it counts as cancelled without an answer.
    public var until: Timestamp?
    /// How often it was handed out again after a lease ended.
    public var redeliveries: Int32
    /// How often it was repeated after a failure or timeout.
    public var retries: Int32
    /// How often the device has put it off.
    public var deferrals: Int32
    /// When this attempt was handed out first; `nil` while it waits to be.
    public var startedAt: Timestamp?
    /// When the user agreed, where the operation asks for that.
    public var confirmedAt: Timestamp?
    public var updatedAt: Timestamp
    /// The result's payload or the newest progress note, as the device sent it.
    public var detail: [UInt8]
    /// What the device sent after the server had closed the execution. Evidence; it changes nothing.
    public var lateAnswer: [UInt8]?

    public init(
        id: ExecutionID,
        state: ExecutionState,
        version: Int32 = 1,
        attempt: AttemptID? = nil,
        until: Timestamp? = nil,
        redeliveries: Int32 = 0,
        retries: Int32 = 0,
        deferrals: Int32 = 0,
        startedAt: Timestamp? = nil,
        confirmedAt: Timestamp? = nil,
        updatedAt: Timestamp,
        detail: [UInt8] = [],
        lateAnswer: [UInt8]? = nil
    ) {
        self.id = id
        self.state = state
        self.version = version
        self.attempt = attempt
        self.until = until
        self.redeliveries = redeliveries
        self.retries = retries
        self.deferrals = deferrals
        self.startedAt = startedAt
        self.confirmedAt = confirmedAt
        self.updatedAt = updatedAt
        self.detail = detail
        self.lateAnswer = lateAnswer
    }
}
