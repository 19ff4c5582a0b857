internal import Synchronization

/// Reads an audit log.
public protocol AuditLogReader: Sendable {
    /// A page, newest first, of the entries before a number.
    ///
    /// A call looks at no more than ``maximumAuditScan`` entries, whatever it finds.
    ///
    /// - Parameters:
    ///   - filter: which entries are asked for.
    ///   - before: only entries with lower numbers; `nil` begins with the newest.
    ///   - limit: the most entries of the page.
    func entries(matching filter: AuditFilter, before: Int64?, limit: Int) async throws -> AuditPage

    /// Entries behind a number, oldest first.
    func entries(after number: Int64, limit: Int) async throws -> [AuditEntry]

    /// How far the log reaches.
    func auditBounds() async throws -> AuditBounds
}

/// Keeps an audit log: the driver protocol. Nothing is ever changed, and only the oldest entries go.
public protocol AuditLog: AuditLogReader {
    /// Appends records in order, each bound to the one before it; durable when it returns.
    ///
    /// It takes no revision: no replica holds the log.
    func append(_ records: [AuditRecord], epoch: Epoch) async throws -> [AuditEntry]

    /// Removes the oldest entries as long as they are from before `time`, and those in excess of `count`,
    /// at most `limit` of them.
    ///
    /// - Returns: how many went.
    func purgeAudit(
        before time: Timestamp,
        keepingAtMost count: Int,
        limit: Int,
        epoch: Epoch
    ) async throws -> Int
}

/// The most entries one page of the audit log looks at: a tenth of a second's work.
public let maximumAuditScan: Int64 = 10_000

/// An audit log in memory: complete, and gone with the process.
public final class InMemoryAuditLog: AuditLog {
    private struct State {
        var entries: [AuditEntry] = []
        var bounds = AuditBounds()
    }

    private let ledger: InMemoryLedger
    private let state = Mutex(State())

    /// - Parameter ledger: the ledger that all in-memory drivers of one store share.
    public init(ledger: InMemoryLedger) { self.ledger = ledger }

    public func append(_ records: [AuditRecord], epoch: Epoch) async throws -> [AuditEntry] {
        try ledger.guarded(epoch: epoch) { _ in
            let entries = state.withLock { state in
                var chain = AuditChain(after: state.bounds.head)
                let entries = records.map { chain.onRecord($0) }
                state.entries += entries
                state.bounds.head = chain.mark
                return entries
            }
            return ([], entries)
        }.result
    }

    public func purgeAudit(
        before time: Timestamp,
        keepingAtMost count: Int,
        limit: Int,
        epoch: Epoch
    ) async throws -> Int {
        try ledger.guarded(epoch: epoch) { _ in
            let purged = state.withLock { state in
                let excess = max(0, state.entries.count - max(0, count))
                let going = state.entries.prefix(max(0, limit)).enumerated()
                    .prefix { $0.offset < excess || $0.element.record.at < time }
                    .count
                if going > 0 { state.bounds.floor = state.entries[going - 1].mark }
                state.entries.removeFirst(going)
                return going
            }
            return ([], purged)
        }.result
    }

    public func entries(
        matching filter: AuditFilter,
        before: Int64?,
        limit: Int
    ) async throws -> AuditPage {
        state.withLock { state in
            let below = min(before ?? .max, state.bounds.head.number + 1)
            let lowest = max(state.bounds.floor.number + 1, below - maximumAuditScan)
            var found: [AuditEntry] = []
            for entry in state.entries.reversed() where entry.number < below {
                if entry.number < lowest { break }
                guard filter.matches(entry.record) else { continue }
                found.append(entry)
                if found.count >= max(1, limit) {
                    return AuditPage(entries: found, next: entry.number)
                }
            }
            let isLast = lowest <= state.bounds.floor.number + 1
            return AuditPage(entries: found, next: isLast ? nil : lowest)
        }
    }

    public func entries(after number: Int64, limit: Int) async throws -> [AuditEntry] {
        state.withLock { state in
            Array(state.entries.drop { $0.number <= number }.prefix(max(0, limit)))
        }
    }

    public func auditBounds() async throws -> AuditBounds { state.withLock { $0.bounds } }

    /// Puts other entries in place of those that are there, as somebody with the file in hand would.
    package func tamper(_ change: @Sendable (inout [AuditEntry]) -> Void) {
        state.withLock { change(&$0.entries) }
    }
}
