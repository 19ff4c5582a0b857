public import ClusterRole

/// One slot of one cluster task.
public struct TaskSlotID: Hashable, Sendable, Comparable, CustomStringConvertible {
    public var task: ClusterTaskName
    /// From 0.
    public var number: Int

    public init(task: ClusterTaskName, number: Int) {
        self.task = task
        self.number = number
    }

    public var description: String { "\(task)/\(number)" }

    public static func < (left: TaskSlotID, right: TaskSlotID) -> Bool {
        (left.task, left.number) < (right.task, right.number)
    }
}

/// A slot as the store has it.
public struct TaskSlot: Hashable, Sendable {
    public var id: TaskSlotID
    /// Who holds its lease; `nil` while it is free, or its lease has run out.
    public var holder: NodeID?
    /// Grows with each holder: the fencing token of this slot.
    public var epoch: Epoch
    /// How long the lease lasted when the store answered.
    public var remaining: Duration
    /// `nil` before the first holder wrote it.
    public var progress: TaskProgress?

    public init(
        id: TaskSlotID,
        holder: NodeID?,
        epoch: Epoch,
        remaining: Duration,
        progress: TaskProgress?
    ) {
        self.id = id
        self.holder = holder
        self.epoch = epoch
        self.remaining = remaining
        self.progress = progress
    }
}

/// A lease of a slot, as its holder names it.
public struct TaskSlotClaim: Hashable, Sendable {
    public var slot: TaskSlotID
    public var holder: NodeID
    public var epoch: Epoch

    public init(slot: TaskSlotID, holder: NodeID, epoch: Epoch) {
        self.slot = slot
        self.holder = holder
        self.epoch = epoch
    }
}

/// How far a slot is. It is written as a whole, by the slot's holder only.
public struct TaskProgress: Hashable, Sendable {
    /// The next due time.
    public var next: Timestamp
    /// The task's frequency when ``next`` was computed; another one moves it.
    public var frequency: Duration
    /// The run that was begun and has not ended: its due time is behind ``next`` already.
    public var running: Begun?
    /// The due time of the newest run that has ended.
    public var last: Timestamp?

    /// A run that was begun.
    public struct Begun: Hashable, Sendable {
        public var due: Timestamp
        /// From 1; it grows when a run is begun again because its node was lost.
        public var attempt: Int
        /// Due times before this one that nobody runs any more.
        public var skipped: Int

        public init(due: Timestamp, attempt: Int = 1, skipped: Int = 0) {
            self.due = due
            self.attempt = attempt
            self.skipped = skipped
        }
    }

    public init(
        next: Timestamp,
        frequency: Duration,
        running: Begun? = nil,
        last: Timestamp? = nil
    ) {
        self.next = next
        self.frequency = frequency
        self.running = running
        self.last = last
    }
}

/// One run of one slot, as the task's body gets it.
public struct TaskRun: Hashable, Sendable {
    public var slot: TaskSlotID
    /// How many slots the task has: the body does part `slot.number` of so many.
    public var slots: Int
    /// The due time it is for.
    public var due: Timestamp
    /// From 1; more when a node was lost in the middle of it.
    public var attempt: Int
    /// Due times before this one that are not run; see ``MissedRunPolicy``.
    public var skipped: Int
    /// The slot's fencing token: what the body writes elsewhere may refuse lower ones.
    public var epoch: Epoch

    public init(
        slot: TaskSlotID,
        slots: Int,
        due: Timestamp,
        attempt: Int = 1,
        skipped: Int = 0,
        epoch: Epoch
    ) {
        self.slot = slot
        self.slots = slots
        self.due = due
        self.attempt = attempt
        self.skipped = skipped
        self.epoch = epoch
    }

    /// The same for every attempt at this due time, and for no other run: an idempotency key.
    public var key: String { "\(slot.task)/\(slot.number)/\(due.milliseconds)" }

    /// The part of `0..<count` that is this slot's; the parts of all slots are disjoint and cover it.
    public func share(of count: Int) -> Range<Int> {
        let parts = max(1, slots)
        return count * slot.number / parts..<count * (slot.number + 1) / parts
    }
}
