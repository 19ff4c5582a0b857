public import ClusterRole
public import DeviceRegistry

/// Looks activities and executions up: the reader's façade.
public struct ActivityBrowser: Sendable {
    let reader: any ActivityReader & PendingWorkReader

    /// - Parameter reader: the manager's store.
    public init(reader: any ActivityReader & PendingWorkReader) { self.reader = reader }

    /// - Throws: ``OperationQueueError`` with code `unknownActivity`.
    public func activity(
        _ id: ActivityID,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> Activity {
        let found = try await queueCall { try await self.reader.activity(id, tenant: tenant) }
        guard let found else {
            throw OperationQueueError(
                .unknownActivity,
                "There is no activity \(id) in this tenant. Use an id that enqueue returned."
            )
        }
        return found
    }

    /// A page of activities, newest first.
    ///
    /// - Parameters:
    ///   - before: where the page before ended (``ActivityPage/next``).
    ///   - limit: at most `maximumPageSize`; more is cut down to it.
    ///   - tenant: the tenant whose activities are listed.
    public func activities(
        before: Int64? = nil,
        limit: Int = 100,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> ActivityPage {
        let limit = max(1, min(limit, maximumPageSize))
        let found = try await queueCall {
            try await self.reader.activities(before: before, limit: limit, tenant: tenant)
        }
        return ActivityPage(
            activities: found,
            next: found.count == limit ? found.last?.operation.number : nil
        )
    }

    /// A page of the activities a filter wants, newest first. Counts come with each: they are kept, not
    /// counted.
    ///
    /// The work of a call is bounded (``maximumOperationsExamined``): a page may hold fewer than `limit`
    /// and still name the next.
    ///
    /// - Parameters:
    ///   - filter: which are wanted.
    ///   - before: where the page before ended (``ActivityPage/next``).
    ///   - limit: at most `maximumPageSize`; more is cut down to it.
    ///   - tenant: the tenant whose activities are listed.
    public func activities(
        matching filter: ActivityFilter,
        before: Int64? = nil,
        limit: Int = 100,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> ActivityPage {
        let limit = max(1, min(limit, maximumPageSize))
        return try await queueCall {
            try await self.reader.activities(
                matching: filter,
                before: before,
                limit: limit,
                tenant: tenant
            )
        }
    }

    /// The activities to which something happened after a position: enqueued, answered, closed.
    ///
    /// - Parameters:
    ///   - position: what has been seen: ``UpdatedActivities/next`` of the page before, or
    ///     ``OperationEvents/position(before:)`` for "since that time".
    ///   - events: the log.
    ///   - limit: how many events are looked at, at most ``OperationEvents/maximumPage``; a page holds each
    ///     activity once, however much happened to it.
    ///   - tenant: the tenant whose activities are listed.
    /// - Returns: the activities as they are now, in the order of their first event in the page.
    /// - Throws: ``OperationQueueError`` with code `eventsGone`.
    public func activities(
        updatedAfter position: EventPosition,
        in events: OperationEvents,
        limit: Int = 100,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> UpdatedActivities {
        let page = try await events.page(after: position, limit: limit, tenant: tenant)
        var seen: Set<ActivityID> = []
        var found: [Activity] = []
        for event in page.events where seen.insert(event.activity).inserted {
            // One that has been purged meanwhile is there no more.
            let activity = try await queueCall {
                try await self.reader.activity(event.activity, tenant: tenant)
            }
            if let activity { found.append(activity) }
        }
        return UpdatedActivities(activities: found, next: page.next, isLast: page.isLast)
    }

    /// A page of the executions of one device over all activities, newest first, those that are pending
    /// without a row included: of its newest enrolment.
    ///
    /// The work of a call is bounded (``maximumOperationsExamined``): a page may hold fewer than `limit`
    /// and still name the next.
    ///
    /// - Throws: ``OperationQueueError`` with code `unknownDevice`.
    public func executions(
        on device: DeviceID,
        before: Int64? = nil,
        limit: Int = 100,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> DeviceExecutionPage {
        let limit = max(1, min(limit, maximumPageSize))
        let found = try await queueCall {
            try await self.reader.executions(
                on: device,
                before: before,
                limit: limit,
                tenant: tenant
            )
        }
        guard let found else { throw Self.unknown(device) }
        return found
    }

    /// What is open for a device, in the order in which it is offered; the first that is neither waiting
    /// nor in hand is next.
    ///
    /// - Throws: ``OperationQueueError`` with code `unknownDevice` for a device that is not enrolled.
    public func pendingWork(
        of device: DeviceID,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> OpenWork {
        let found = try await queueCall {
            try await self.reader.openWork(for: device, tenant: tenant)
        }
        guard let found else { throw Self.unknown(device) }
        return found
    }

    private static func unknown(_ device: DeviceID) -> OperationQueueError {
        OperationQueueError(
            .unknownDevice,
            "There is no device \(device) in this tenant. Enrol it first."
        )
    }

    /// A page of an activity's executions in some states, in order of device id.
    ///
    /// The work of a call is bounded (``maximumExecutionsExamined``): a page may hold fewer than `limit`
    /// and still name the next.
    ///
    /// - Throws: ``OperationQueueError`` with code `unknownActivity`.
    public func executions(
        of activity: ActivityID,
        in states: Set<ExecutionState>,
        after: DeviceID? = nil,
        limit: Int = 100,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> ExecutionPage {
        _ = try await self.activity(activity, tenant: tenant)
        let limit = max(1, min(limit, maximumPageSize))
        var result = ExecutionPage(executions: [], next: after)
        var examined = 0
        while examined < maximumExecutionsExamined {
            let position = result.next
            let found = try await queueCall {
                try await self.reader.executions(
                    of: activity,
                    after: position,
                    limit: maximumPageSize,
                    tenant: tenant
                )
            }
            examined += found.count
            for execution in found where states.contains(execution.state) {
                result.executions.append(execution)
                if result.executions.count == limit {
                    result.next = execution.id.device
                    return result
                }
            }
            result.next = found.count == maximumPageSize ? found.last?.id.device : nil
            if result.next == nil { return result }
        }
        return result
    }

    /// A page of an activity's executions in order of device id, those that are pending without a row
    /// included.
    ///
    /// - Throws: ``OperationQueueError`` with code `unknownActivity`.
    public func executions(
        of activity: ActivityID,
        after: DeviceID? = nil,
        limit: Int = 100,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> ExecutionPage {
        _ = try await self.activity(activity, tenant: tenant)
        let limit = max(1, min(limit, maximumPageSize))
        let found = try await queueCall {
            try await self.reader.executions(
                of: activity,
                after: after,
                limit: limit,
                tenant: tenant
            )
        }
        return ExecutionPage(
            executions: found,
            next: found.count == limit ? found.last?.id.device : nil
        )
    }
}

/// A page of activities.
public struct ActivityPage: Hashable, Sendable {
    public var activities: [Activity]
    /// Pass it as `before` for the next page; `nil` on the last one.
    public var next: Int64?

    public init(activities: [Activity], next: Int64?) {
        self.activities = activities
        self.next = next
    }
}

/// A page of executions.
public struct ExecutionPage: Hashable, Sendable {
    public var executions: [Execution]
    /// Pass it as `after` for the next page; `nil` on the last one.
    public var next: DeviceID?

    public init(executions: [Execution], next: DeviceID?) {
        self.executions = executions
        self.next = next
    }
}

/// A page of activities that were updated.
public struct UpdatedActivities: Hashable, Sendable {
    public var activities: [Activity]
    /// Pass it as `updatedAfter` for what follows, now or later.
    public var next: EventPosition
    /// Whether nothing had happened behind it.
    public var isLast: Bool

    public init(activities: [Activity], next: EventPosition, isLast: Bool) {
        self.activities = activities
        self.next = next
        self.isLast = isLast
    }
}
