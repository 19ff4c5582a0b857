public import ClusterRole
public import DeviceRegistry

/// Looks activities and executions up: the reader's façade.
public struct ActivityBrowser: Sendable {
    let reader: any ActivityReader

    public init(reader: any ActivityReader) { self.reader = reader }

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
