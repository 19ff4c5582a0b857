public import ClusterRole
public import DeviceRegistry

/// One fact a worker accepted from a device.
///
/// It carries every value that was computed when it was accepted (times, leases, attempt ids), so
/// that applying it later, anywhere, gives the same rows.
public struct InboxEntry: Hashable, Sendable {
    public var identity: DeviceIdentity
    /// When the worker received it.
    public var receivedAt: Timestamp
    public var body: Body

    public init(identity: DeviceIdentity, receivedAt: Timestamp, body: Body) {
        self.identity = identity
        self.receivedAt = receivedAt
        self.body = body
    }

    /// What happened.
    public enum Body: Hashable, Sendable {
        /// The device was heard. `answeredAt` is the revision number its answer was true of: a wake at
        /// or below it has done its work.
        case contact(answeredAt: Revision?)
        /// The device's newest push registration, or `nil` if it gave it up.
        case registration(PushRegistration?)
        /// Handed out in an answer, until the lease ends.
        case claim(OperationID, attempt: AttemptID, leaseEnd: Timestamp)
        /// The device works on it; `stepEnd` replaces the lease.
        case progress(OperationID, attempt: AttemptID?, detail: [UInt8], stepEnd: Timestamp)
        /// An answer.
        case result(OperationID, attempt: AttemptID?, outcome: ResultOutcome, detail: [UInt8])
        /// Ended before it was handed out, because another operation is done in its place: decided when
        /// the device's work was read.
        case superseded(OperationID)
        /// A piece of a result that is too large for an exchange; the result itself follows the last.
        case resultChunk(OperationID, chunk: ResultChunk)
        /// Something the device says about itself.
        case information(InformationKind, body: [UInt8])
    }

    /// The operation it is about, if it is about one.
    public var operation: OperationID? {
        switch body {
        case .contact, .registration, .information: nil
        case .claim(let id, _, _), .progress(let id, _, _, _), .result(let id, _, _, _),
            .superseded(let id), .resultChunk(let id, _):
            id
        }
    }

    /// Whether it changes the row of an execution: what a worker lays over its replica.
    public var changesExecution: Bool {
        switch body {
        case .claim, .progress, .result, .superseded: true
        case .contact, .registration, .information, .resultChunk: false
        }
    }
}

/// What a device answers to an operation.
public enum ResultOutcome: Hashable, Sendable {
    case completed
    case failed
    /// Failed, with the device's error code: at most ``ExchangeLimits/errorCodeBytes``, for retry
    /// policies and for whoever looks.
    case failedBecause(String)
    /// Ask again at `until`.
    case notNow(until: Timestamp)
    /// The device waits for its user.
    case awaitingConfirmation
    /// The user agreed.
    case confirmed
    /// The device ended it because it was asked to cancel.
    case cancelled
}

/// How far a worker's spool has been applied.
public struct SpoolMark: Hashable, Sendable {
    public var node: NodeID
    /// The life of the spool file; numbers begin anew with another.
    public var incarnation: IncarnationID
    /// Entries up to this number are applied or rejected.
    public var number: Int64

    public init(node: NodeID, incarnation: IncarnationID, number: Int64) {
        self.node = node
        self.incarnation = incarnation
        self.number = number
    }
}

/// An entry with its place in a spool.
public struct SpooledEntry: Hashable, Sendable {
    public var number: Int64
    public var entry: InboxEntry

    public init(number: Int64, entry: InboxEntry) {
        self.number = number
        self.entry = entry
    }
}
