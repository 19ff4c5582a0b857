// Codes of rollouts.
extension ArtifactStoreError.Code {
    /// The plan of a rollout can never work.
    public static let invalidPlan = Self(rawValue: "artifacts.invalid-plan")
    /// The channel has an open rollout; nothing is published beside it.
    public static let rolloutOpen = Self(rawValue: "artifacts.rollout-open")
    /// The rollout cannot do this in its state.
    public static let rolloutState = Self(rawValue: "artifacts.rollout-state")
    /// The tree was taken back and is blocked in this channel.
    public static let blocked = Self(rawValue: "artifacts.blocked")
    /// There is no such rollout, or no such block.
    public static let unknownRollout = Self(rawValue: "artifacts.unknown-rollout")
}
