public import ClusterRole
public import DeviceRegistry

/// Names a periodic task. Unique in its tenant.
public struct PeriodicTaskID: NameIdentifier {
    public static let noun = "task name"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}

/// An operation enqueued to a group again and again: the background task that asks every device for
/// its information, for one.
public struct PeriodicTask: Hashable, Sendable {
    public var id: PeriodicTaskID
    public var group: GroupID
    public var code: OperationCode
    public var payload: [UInt8]
    /// The time from one due time to the next; at least ``minimumFrequency``.
    public var frequency: Duration
    /// When it is due next. It survives restarts.
    public var due: Timestamp

    /// More often than this, a fleet does nothing else.
    public static let minimumFrequency = Duration.seconds(1)

    public init(
        id: PeriodicTaskID,
        group: GroupID = .everyone,
        code: OperationCode = .deviceInformation,
        payload: [UInt8] = [],
        frequency: Duration,
        due: Timestamp
    ) {
        self.id = id
        self.group = group
        self.code = code
        self.payload = payload
        self.frequency = frequency
        self.due = due
    }
}
