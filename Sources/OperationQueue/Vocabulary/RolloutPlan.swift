public import ClusterRole

/// Spreads an operation over its devices, and stops when too many fail.
///
/// Every device has a stable rank in 0…9,999 (``ActivityID/rank(of:)``); an activity is released to the
/// ranks below its ceiling, and moving the ceiling is one write, whatever the size of the fleet.
public struct RolloutPlan: Hashable, Sendable {
    /// How the ceiling rises.
    public enum Pace: Hashable, Sendable {
        /// Step by step; what lies above the last wave is released after it.
        case waves([RolloutWave])
        /// This many devices a minute.
        case rate(devicesPerMinute: Int32)
    }

    public var pace: Pace
    /// When it goes no further; `nil`: failures do not stop it.
    public var failure: RolloutFailureThreshold?

    public init(_ pace: Pace, failure: RolloutFailureThreshold? = nil) {
        self.pace = pace
        self.failure = failure
    }

    /// The highest ceiling: everybody.
    public static let everyone: Int32 = 10_000
    /// The most waves of one plan.
    public static let maximumWaves = 100
}

/// One step of a rollout.
public struct RolloutWave: Hashable, Sendable {
    /// The share of all devices that is released when the wave has begun, in 1/10,000.
    public var share: Int32
    /// How many per cent of the released devices must have completed before the next wave begins.
    public var successPercent: Int32
    /// How long to wait after that, at least.
    public var soak: Duration

    public init(share: Int32, successPercent: Int32 = 100, soak: Duration = .zero) {
        self.share = share
        self.successPercent = successPercent
        self.soak = soak
    }
}

/// When failures stop a rollout.
public struct RolloutFailureThreshold: Hashable, Sendable {
    /// Of the released devices, in per cent; failures and timeouts count.
    public var percent: Int32
    /// Fewer failures than this never stop it.
    public var minimum: Int32
    public var action: RolloutFailureAction

    public init(percent: Int32, minimum: Int32 = 1, action: RolloutFailureAction = .pause) {
        self.percent = percent
        self.minimum = minimum
        self.action = action
    }
}

/// What a rollout does when too many devices fail.
public enum RolloutFailureAction: UInt8, Hashable, Sendable, Codable {
    /// It goes no further until somebody resumes it.
    case pause = 0
    /// The activity is cancelled as a whole.
    case abort = 1
}

/// To whom an open activity may be handed out now: what replicas hold of it beside its state.
public struct OfferGate: Hashable, Sendable {
    public var hold: OfferHold
    /// Devices with a rank below it may have it.
    public var ceiling: Int32

    public init(hold: OfferHold = .none, ceiling: Int32 = RolloutPlan.everyone) {
        self.hold = hold
        self.ceiling = ceiling
    }
}

/// Why an open activity is handed out to nobody.
public enum OfferHold: UInt8, Hashable, Sendable, Codable {
    case none = 0
    case awaitingApproval = 1
    /// Somebody paused it.
    case paused = 2
    /// Too many failures paused it.
    case pausedByFailures = 3
}

/// How far a rollout has come: what managers know of it.
public struct RolloutProgress: Hashable, Sendable {
    /// The wave that runs, from 0 on.
    public var wave: Int32 = 0
    /// When it began.
    public var began: Timestamp?
    /// When its success threshold was reached.
    public var succeeded: Timestamp?
    /// How many devices have a rank below the ceiling.
    public var released = 0

    public init() {}
}
