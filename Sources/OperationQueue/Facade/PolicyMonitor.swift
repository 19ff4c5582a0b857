public import ClusterRole
public import DeviceRegistry
public import Logging
internal import Metrics
public import ServiceLifecycle

/// Keeps devices to policies: hands each policy out, asks devices how they stand, and gives it again to
/// those that violate it. Runs on the coordinator.
///
/// A policy is one standing operation for its group. What devices report (``ComplianceReport``) is kept
/// for each device; one that violates the policy gets it again, at once and then after waits that
/// double, and is given up after ``CompliancePolicy/maximumTries``. A device that has not reported for
/// ``CompliancePolicy/monitoring`` is asked by a periodic task named `policy.<name>`.
///
/// Re-applications are enqueued first and noted then. A crash between enqueues them twice; both carry
/// ``CompliancePolicy/supersedeKey``, so that a device gets one.
public struct PolicyMonitor: Service {
    private let storage: any ComplianceStorage
    private let tasks: any PeriodicTaskStorage
    private let enqueuer: OperationEnqueuer
    private let capability: WriteCapability
    private let settings: Settings
    private let reapplied = Counter(label: "reeve_policies_reapplied_total")
    private let givenUp = Counter(label: "reeve_policies_given_up_total")

    /// The most devices of one step: it bounds memory and the length of a transaction.
    public static let batch = 1_000

    /// What a monitor is made with; the defaults work.
    public struct Settings: Sendable {
        public var clock: any TimeSource = SystemTimeSource()
        /// How often it looks.
        public var interval = Duration.seconds(1)
        /// Whose devices this monitor looks after, where several nodes divide them.
        public var partition = TaskPartition.all
        public var logger = Logger(label: "reeve.policies")

        public init(clock: any TimeSource = SystemTimeSource()) { self.clock = clock }
    }

    public init(
        storage: any ComplianceStorage,
        tasks: any PeriodicTaskStorage,
        enqueuer: OperationEnqueuer,
        capability: WriteCapability,
        settings: Settings = Settings()
    ) {
        self.storage = storage
        self.tasks = tasks
        self.enqueuer = enqueuer
        self.capability = capability
        self.settings = settings
    }

    // MARK: Policies

