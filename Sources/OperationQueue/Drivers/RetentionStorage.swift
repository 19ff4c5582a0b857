public import ClusterRole
public import DeviceRegistry

/// Removes history: the driver protocol of a ``RetentionTask``.
///
/// An activity goes in one transaction as far as anybody can see: from then on it answers as one that
/// never was. Its many rows follow in small transactions (``sweep(rows:epoch:)``), and what is left to
/// sweep survives a restart. No guarded write here takes a revision: no replica holds history.
public protocol RetentionStorage: Sendable {
    /// Closed activities, those that were closed first at first.
    ///
    /// - Parameters:
    ///   - before: only what was closed at or before this time.
    ///   - after: the last one of the page before.
    ///   - limit: the most of them.
    func closedActivities(
        before: Timestamp,
        after: ClosedActivity?,
        limit: Int
    ) async throws -> [ClosedActivity]

    /// Closed activities of one tenant by number, the oldest first.
    ///
    /// - Parameters:
    ///   - tenant: the tenant whose history it is.
    ///   - after: the number of the last one of the page before.
    ///   - limit: the most of them.
    func closedActivities(
        of tenant: TenantID,
        after: Int64?,
        limit: Int
    ) async throws -> [ClosedActivity]

    /// How much history there is, by tenant. It is kept, not counted: no scan.
    func history() async throws -> [HistoryCount]

    /// Makes closed activities unknown, with their payloads and idempotency keys. Those that are live, or
    /// unknown, or another tenant's, are left as they are.
    ///
    /// - Returns: how many became unknown.
    func purge(_ activities: [ActivityID], tenant: TenantID, epoch: Epoch) async throws -> Int

    /// Removes rows that purged activities left, in one transaction.
    ///
    /// - Returns: how many; fewer than `rows` means that nothing is left.
    func sweep(rows: Int, epoch: Epoch) async throws -> Int

    /// Removes, in one transaction, entries that were rejected before `time`, and marks of spools whose
    /// node is no member or was last heard before it.
    ///
    /// - Returns: how many; fewer than `rows` means that nothing is left.
    func forgetEvidence(before time: Timestamp, rows: Int, epoch: Epoch) async throws -> Int

    /// Removes devices, and past enrolments of devices, that ended before `time`, with all that is kept
    /// of them: history, what they told, memberships. Who appears in an activity that is kept, open or
    /// closed, stays.
    ///
    /// - Parameters:
    ///   - time: only who was removed, or enrolled anew, before.
    ///   - after: where the look before ended; `nil` begins with the oldest enrolment.
    ///   - limit: the most enrolments looked at, in one transaction.
    ///   - epoch: the writer's.
    func forgetDevices(
        removedBefore time: Timestamp,
        after: Int64?,
        limit: Int,
        epoch: Epoch
    ) async throws -> ForgottenDevices
}

/// Where activities go before they are purged.
public protocol ActivityArchive: Sendable {
    /// Keeps an activity with its executions. The activity is purged only after this returned; when it
    /// throws, the activity stays and is offered again. It may therefore come twice.
    ///
    /// - Parameters:
    ///   - activity: the activity, closed.
    ///   - executions: gives the executions in order of device, by page: `nil` for the first one, then
    ///     ``ExecutionPage/next`` of the page before.
    func archive(
        _ activity: Activity,
        executions: @escaping @Sendable (_ after: DeviceID?) async throws -> ExecutionPage
    ) async throws
}
