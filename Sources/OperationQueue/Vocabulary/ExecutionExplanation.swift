public import ClusterRole
public import DeviceRegistry

/// Why an execution stands where it stands: what an administrator reads when a device does not do what
/// it was asked.
public struct ExecutionExplanation: Hashable, Sendable {
    public var execution: ExecutionID
    public var state: ExecutionState
    /// In the order in which they would have to be mended; never empty.
    public var reasons: [Reason]

    public init(execution: ExecutionID, state: ExecutionState, reasons: [Reason]) {
        self.execution = execution
        self.state = state
        self.reasons = reasons
    }

    /// One thing that holds an execution up, or that it has ended.
    public enum Reason: Hashable, Sendable {
        /// It has this final state; nothing more happens.
        case ended(ExecutionState)
        /// The device's enrolment that was asked is over.
        case notEnrolled
        case waits(WaitReason, until: Timestamp?)
        /// Other work of the device is done in its place.
        case superseded(by: OperationID)
        /// The device has it, and has not answered yet; `until` ends the lease or step.
        case inHand(until: Timestamp?)
        /// It was cancelled, and the device has not confirmed that.
        case cancelRequested(until: Timestamp?)
        /// Work ahead of it blocks it.
        case behind(OperationID, code: OperationCode)
        /// The device was never heard.
        case neverSeen
        /// The device's own last contact is this long ago.
        case offline(since: Timestamp, Liveness)
        /// Pushes to it fail: `attempts` so far, the last for this reason; the next one is due then.
        case wakeFailing(attempts: Int32, lastFailure: String, next: Timestamp)
        /// A push is on its way out; due then.
        case wakeWaiting(due: Timestamp)
        /// It has given no push registration: it finds work only by polling.
        case notReachableByPush
        /// Nothing holds it up: the next poll gets it.
        case nextPoll
    }
}
