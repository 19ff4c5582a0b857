internal import Metrics

/// Counts outcomes for swift-metrics: `reeve_wake_attempts{outcome}`.
struct WakeMeters: Sendable {
    private let counters: [String: Counter]

    init() {
        counters = Dictionary(
            uniqueKeysWithValues: PushOutcome.names.map {
                ($0, Counter(label: "reeve_wake_attempts", dimensions: [("outcome", $0)]))
            }
        )
    }

    func count(_ outcome: PushOutcome) { counters[outcome.name]?.increment() }
}

extension PushOutcome {
    /// The kind of outcome, without reasons.
    var name: String {
        switch self {
        case .accepted: "accepted"
        case .deadToken: "deadToken"
        case .retry: "retry"
        case .rejected: "rejected"
        case .unknown: "unknown"
        }
    }

    static let names = ["accepted", "deadToken", "retry", "rejected", "unknown"]
}
