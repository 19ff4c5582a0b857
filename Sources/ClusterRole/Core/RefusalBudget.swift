/// Decides which refusals of a flood are recorded: so many a minute, the others are counted.
///
/// Strangers must not be able to fill a disk. What is counted stands in the next entry.
struct RefusalBudget: Sendable {
    enum Directive: Equatable, Sendable {
        /// Record it, saying that so many before it were not.
        case record(suppressed: Int64)
        case count
    }

    private let perMinute: Int
    private var windowBegan: Duration?
    private var used = 0
    private(set) var suppressed: Int64 = 0

    init(perMinute: Int) { self.perMinute = max(1, perMinute) }

    /// A request was refused, at a moment of the monotonic clock.
    mutating func onRefusal(at now: Duration) -> Directive {
        if windowBegan.map({ now - $0 >= .seconds(60) }) ?? true {
            windowBegan = now
            used = 0
        }
        guard used < perMinute else {
            suppressed += 1
            return .count
        }
        used += 1
        defer { suppressed = 0 }
        return .record(suppressed: suppressed)
    }

    /// The refusal could not be recorded: it and what it would have told of are counted.
    mutating func onFailure(suppressed count: Int64) { suppressed += count + 1 }
}
