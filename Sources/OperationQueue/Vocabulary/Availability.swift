public import ClusterRole

/// Whether an operation may be handed to a device now, and if not, why: what an exchange decides by
/// and `explain` tells.
public enum Availability: Hashable, Sendable {
    /// It may be handed out now.
    case offered
    /// The device has it in hand, until the time if there is one. It blocks what is behind it.
    case inHand(until: Timestamp?)
    /// Nobody waits for it to become visible: what is behind it is not blocked, whatever its order rule.
    case invisible(WaitReason)
    /// It waits by itself, until the time if it is known. A strict operation blocks what is behind it.
    case waiting(WaitReason, until: Timestamp?)
    /// Nothing more is to be done.
    case ended(ExecutionState)
}

/// Why an operation is not handed out yet.
public enum WaitReason: Hashable, Sendable {
    /// An administrator must approve it.
    case approval
    case paused
    /// Too many devices failed it.
    case pausedByFailures
    /// Its rollout has not come to this device.
    case rollout(rank: Int32, ceiling: Int32)
    /// The activity must complete on this device first.
    case dependency(ActivityID)
    /// The activity did not succeed on this device.
    case failedDependency(ActivityID)
    case notBefore
    case windowClosed
    /// The device answered NotNow.
    case deferred
    /// It failed and is repeated later.
    case retry(Int32)
    case awaitingConfirmation
}

/// How what an operation depends on stands on one device.
public enum DependencyState: Hashable, Sendable {
    case met
    case waits(ActivityID)
    case failed(ActivityID)

    /// How one dependency stands.
    ///
    /// - Parameters:
    ///   - activity: the other activity.
    ///   - state: of its execution on the device; `nil` if it does not address the device.
    public init(_ activity: ActivityID, _ state: ExecutionState?) {
        switch state {
        case nil, .completed?: self = .met
        case .some(let state): self = state.isFinal ? .failed(activity) : .waits(activity)
        }
    }

    /// All together: what has failed comes first, then what is waited for.
    public func combined(with other: DependencyState) -> DependencyState {
        switch (self, other) {
        case (.failed, _), (.waits, .met), (.waits, .waits), (.met, .met): self
        case (.met, _), (.waits, .failed): other
        }
    }
}
