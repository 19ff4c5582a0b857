/// A driver broke its contract. Conformance suites throw it; any test framework reports it.
public struct ConformanceFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The contract, such as `ObjectStorage`.
    public let suite: String
    /// The sentence of the contract that was checked.
    public let step: String
    /// What was found instead.
    public let message: String

    /// A suite of your own throws it as well.
    public init(suite: String, step: String, message: String) {
        self.suite = suite
        self.step = step
        self.message = message
    }

    public var description: String { "\(suite), \(step): \(message)" }
}
