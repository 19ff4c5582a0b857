#if SQLite
internal import OperationQueue

/// What waits in the spool, and what the spool therefore still takes.
struct SpoolGauge: Hashable, Sendable {
    let limits: SpoolLimits
    private(set) var entries = 0
    private(set) var bytes = 0

    init(limits: SpoolLimits) { self.limits = limits }

    mutating func add(entries count: Int, bytes size: Int) {
        entries += count
        bytes += size
    }

    mutating func remove(entries count: Int, bytes size: Int) {
        entries = max(0, entries - count)
        bytes = max(0, bytes - size)
    }

    mutating func set(entries count: Int, bytes size: Int) {
        entries = count
        bytes = size
    }

    var stage: SpoolStage {
        if isAtLeast(100) { return .full }
        if isAtLeast(limits.handingOutPercent) { return .notHandingOut }
        if isAtLeast(limits.contactsPercent) { return .droppingContacts }
        return .open
    }

    private func isAtLeast(_ percent: Int) -> Bool {
        reaches(entries, limits.maximumEntries, percent)
            || reaches(bytes, limits.maximumBytes, percent)
    }

    /// Whether `value` is at least `percent` of `limit`, without overflow.
    private func reaches(_ value: Int, _ limit: Int, _ percent: Int) -> Bool {
        Double(value) * 100 >= Double(limit) * Double(percent)
    }
}

extension InboxEntry {
    var isContact: Bool {
        if case .contact = body { true } else { false }
    }

    var isClaim: Bool {
        if case .claim = body { true } else { false }
    }
}
#endif
