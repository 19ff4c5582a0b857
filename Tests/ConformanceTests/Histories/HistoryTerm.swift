/// What the terms of an operation can bring about in a history: each is to have happened often, or the
/// histories would prove nothing about it.
enum HistoryTerm: String, CaseIterable {
    case approval, cancellationTimeout, confirmation, dependency, expiry, failedDependency
    case laterWave, lateAnswer, noRepeat, notBefore, notNow, pause, rejection, repeatedFailure
    case resumption, retriesUsedUp, retry, rolloutAbort, rolloutPause, sequence, stepTimeout
    case stop, strict, supersede, supersededWhole, wave, wholeTimeout, window
}

/// How many histories saw each.
struct TermTally {
    private(set) var histories = 0
    private var counts: [HistoryTerm: Int] = [:]

    mutating func count(_ seen: Set<HistoryTerm>) {
        histories += 1
        for term in seen { counts[term, default: 0] += 1 }
    }

    mutating func add(_ other: TermTally) {
        histories += other.histories
        counts.merge(other.counts, uniquingKeysWith: +)
    }

    /// Terms that fewer histories saw than that.
    func rarer(than minimum: Int) -> [HistoryTerm] {
        HistoryTerm.allCases.filter { counts[$0, default: 0] < minimum }
    }

    var summary: String {
        "\(histories) histories: "
            + HistoryTerm.allCases.map { "\($0.rawValue) \(counts[$0, default: 0])" }
            .joined(separator: ", ")
    }
}
