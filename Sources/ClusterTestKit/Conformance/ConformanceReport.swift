/// What a conformance suite did with one driver: every step, passed or visibly skipped.
///
/// A step that fails throws ``ConformanceFailure`` instead.
public struct ConformanceReport: Sendable, CustomStringConvertible {
    /// A step that was left out.
    public struct Skip: Sendable, Hashable, CustomStringConvertible {
        public let step: String
        /// Which capability the driver did not declare.
        public let reason: String
        public var description: String { "\(step) (\(reason))" }
    }

    public let suite: String
    /// The steps the driver passed, in the order of the contract.
    public internal(set) var passed: [String] = []
    /// The steps left out because the driver lacks a capability. Show them: a skip is no pass.
    public internal(set) var skipped: [Skip] = []

    init(suite: String) { self.suite = suite }

    public var description: String {
        let skips = skipped.map { "\n  skipped: \($0)" }.joined()
        return "\(suite): \(passed.count) steps passed, \(skipped.count) skipped\(skips)"
    }
}

/// Thrown inside a step whose driver lacks what the step needs.
struct StepSkip: Error, Sendable {
    let reason: String
}

/// One sentence of a contract and the code that tries it.
struct ConformanceStep<Subject: Sendable>: Sendable {
    let name: String
    let body: @Sendable (Subject) async throws -> Void

    init(_ name: String, _ body: @escaping @Sendable (Subject) async throws -> Void) {
        self.name = name
        self.body = body
    }
}

/// Compares what a driver did with what its contract says; throws ``ConformanceFailure``.
struct ConformanceCheck: Sendable {
    let suite: String
    let step: String

    func failure(_ message: String) -> ConformanceFailure {
        ConformanceFailure(suite: suite, step: step, message: message)
    }

    func equal<Value: Equatable>(_ found: Value, _ expected: Value, _ what: String) throws {
        if found != expected {
            throw failure("\(what): expected \(brief(expected)), found \(brief(found))")
        }
    }

    func isTrue(_ condition: Bool, _ expectation: String) throws {
        if !condition { throw failure("expected: \(expectation)") }
    }

    func some<Value>(_ value: Value?, _ what: String) throws -> Value {
        guard let value else { throw failure("\(what): expected a value, found nil") }
        return value
    }

    func isNil<Value>(_ value: Value?, _ what: String) throws {
        if let value { throw failure("\(what): expected nil, found \(brief(value))") }
    }

    private func brief(_ value: Any) -> String {
        let text = String(describing: value)
        return text.count > 600 ? text.prefix(600) + "…" : text
    }
}
