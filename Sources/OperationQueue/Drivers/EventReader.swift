public import ClusterRole

/// Reads the log of revisions as events: the driver protocol beneath ``OperationEvents``.
///
/// Drivers: in memory, the embedded store. The events of a revision are committed with it, so a reader
/// that goes on from the revision it has reached misses none and meets none twice.
public protocol EventReader: Sendable {
    /// The newest revision.
    func currentRevision() async throws -> Revision

    /// Events of the revisions after one, oldest first: whole revisions, until at least `limit` events are
    /// found, ``maximumRevisionsExamined`` revisions were looked at, or the newest is reached.
    ///
    /// - Parameters:
    ///   - revision: what has been seen.
    ///   - limit: how many events are enough; a page may hold the rest of its last revision beyond it.
    ///   - tenant: whose events.
    /// - Throws: ``OperationQueueError`` with code `eventsGone` if the log no longer reaches back so far,
    ///   or `revision` is of another history or was never reached; it names the floor.
    func events(
        after revision: Revision,
        limit: Int,
        tenant: TenantID
    ) async throws -> EventPage

    /// A revision before which nothing happened at or after `time`: the newest such one, or one a little
    /// older where the log does not tell; the oldest the log reaches, if everything in it is newer.
    ///
    /// "Time" is the writer's clock when it committed. It takes a number of reads that grows with the
    /// logarithm of the log's length.
    func revision(before time: Timestamp) async throws -> Revision
}

/// How many revisions one call of ``EventReader/events(after:limit:tenant:)`` looks at, at most: so that a
/// tenant with few events among many does not hold a reader up.
public let maximumRevisionsExamined = 4_096

/// A page of events.
public struct EventPage: Hashable, Sendable {
    public var events: [OperationEvent]
    /// All events up to this revision are in this page or before it.
    public var reached: Revision
    /// The newest revision when the page was read.
    public var newest: Revision

    public init(events: [OperationEvent], reached: Revision, newest: Revision) {
        self.events = events
        self.reached = reached
        self.newest = newest
    }

    /// Whether nothing newer was there.
    public var isLast: Bool { reached == newest }
}

/// The search behind ``EventReader/revision(before:)``, for drivers.
package enum RevisionSearch {
    /// How many entries one look passes by to find one that tells its time.
    package static let span = 256

    /// - Parameters:
    ///   - floor: the oldest number after which the log can be read.
    ///   - newest: the newest number.
    ///   - time: what is looked for.
    ///   - look: the time of the first entry that tells one, at or after a number and within ``span``
    ///     entries; `nil` if none does.
    /// - Returns: the largest number known to lie before everything at or after `time`.
    package static func number(
        before time: Timestamp,
        floor: Int64,
        newest: Int64,
        _ look: (Int64) throws -> Timestamp?
    ) rethrows -> Int64 {
        var low = floor
        var high = newest
        while low < high {
            let middle = low + (high - low + 1) / 2
            // Where nothing is told the answer stays on the safe side: earlier.
            if let told = try look(middle), told < time { low = middle } else { high = middle - 1 }
        }
        return low
    }
}
