public import ClusterRole
public import DeviceRegistry
internal import Logging

extension OperationEnqueuer {
    /// Cancels an activity as a whole: what no device has in hand ends at once, the rest by the
    /// device's answer. Cancelling a closed activity changes nothing.
    ///
    /// - Throws: ``OperationQueueError`` with code `unknownActivity`.
    @discardableResult
    public func cancel(
        _ activity: ActivityID,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> Activity {
        try await change(activity, .close(.cancelled), tenant: tenant)
    }

    /// Lets an activity that needs approval begin. Approving twice changes nothing.
    ///
    /// - Throws: ``OperationQueueError`` with code `unknownActivity`, `invalidRequest` (it is closed).
    @discardableResult
    public func approve(
        _ activity: ActivityID,
        by who: String,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> Activity {
        try await change(activity, .approve(by: who), tenant: tenant)
    }

    /// Refuses an activity that needs approval: it is cancelled.
    ///
    /// - Throws: ``OperationQueueError`` with code `unknownActivity`, `invalidRequest` (it does not wait
    ///   for approval).
    @discardableResult
    public func reject(
        _ activity: ActivityID,
        by who: String,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> Activity {
        try await change(activity, .reject(by: who), tenant: tenant)
    }

    /// Hands an activity to nobody new, until it is resumed. What devices have in hand goes on.
    ///
    /// - Throws: ``OperationQueueError`` with code `unknownActivity`, `invalidRequest` (it is closed, or
    ///   waits for approval).
    @discardableResult
    public func pause(
        _ activity: ActivityID,
        by who: String,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> Activity {
        try await change(activity, .pause(by: who), tenant: tenant)
    }

    /// Goes on with an activity that was paused, by hand or by its failures.
    ///
    /// - Throws: ``OperationQueueError`` with code `unknownActivity`, `invalidRequest` (it is closed).
    @discardableResult
    public func resume(
        _ activity: ActivityID,
        by who: String,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> Activity {
        try await change(activity, .resume(by: who), tenant: tenant)
    }

    /// Releases a rollout to a share of its devices (in 1/10,000) at once, whatever its plan says.
    ///
    /// - Throws: ``OperationQueueError`` with code `unknownActivity`, `invalidRequest` (it is closed).
    @discardableResult
    public func release(
        _ activity: ActivityID,
        toShare share: Int32,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> Activity {
        let count = try await queueCall {
            try await self.storage.addressedCount(of: activity, below: share, tenant: tenant)
        }
        let known = try await queueCall {
            try await self.storage.activity(activity, tenant: tenant)
        }
        return try await change(
            activity,
            .release(ceiling: share, released: count, wave: (known?.rollout.wave ?? 0) + 1),
            tenant: tenant
        )
    }

    /// Does a command on one execution.
    ///
    /// - Parameters:
    ///   - command: what is to be done.
    ///   - execution: which, with or without a row of its own.
    ///   - version: the version it must have, as it was read (0: without a row); `nil` for whichever.
    ///   - tenant: the tenant it belongs to.
    /// - Throws: ``OperationQueueError`` with code `unknownExecution`, `versionConflict`, `notPossible`.
    @discardableResult
    public func perform(
        _ command: ExecutionCommand,
        on execution: ExecutionID,
        ifVersion version: Int32? = nil,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> Execution {
        try await queueCall {
            try await self.storage.command(
                execution,
                command,
                ifVersion: version,
                tenant: tenant,
                epoch: self.capability.requireEpoch(),
                at: self.clock.now()
            ).execution
        }
    }

    /// Cancels everything that is open for a device.
    ///
    /// - Returns: how many executions were cancelled, or are asked of the device to be.
    /// - Throws: ``OperationQueueError`` with code `unknownDevice`.
    @discardableResult
    public func cancelAll(
        of device: DeviceID,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> Int {
        try await queueCall {
            try await self.storage.cancelAll(
                of: device,
                tenant: tenant,
                epoch: self.capability.requireEpoch(),
                at: self.clock.now()
            ).count
        }
    }

    /// Enqueues operations that are done one after the other on each device.
    ///
    /// Nothing is handed out before all of them are durable. A crash half way leaves a paused beginning;
    /// the same call with the same idempotency keys completes it.
    ///
    /// - Parameters:
    ///   - steps: in order; at least one. Each waits for the one before it on its device.
    ///   - onFailure: what becomes of the steps behind a failed one on that device.
    ///   - tenant: the tenant they belong to.
    /// - Returns: a receipt a step, in order.
    public func enqueue(
        sequence steps: [EnqueueRequest],
        onFailure: DependencyFailureRule = .stop,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> [EnqueueReceipt] {
        guard var first = steps.first else {
            throw OperationQueueError(.invalidRequest, "A sequence has at least one step.")
        }
        let mustApprove = first.approval == .required
        first.approval = .required
        var receipts = [try await enqueue(first, tenant: tenant)]
        for step in steps.dropFirst() {
            var step = step
            let before = receipts[receipts.count - 1].activity
            step.after.append(OperationDependency(before, onFailure: onFailure))
            receipts.append(try await enqueue(step, tenant: tenant))
        }
        if !mustApprove {
            let begun = try await queueCall {
                try await self.storage.activity(receipts[0].activity, tenant: tenant)
            }
            // A first step that addresses nobody has ended already.
            if begun?.state == .open, begun?.gate.hold == .awaitingApproval {
                try await approve(receipts[0].activity, by: first.initiator, tenant: tenant)
            }
        }
        return receipts
    }

    private func change(
        _ activity: ActivityID,
        _ change: ActivityChange,
        tenant: TenantID
    ) async throws(OperationQueueError) -> Activity {
        let changed = try await queueCall {
            try await self.storage.change(
                activity,
                change,
                tenant: tenant,
                epoch: self.capability.requireEpoch(),
                at: self.clock.now()
            ).activity
        }
        logger.debug(
            "activity changed",
            metadata: [
                "activity": "\(activity)", "tenant": "\(tenant)", "change": "\(change)",
                "state": "\(changed.state)",
            ]
        )
        return changed
    }
}
