internal import ClusterRole

/// What an operation may wait for.
package enum DependencyRules {
    /// Whether `operation` must wait for `known`, the activity its dependency names.
    ///
    /// - Returns: `false` if everybody has completed that already.
    /// - Throws: ``OperationQueueError`` with code `unknownActivity`, or `invalidRequest` for an activity
    ///   that is closed without everybody having completed it, and for one that expires while
    ///   `operation` does not: it would wait for ever where the other expired.
    package static func mustWait(
        _ operation: DeviceOperation,
        for dependency: OperationDependency,
        _ known: Activity?
    ) throws(OperationQueueError) -> Bool {
        guard let known else {
            throw OperationQueueError(
                .unknownActivity,
                "There is no activity \(dependency.activity) in this tenant to wait for. Enqueue it first."
            )
        }
        if known.state == .finished, known.rowCounts[.completed] == known.addressed { return false }
        guard known.state == .open else {
            throw OperationQueueError(
                .invalidRequest,
                "The activity \(known.id) is closed and not all devices completed it. Address those "
                    + "that did, or enqueue both as a sequence."
            )
        }
        guard known.operation.expiresAt == nil || operation.expiresAt != nil else {
            throw OperationQueueError(
                .invalidRequest,
                "The activity \(known.id) expires: what waits for it must expire too. Give it an expiry."
            )
        }
        return true
    }
}
