internal import ClusterRole
internal import DeviceRegistry

/// What the in-memory driver of periodic tasks keeps.
struct InMemoryTaskState: Sendable {
    /// One definition of a task.
    struct Series: Sendable {
        var number: Int64
        var tenant: TenantID
        var task: PeriodicTask
        /// The last member that was given a due time because it was there before the task.
        var cursor: DeviceID?
        var isSpread = false
        var steps: Int64 = 0
        var due: [DeviceID: Timestamp] = [:]
    }

    private struct Name: Hashable, Sendable {
        var tenant: TenantID
        var task: PeriodicTaskID
    }

    private struct StepKey: Hashable, Comparable, Sendable {
        var series: Int64
        var number: Int64

        static func < (left: StepKey, right: StepKey) -> Bool {
            (left.series, left.number) < (right.series, right.number)
        }
    }

    private(set) var order = InMemoryDueOrder()
    private var all: [Int64: Series] = [:]
    private var byName: [Name: Int64] = [:]
    private var steps: [StepKey: TaskStep] = [:]
    private var newest: Int64 = 0

    // MARK: Definitions

    mutating func put(_ task: PeriodicTask, tenant: TenantID) {
        let name = Name(tenant: tenant, task: task.id)
        if let number = byName[name], let known = all[number], known.task.keepsTime(with: task) {
            var task = task
            task.begins = known.task.begins
            all[number]?.task = task
            return
        }
        remove(task.id, tenant: tenant)
        newest += 1
        all[newest] = Series(number: newest, tenant: tenant, task: task)
        byName[name] = newest
    }

    mutating func remove(_ task: PeriodicTaskID, tenant: TenantID) {
        guard let number = byName.removeValue(forKey: Name(tenant: tenant, task: task)),
            let series = all.removeValue(forKey: number)
        else { return }
        for (device, due) in series.due {
            order.remove(InMemoryDueOrder.Key(series, device, due: due))
        }
        steps = steps.filter { $0.key.series != number }
    }

    func tasks(tenant: TenantID) -> [PeriodicTask] {
        byName.filter { $0.key.tenant == tenant }.compactMap { all[$0.value]?.task }
            .sorted { $0.id < $1.id }
    }

    func dueTimes(of device: DeviceID, tenant: TenantID) -> [TaskDueTime] {
        byName.filter { $0.key.tenant == tenant }.compactMap { name, number in
            all[number]?.due[device].map { TaskDueTime(task: name.task, due: $0) }
        }
        .sorted { $0.task < $1.task }
    }

    // MARK: Devices

    /// The oldest series that has not come to all members yet.
    var spreading: Series? {
        all.values.filter { !$0.isSpread }.min { $0.number < $1.number }
    }

    func series(of group: GroupID, tenant: TenantID) -> [Int64] {
        all.values.filter { $0.tenant == tenant && $0.task.group == group }.map(\.number).sorted()
    }

    /// Gives a device its first due time, unless it has one.
    mutating func add(
        _ device: DeviceID,
        to number: Int64,
        at now: Timestamp,
        received: (InformationKind) -> Timestamp?
    ) {
        guard let series = all[number], series.due[device] == nil else { return }
        let report = series.task.satisfiedBy.flatMap(received)
        let due = series.task.firstDue(of: device, at: now, lastReport: report)
        set(device, of: series, to: due)
    }

    mutating func remove(_ device: DeviceID, from number: Int64) {
        guard let series = all[number] else { return }
        set(device, of: series, to: nil)
    }

    mutating func note(_ information: DeviceInformation, of device: DeviceID, tenant: TenantID) {
        for series in all.values
        where series.tenant == tenant && series.task.satisfiedBy == information.kind {
            guard let due = series.due[device] else { continue }
            let later = series.task.due(due, afterReportAt: information.receivedAt)
            if later != due { set(device, of: series, to: later) }
        }
    }

    private mutating func set(_ device: DeviceID, of series: Series, to due: Timestamp?) {
        if let known = series.due[device] {
            order.remove(InMemoryDueOrder.Key(series, device, due: known))
        }
        if let due { order.insert(InMemoryDueOrder.Key(series, device, due: due)) }
        all[series.number]?.due[device] = due
    }

    mutating func note(cursor: DeviceID?, isLastPage: Bool, of number: Int64) {
        if let cursor { all[number]?.cursor = cursor }
        if isLastPage { all[number]?.isSpread = true }
    }

    // MARK: Steps

    mutating func claim(limit: Int, in partition: TaskPartition, at now: Timestamp) -> [TaskStep] {
        let claimed = steps.keys.sorted().compactMap { steps[$0] }.filter { step in
            step.devices.first.map {
                partition.slots.contains(TaskPartition.slot(of: $0, tenant: step.tenant))
            } ?? false
        }
        guard claimed.isEmpty else { return claimed }
        var devices: [Int64: [DeviceID]] = [:]
        for key in order.due(at: now, slots: partition.slots, limit: max(0, limit)) {
            guard let series = all[key.series] else { continue }
            set(key.device, of: series, to: series.task.nextDue(after: key.due, at: now))
            devices[key.series, default: []].append(key.device)
        }
        return devices.keys.sorted().compactMap { number in
            guard var series = all[number] else { return nil }
            series.steps += 1
            all[number]?.steps = series.steps
            let step = TaskStep(
                tenant: series.tenant,
                task: series.task,
                series: number,
                number: series.steps,
                devices: (devices[number] ?? []).sorted()
            )
            steps[StepKey(series: number, number: series.steps)] = step
            return step
        }
    }

    mutating func finish(_ step: TaskStep) {
        steps[StepKey(series: step.series, number: step.number)] = nil
    }
}

/// Devices in the order in which they are due: one set a second, so that a change costs the same
/// however many devices there are.
struct InMemoryDueOrder: Sendable {
    struct Key: Hashable, Comparable, Sendable {
        var due: Timestamp
        var series: Int64
        var device: DeviceID
        var slot: Int32

        init(_ series: InMemoryTaskState.Series, _ device: DeviceID, due: Timestamp) {
            self.due = due
            self.series = series.number
            self.device = device
            slot = TaskPartition.slot(of: device, tenant: series.tenant)
        }

        static func < (left: Key, right: Key) -> Bool {
            (left.due, left.series, left.device) < (right.due, right.series, right.device)
        }

        fileprivate var second: Int64 { due.milliseconds / 1_000 }
    }

    private var keys: [Int64: Set<Key>] = [:]
    /// Seconds in which something is due, ascending.
    private var seconds: [Int64] = []

    var first: Timestamp? { seconds.first.flatMap { keys[$0]?.min()?.due } }

    mutating func insert(_ key: Key) {
        if keys[key.second] == nil { seconds.insertSorted(key.second) }
        keys[key.second, default: []].insert(key)
    }

    mutating func remove(_ key: Key) {
        keys[key.second]?.remove(key)
        guard keys[key.second]?.isEmpty ?? false else { return }
        keys[key.second] = nil
        seconds.removeSorted(key.second)
    }

    func due(at now: Timestamp, slots: Range<Int32>, limit: Int) -> [Key] {
        var found: [Key] = []
        for second in seconds {
            guard found.count < limit, second <= now.milliseconds / 1_000 else { break }
            let here = (keys[second] ?? []).filter { $0.due <= now && slots.contains($0.slot) }
            found += here.sorted()
        }
        return Array(found.prefix(limit))
    }
}