    /// Hands a policy out to the members of its group and to who joins, and watches it from now on. The
    /// same definition changes nothing; another one supersedes it. Repeat a call that failed.
    ///
    /// - Throws: ``OperationQueueError`` with code `invalidRequest`, `tooLarge`, `unknownGroup`.
    @discardableResult
    public func put(
        _ policy: CompliancePolicy,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> PolicyStanding {
        try policy.validate()
        let standings = try await policies(tenant: tenant)
        let known = standings.first { $0.policy.id == policy.id }
        guard known != nil || standings.count < CompliancePolicy.maximumCount else {
            throw OperationQueueError(
                .tooLarge,
                "A tenant has at most \(CompliancePolicy.maximumCount) policies. Remove another first."
            )
        }
        var activity = known?.activity
        if activity == nil || known.map({ !$0.policy.isHandedOut(as: policy) }) ?? true {
            if let known, known.policy.group != policy.group {
                try await enqueuer.cancel(known.activity, tenant: tenant)
            }
            var request = request(for: policy, to: .group(policy.group))
            request.scope = .membersAndJoiners
            activity = try await enqueuer.enqueue(request, tenant: tenant).activity
        }
        if let activity {
            try await queueCall {
                let epoch = try self.capability.requireEpoch()
                try await self.storage.put(
                    policy,
                    activity: activity,
                    tenant: tenant,
                    epoch: epoch
                )
                try await self.tasks.put(
                    policy.task(beginning: self.settings.clock.now()),
                    tenant: tenant,
                    epoch: epoch
                )
            }
        }
        return try await self.policy(policy.id, tenant: tenant)
    }

    /// Ends a policy: it is handed out no more, and what devices reported on it is forgotten. What they
    /// were given stays with them.
    ///
    /// - Throws: ``OperationQueueError`` with code `unknownPolicy`.
    public func remove(
        _ policy: PolicyID,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) {
        let known = try await self.policy(policy, tenant: tenant)
        try await enqueuer.cancel(known.activity, tenant: tenant)
        try await queueCall {
            let epoch = try self.capability.requireEpoch()
            let task = known.policy.task(beginning: .distantPast).id
            try await self.tasks.remove(task, tenant: tenant, epoch: epoch)
            try await self.storage.remove(policy, tenant: tenant, epoch: epoch)
        }
    }

    /// All policies of a tenant, by name, with how many devices stand how.
    public func policies(
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> [PolicyStanding] {
        try await queueCall { try await self.storage.policies(tenant: tenant) }
    }

    /// One policy.
    ///
    /// - Throws: ``OperationQueueError`` with code `unknownPolicy`.
    public func policy(
        _ policy: PolicyID,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> PolicyStanding {
        guard
            let found = try await policies(tenant: tenant).first(where: { $0.policy.id == policy })
        else {
            throw OperationQueueError(
                .unknownPolicy,
                "There is no policy \(policy) in this tenant. Put it first."
            )
        }
        return found
    }

    /// A page of the devices that stand so to a policy, in order of id.
    ///
    /// - Parameters:
    ///   - policy: the policy.
    ///   - state: only devices in this state.
    ///   - after: where the page before ended.
    ///   - limit: at most `maximumPageSize`; more is cut down to it.
    ///   - tenant: the tenant.
    /// - Throws: ``OperationQueueError`` with code `unknownPolicy`.
    public func devices(
        of policy: PolicyID,
        in state: ComplianceState,
        after: DeviceID? = nil,
        limit: Int = 100,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> [DeviceCompliance] {
        _ = try await self.policy(policy, tenant: tenant)
        return try await queueCall {
            try await self.storage.devices(
                of: policy,
                in: state,
                after: after,
                limit: max(1, min(limit, maximumPageSize)),
                tenant: tenant
            )
        }
    }

    // MARK: Re-application

    /// Re-applies policies to all devices that are due at `now`, a batch at a time.
    ///
    /// - Returns: the operations that were enqueued.
    @discardableResult
    public func tick(at now: Timestamp) async throws(OperationQueueError) -> [EnqueueReceipt] {
        var isSwept = false
        while !isSwept {
            isSwept = try await queueCall {
                try Task.checkCancellation()
                return try await self.storage.sweep(
                    limit: Self.batch,
                    epoch: self.capability.requireEpoch()
                )
            }
        }
        var receipts: [EnqueueReceipt] = []
        while true {
            let steps = try await queueCall {
                try Task.checkCancellation()
                return try await self.storage.violators(
                    at: now,
                    limit: Self.batch,
                    in: self.settings.partition
                )
            }
            if steps.isEmpty { return receipts }
            for step in steps {
                if let receipt = try await reapply(step) { receipts.append(receipt) }
                try await queueCall {
                    try await self.storage.advance(
                        step,
                        epoch: self.capability.requireEpoch(),
                        at: now
                    )
                }
            }
        }
    }

    private func reapply(
        _ step: ReapplicationStep
    ) async throws(OperationQueueError) -> EnqueueReceipt? {
        let left = step.violators.filter { $0.tries < step.policy.maximumTries }.map(\.device)
        let lost = step.violators.count - left.count
        if lost > 0 {
            givenUp.increment(by: lost)
            settings.logger.warning(
                "a policy is given up on devices that go on violating it",
                metadata: [
                    "policy": "\(step.policy.id)", "tenant": "\(step.tenant)", "devices": "\(lost)",
                ]
            )
        }
        guard !left.isEmpty else { return nil }
        var request = request(for: step.policy, to: .devices(left))
        request.expiresAfter = step.policy.longestBackoff
        do {
            let receipt = try await enqueuer.enqueue(request, tenant: step.tenant)
            reapplied.increment(by: receipt.addressed)
            return receipt
        } catch {
            // What can never be enqueued counts as tried; anything else is tried again.
            guard [.invalid, .notFound, .conflict, .tooLarge].contains(error.category) else {
                throw error
            }
            settings.logger.warning(
                "a policy could not be re-applied",
                metadata: ["policy": "\(step.policy.id)", "error": "\(error)"]
            )
            return nil
        }
    }

    private func request(
        for policy: CompliancePolicy,
        to target: OperationTarget
    ) -> EnqueueRequest {
        var request = EnqueueRequest(policy.code, to: target, payload: policy.payload)
        request.type = .policy
        request.control = .supersede(policy.supersedeKey)
        request.initiator = "policy"
        return request
    }

    /// Looks every interval until cancelled, shut down, or no longer the coordinator.
    public func run() async throws {
        await runTicks(
            every: settings.interval,
            capability: capability,
            clock: settings.clock,
            logger: settings.logger
        ) {
            try await self.tick(at: self.settings.clock.now())
        }
    }
}

extension CompliancePolicy {
    /// Whether devices get the same by both.
    fileprivate func isHandedOut(as other: CompliancePolicy) -> Bool {
        keepsReports(of: other) && code == other.code && payload == other.payload
    }

    /// - Throws: ``OperationQueueError`` with code `invalidRequest`.
    fileprivate func validate() throws(OperationQueueError) {
        do {
            _ = try PolicyID(validating: id.rawValue)
            _ = try PeriodicTaskID(validating: "policy.\(id)")
            _ = try InformationKind(validating: "compliance.\(id)")
        } catch {
            throw OperationQueueError(.invalidRequest, error.message, cause: error)
        }
        let range = PeriodicTask.minimumFrequency...EnqueueLimits().expiresAfter
        guard range.contains(monitoring), range.contains(backoff), range.contains(longestBackoff),
            backoff <= longestBackoff
        else {
            throw OperationQueueError(
                .invalidRequest,
                "A policy's monitoring and waits lie between \(PeriodicTask.minimumFrequency) and ten "
                    + "years, and the longest wait is the longest."
            )
        }
        guard !version.isEmpty, version.utf8.count <= Self.maximumVersionLength,
            (0...1_000).contains(maximumTries)
        else {
            throw OperationQueueError(
                .invalidRequest,
                "A policy has a version of 1 to \(Self.maximumVersionLength) bytes and 0 to 1000 tries."
            )
        }
    }
}
