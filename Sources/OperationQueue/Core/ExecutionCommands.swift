package import ClusterRole

extension OperationQueueError {
    package static func unknownExecution(_ id: ExecutionID) -> OperationQueueError {
        OperationQueueError(
            .unknownExecution,
            "There is no execution \(id) in this tenant, or its device has enrolled anew since."
        )
    }
}

extension ExecutionCommand {
    /// What the command makes of an execution: the rule all drivers share.
    ///
    /// - Throws: ``OperationQueueError`` with code `versionConflict` or `notPossible`.
    package func change(
        of row: Execution?,
        _ id: ExecutionID,
        ifVersion version: Int32?,
        in activity: Activity,
        at now: Timestamp
    ) throws(OperationQueueError) -> ExecutionChange {
        if let version, version != row?.version ?? 0 {
            throw OperationQueueError(
                .versionConflict,
                "The execution has version \(row?.version ?? 0), not \(version). Read it again and decide."
            )
        }
        let state = activity.state.effective(row?.state)
        let change: ExecutionChange
        switch self {
        case .cancel:
            change = ExecutionRules.apply(
                .requestCancel,
                to: row,
                id,
                of: activity.operation,
                in: activity.state,
                at: now
            )
        case .confirm:
            change = ExecutionRules.apply(
                .confirm,
                to: row,
                id,
                of: activity.operation,
                in: activity.state,
                at: now
            )
        case .redeliver:
            guard var after = row, state == .delivered || state == .inProgress else {
                throw OperationQueueError(
                    .notPossible,
                    "The execution is \(state.name): the device does not have it in hand."
                )
            }
            after.until = now
            after.version += 1
            after.updatedAt = now
            return ExecutionChange(before: row, after: after)
        }
        guard change.rejection == nil, !change.wasLate else {
            throw OperationQueueError(
                .notPossible,
                "The execution is \(state.name): \(rawValue) is not possible any more."
            )
        }
        return change
    }
}
