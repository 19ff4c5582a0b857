public import ClusterRole
public import DeviceRegistry

/// Says why an execution is still pending: the reader's façade for the question administrators ask
/// most.
public struct ExecutionExplainer: Sendable {
    private let operations: any PendingWorkReader & ActivityReader
    private let devices: any DeviceReader
    private let liveness: LivenessRule
    private let clock: any TimeSource

    public init(
        operations: any PendingWorkReader & ActivityReader,
        devices: any DeviceReader,
        liveness: LivenessRule = LivenessRule(),
        clock: any TimeSource = SystemTimeSource()
    ) {
        self.operations = operations
        self.devices = devices
        self.liveness = liveness
        self.clock = clock
    }

    /// Explains how an operation stands on a device.
    ///
    /// - Parameters:
    ///   - activity: whose operation.
    ///   - device: the device; its present enrolment.
    ///   - tenant: the tenant of both.
    /// - Throws: ``OperationQueueError`` with code `unknownActivity`, `unknownDevice`, or
    ///   `unknownExecution` for a device the activity does not address.
    public func explain(
        _ activity: ActivityID,
        on device: DeviceID,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> ExecutionExplanation {
        let browser = ActivityBrowser(reader: operations)
        let known = try await browser.activity(activity, tenant: tenant)
        let found = try await queueCall { try await self.devices.device(device, tenant: tenant) }
        guard let found else {
            throw OperationQueueError(
                .unknownDevice,
                "There is no device \(device) in this tenant."
            )
        }
        let id = ExecutionID(
            operation: known.operation.id,
            incarnation: found.row.incarnation,
            device: device
        )
        if let work = try await queueCall({
            try await self.operations.openWork(for: device, tenant: tenant)
        }) {
            let wake = try await queueCall {
                try await self.operations.wakeUp(of: device, tenant: tenant)
            }
            if let (state, reasons) = ExplanationRules.reasons(
                of: id,
                in: work,
                on: found,
                wake: wake,
                liveness: liveness,
                at: clock.now()
            ) {
                return ExecutionExplanation(execution: id, state: state, reasons: reasons)
            }
        }
        // Nothing of it is open: it has ended there, its enrolment is over, or it never was asked.
        let row = try await queueCall {
            try await self.operations.execution(id, tenant: tenant)
        }
        guard let row else { throw OperationQueueError.unknownExecution(id) }
        let reason: ExecutionExplanation.Reason =
            row.state.isFinal || found.row.state == .enrolled ? .ended(row.state) : .notEnrolled
        return ExecutionExplanation(execution: row.id, state: row.state, reasons: [reason])
    }
}
