/// A driver broke its contract: what a conformance suite throws.
public struct ConformanceFailure: Error, Sendable, CustomStringConvertible {
    /// The suite, such as `OperationStorage`.
    public let suite: String
    /// The step of the suite: a sentence of the contract.
    public let step: String
    /// What was expected and what was found.
    public let message: String

    /// A suite of your own throws it as well.
    public init(suite: String, step: String, message: String) {
        self.suite = suite
        self.step = step
        self.message = message
    }

    public var description: String { "\(suite): \(step): \(message)" }
}
