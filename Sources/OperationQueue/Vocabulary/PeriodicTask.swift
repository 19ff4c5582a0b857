public import ClusterRole
public import DeviceRegistry

/// Names a periodic task. Unique in its tenant.
public struct PeriodicTaskID: NameIdentifier {
    public static let noun = "task name"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}

/// An operation asked of each device of a group again and again: the background task that asks every
/// device for its information, for one.
///
/// Each device has a due time of its own. The first ones are spread evenly over one period, by a
/// stable hash of task and device, so that a fleet never answers at once. A device that has reported
/// what the task asks for (``satisfiedBy``) is not asked until that is no longer fresh.
public struct PeriodicTask: Hashable, Sendable {
    public var id: PeriodicTaskID
    /// Its present members are asked; who joins is asked from then on, who leaves no more.
    public var group: GroupID
    public var code: OperationCode
    public var payload: [UInt8]
    /// The time from one due time of a device to its next; at least ``minimumFrequency``.
    public var frequency: Duration
    /// The information the task is about: each report of it moves the device's due time away.
    /// `nil`: a device is asked whatever it reports.
    public var satisfiedBy: InformationKind?
    /// How long such a report satisfies the task; `nil`: as long as ``frequency``.
    public var freshness: Duration?
    /// The beginning of the first period. Due times of devices are counted from it.
    public var begins: Timestamp

    /// More often than this, a fleet does nothing else.
    public static let minimumFrequency = Duration.seconds(1)
    /// More tasks than this in one tenant would cost more to look at than devices to ask.
    public static let maximumCount = 1_000

    public init(
        id: PeriodicTaskID,
        group: GroupID = .everyone,
        code: OperationCode = .deviceInformation,
        payload: [UInt8] = [],
        frequency: Duration,
        satisfiedBy: InformationKind? = nil,
        freshness: Duration? = nil,
        begins: Timestamp
    ) {
        self.id = id
        self.group = group
        self.code = code
        self.payload = payload
        self.frequency = frequency
        self.satisfiedBy = satisfiedBy
        self.freshness = freshness
        self.begins = begins
    }
}

/// When a task is due for one device.
public struct TaskDueTime: Hashable, Sendable {
    public var task: PeriodicTaskID
    public var due: Timestamp

    public init(task: PeriodicTaskID, due: Timestamp) {
        self.task = task
        self.due = due
    }
}

/// Devices of one task that were due together: they are asked by one operation.
///
/// A step is stored when it is claimed, in the transaction that moves its devices to their next due
/// times, and forgotten when it is finished. In between it is given out again, unchanged.
public struct TaskStep: Hashable, Sendable {
    public var tenant: TenantID
    public var task: PeriodicTask
    /// Numbers the definitions of tasks in a store; no two share one, not even of one name.
    public var series: Int64
    /// Numbers the steps of a series.
    public var number: Int64
    /// In order of id, each once.
    public var devices: [DeviceID]

    public init(
        tenant: TenantID,
        task: PeriodicTask,
        series: Int64,
        number: Int64,
        devices: [DeviceID]
    ) {
        self.tenant = tenant
        self.task = task
        self.series = series
        self.number = number
        self.devices = devices
    }

    /// The idempotency key of its operation: a step that was enqueued before a crash is recognised by
    /// it afterwards.
    public var idempotencyKey: String { "task/\(task.id)/\(series).\(number)" }
}

/// Which devices' tasks a runner looks after: those whose slot lies in a range.
///
/// A device's slot is a stable hash of tenant and id, the same on every node and for ever. One manager
/// takes them ``all``; several divide the range between them.
public struct TaskPartition: Hashable, Sendable {
    /// How many slots there are. It is part of what stores keep: it never changes.
    public static let slotCount: Int32 = 64
    public static let all = TaskPartition(slots: 0..<slotCount)

    public let slots: Range<Int32>

    /// - Parameter slots: held within `0..<slotCount`.
    public init(slots: Range<Int32>) { self.slots = slots.clamped(to: 0..<Self.slotCount) }

    /// The part that falls to one of `count` runners, numbered from 0. The parts are disjoint, cover
    /// ``all``, and are as equal as the slots allow.
    public init(part number: Int, of count: Int) {
        let count = Int32(clamping: max(1, count))
        let number = min(max(0, Int32(clamping: number)), count - 1)
        let size = Int64(Self.slotCount)
        let begin = Int32(size * Int64(number) / Int64(count))
        self.init(slots: begin..<Int32(size * Int64(number + 1) / Int64(count)))
    }

    /// The slot of a device.
    public static func slot(of device: DeviceID, tenant: TenantID) -> Int32 {
        Int32(stableHash(tenant.rawValue, device.rawValue) % UInt64(slotCount))
    }
}
