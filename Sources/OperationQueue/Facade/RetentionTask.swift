public import ClusterRole
internal import DeviceRegistry
public import Logging
internal import Metrics
public import ServiceLifecycle
internal import Synchronization

/// Purges the history of activities by age and by count, archiving it first. Runs on the coordinator.
///
/// It works in small steps: what becomes unknown in one transaction, and the rows that follow, are at
/// most ``RetentionPolicy/batchRows`` rows, and other writers get in between.
public struct RetentionTask: Service {
    private let storage: any OperationStorage & RetentionStorage
    private let archive: (any ActivityArchive)?
    private let policy: RetentionPolicy
    private let capability: WriteCapability
    private let settings: Settings
    private let walk = DeviceWalk()
    private let purged = Counter(label: "reeve_activities_purged_total")

    /// The most activities one look purges; the next look goes on.
    public static let maximumActivities = 10_000
    /// The most enrolments one look goes through for removed devices; the next look goes on.
    public static let maximumEnrolments = 10_000
    /// Enrolments looked at in one transaction: what is kept of a device is a handful of rows, and its
    /// history.
    static let enrolmentsInBatch = 50
    /// Activities that become unknown in one transaction: each takes a handful of rows.
    static let activitiesInBatch = 50

    /// What a task is made with; the defaults work.
    public struct Settings: Sendable {
        public var clock: any TimeSource = SystemTimeSource()
        /// How often it looks.
        public var interval = Duration.seconds(300)
        public var logger = Logger(label: "reeve.retention")

        public init(clock: any TimeSource = SystemTimeSource()) { self.clock = clock }
    }

    /// - Parameters:
    ///   - storage: where the history is.
    ///   - policy: what is kept.
    ///   - archive: gets every activity before it is purged; `nil` for none.
    ///   - capability: the coordinator's right to write.
    ///   - settings: clock, interval and logger.
    public init(
        storage: any OperationStorage & RetentionStorage,
        policy: RetentionPolicy,
        archive: (any ActivityArchive)? = nil,
        capability: WriteCapability,
        settings: Settings = Settings()
    ) {
        self.storage = storage
        self.policy = policy
        self.archive = archive
        self.capability = capability
        self.settings = settings
    }

    /// Purges what the policy does not keep at `now`.
    ///
    /// - Parameters:
    ///   - now: the time by which age is told.
    ///   - dryRun: counts what would go and changes nothing.
    @discardableResult
    public func tick(
        at now: Timestamp,
        dryRun: Bool = false
    ) async throws(OperationQueueError) -> RetentionReport {
        try await queueCall {
            var run = RetentionRun(task: self, now: now, isDry: dryRun)
            if !dryRun { try await self.sweep() }
            try await run.byAge()
            try await run.byCount()
            if !dryRun {
                run.report.evidence = try await self.forgetEvidence(at: now)
                run.report.devices = try await self.forgetDevices(at: now)
                self.purged.increment(by: run.report.activities)
            }
            if run.report.activities > 0 {
                self.settings.logger.info(
                    dryRun ? "history would be purged" : "history was purged",
                    metadata: [
                        "activities": "\(run.report.activities)",
                        "executions": "\(run.report.executions)",
                        "keptForKey": "\(run.report.keptForKey)",
                    ]
                )
            }
            return run.report
        }
    }

    /// Looks every interval until cancelled, shut down, or no longer the coordinator.
    public func run() async throws {
        await runTicks(
            every: settings.interval,
            capability: capability,
            clock: settings.clock,
            logger: settings.logger
        ) {
            while try await self.tick(at: self.settings.clock.now()).hasMore {}
        }
    }

    private func sweep() async throws {
        let rows = policy.batchRows
        while try await storage.sweep(rows: rows, epoch: capability.requireEpoch()) == rows {}
    }

    private func forgetEvidence(at now: Timestamp) async throws -> Int {
        var total = 0
        while true {
            let count = try await storage.forgetEvidence(
                before: now - policy.keepEvidenceFor,
                rows: policy.batchRows,
                epoch: capability.requireEpoch()
            )
            total += count
            if count < policy.batchRows { return total }
        }
    }

