public import ClusterRole
public import OperationQueue

/// A driver that keeps history as well is decorated with that.
///
/// The storage it was made with must be a `RetentionStorage`: without it these calls throw
/// ``NotDecorated``.
extension FailingOperationStorage: RetentionStorage {
    /// The decorated driver has no such protocol.
    public struct NotDecorated: CodedError {
        public let codeName = "testkit.not-decorated"
        public let category = ErrorCategory.invalid
        public let message =
            "The decorated operation storage keeps no history. Decorate one that does."
    }

    private func retention() throws -> any RetentionStorage {
        guard let retention = base as? any RetentionStorage else { throw NotDecorated() }
        return retention
    }

    public func closedActivities(
        before: Timestamp,
        after: ClosedActivity?,
        limit: Int
    ) async throws -> [ClosedActivity] {
        try await script.around(.closedActivities) {
            try await retention().closedActivities(before: before, after: after, limit: limit)
        }
    }

    public func closedActivities(
        of tenant: TenantID,
        after: Int64?,
        limit: Int
    ) async throws -> [ClosedActivity] {
        try await script.around(.closedActivities) {
            try await retention().closedActivities(of: tenant, after: after, limit: limit)
        }
    }

    public func history() async throws -> [HistoryCount] {
        try await script.around(.historyCounts) { try await retention().history() }
    }

    public func purge(
        _ activities: [ActivityID],
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Int {
        try await script.around(.purge) {
            try await retention().purge(activities, tenant: tenant, epoch: epoch)
        }
    }

    public func sweep(rows: Int, epoch: Epoch) async throws -> Int {
        try await script.around(.sweep) { try await retention().sweep(rows: rows, epoch: epoch) }
    }

    public func forgetEvidence(
        before time: Timestamp,
        rows: Int,
        epoch: Epoch
    ) async throws -> Int {
        try await script.around(.forgetEvidence) {
            try await retention().forgetEvidence(before: time, rows: rows, epoch: epoch)
        }
    }

    public func forgetDevices(
        removedBefore time: Timestamp,
        after: Int64?,
        limit: Int,
        epoch: Epoch
    ) async throws -> ForgottenDevices {
        try await script.around(.forgetDevices) {
            try await retention().forgetDevices(
                removedBefore: time,
                after: after,
                limit: limit,
                epoch: epoch
            )
        }
    }
}
