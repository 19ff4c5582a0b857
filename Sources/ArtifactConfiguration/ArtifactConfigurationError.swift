public import ClusterRole

/// A configuration artifact that cannot be used; its release is refused and the values before stay.
public struct ArtifactConfigurationError: CodedError {
    public let codeName = "configuration.invalid"
    /// Which file, and what is wrong with it.
    public let message: String
    public let category = ErrorCategory.invalid

    /// An error of your own check, too.
    public init(_ message: String) { self.message = message }
}