    private func forgetDevices(at now: Timestamp) async throws -> Int {
        guard let keepFor = policy.keepRemovedDevicesFor else { return 0 }
        var total = 0
        for _ in 0..<(Self.maximumEnrolments / Self.enrolmentsInBatch) {
            let forgotten = try await storage.forgetDevices(
                removedBefore: now - keepFor,
                after: walk.place.withLock { $0 },
                limit: Self.enrolmentsInBatch,
                epoch: capability.requireEpoch()
            )
            total += forgotten.count
            walk.place.withLock { $0 = forgotten.next }
            if forgotten.next == nil { break }
        }
        return total
    }

    /// Archives and purges closed activities.
    fileprivate func purge(_ activities: [ClosedActivity]) async throws -> Int {
        var count = 0
        for activity in activities {
            try await keep(activity)
        }
        var rest = activities[...]
        while let tenant = rest.first?.tenant {
            let batch = rest.prefix { $0.tenant == tenant }.prefix(Self.activitiesInBatch)
            rest = rest.dropFirst(batch.count)
            count += try await storage.purge(
                batch.map(\.id),
                tenant: tenant,
                epoch: capability.requireEpoch()
            )
            try await sweep()
        }
        return count
    }

    private func keep(_ closed: ClosedActivity) async throws {
        guard let archive,
            let activity = try await storage.activity(closed.id, tenant: closed.tenant)
        else { return }
        let browser = ActivityBrowser(reader: storage)
        try await archive.archive(activity) { after in
            try await browser.executions(
                of: closed.id,
                after: after,
                limit: maximumPageSize,
                tenant: closed.tenant
            )
        }
    }

    /// One look.
    private struct RetentionRun {
        let task: RetentionTask
        let now: Timestamp
        let isDry: Bool
        var report = RetentionReport()
        /// Purged or, in a dry run, counted by age, by tenant.
        private var gone: [TenantID: Int] = [:]
        private var counted: Set<ActivityID> = []

        init(task: RetentionTask, now: Timestamp, isDry: Bool) {
            self.task = task
            self.now = now
            self.isDry = isDry
        }

        private var room: Int { RetentionTask.maximumActivities - report.activities }

        mutating func byAge() async throws {
            guard let keepFor = task.policy.keepFor else { return }
            var last: ClosedActivity?
            while room > 0 {
                let page = try await task.storage.closedActivities(
                    before: now - keepFor,
                    after: last,
                    limit: RetentionTask.activitiesInBatch
                )
                try await take(page, upTo: room)
                guard let end = page.last, page.count == RetentionTask.activitiesInBatch else {
                    return
                }
                last = end
            }
            report.hasMore = !isDry
        }

        mutating func byCount() async throws {
            guard let keepAtMost = task.policy.keepAtMost else { return }
            for history in try await task.storage.history() {
                let present = history.activities - (isDry ? gone[history.tenant] ?? 0 : 0)
                var excess = present - max(0, keepAtMost)
                var last: Int64?
                while excess > 0 {
                    guard room > 0 else {
                        report.hasMore = !isDry
                        return
                    }
                    let page = try await task.storage.closedActivities(
                        of: history.tenant,
                        after: last,
                        limit: RetentionTask.activitiesInBatch
                    )
                    excess -= try await take(page, upTo: min(excess, room))
                    guard let end = page.last else { break }
                    last = end.number
                }
            }
        }

        /// - Returns: how many went.
        @discardableResult
        private mutating func take(_ page: [ClosedActivity], upTo limit: Int) async throws -> Int {
            var taken: [ClosedActivity] = []
            for activity in page where taken.count < limit && !counted.contains(activity.id) {
                if task.policy.mustKeepKey(of: activity, at: now) {
                    counted.insert(activity.id)
                    report.keptForKey += 1
                } else {
                    taken.append(activity)
                }
            }
            let count = isDry ? taken.count : try await task.purge(taken)
            for activity in taken {
                gone[activity.tenant, default: 0] += 1
                if isDry { counted.insert(activity.id) }
            }
            report.activities += count
            report.executions += taken.reduce(0) { $0 + $1.executions }
            return count
        }
    }
}

/// How far a task has come on its way through all enrolments.
private final class DeviceWalk: Sendable {
    let place = Mutex<Int64?>(nil)
}
