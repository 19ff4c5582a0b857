#if SQLite
public import ClusterRole
public import OperationQueue
internal import SQLiteEngine

extension EmbeddedStore: EventReader {
    public func events(
        after revision: Revision,
        limit: Int,
        tenant: TenantID
    ) async throws -> EventPage {
        let history = history
        return try await file.read { connection in
            let bounds = try connection.logBounds(of: history)
            guard revision.history == history, revision.number >= bounds.floor.number,
                revision.number <= bounds.newest.number
            else {
                throw OperationQueueError.eventsGone(
                    after: revision,
                    floor: bounds.floor,
                    newest: bounds.newest
                )
            }
            var page = EventPage(events: [], reached: revision, newest: bounds.newest)
            let last = min(
                bounds.newest.number,
                revision.number + Int64(maximumRevisionsExamined)
            )
            while page.reached.number < last {
                let entries = try connection.notes(
                    after: page.reached.number,
                    upTo: last,
                    limit: EmbeddedStore.notesARead
                )
                for entry in entries {
                    try page.take(entry.note, of: entry.number, tenant: tenant)
                    if page.events.count >= limit { return page }
                }
                if entries.count < EmbeddedStore.notesARead {
                    page.reached = Revision(history: history, number: last)
                }
            }
            return page
        }
    }

    public func revision(before time: Timestamp) async throws -> Revision {
        let history = history
        return try await file.read { connection in
            let bounds = try connection.logBounds(of: history)
            let number = try RevisionSearch.number(
                before: time,
                floor: bounds.floor.number,
                newest: bounds.newest.number
            ) { middle in
                let entries = try connection.notes(
                    after: middle - 1,
                    upTo: bounds.newest.number,
                    limit: RevisionSearch.span
                )
                return try entries.lazy.compactMap(\.note).first
                    .map { try TransitionCoding.time(of: $0) }
            }
            return Revision(history: history, number: number)
        }
    }

    /// Log entries read at once while looking for events.
    private static let notesARead = 256
}

extension SQLConnection {
    /// From where to where the log can be read.
    fileprivate func logBounds(
        of history: HistoryID
    ) throws -> (floor: Revision, newest: Revision) {
        (
            Revision(history: history, number: try metaNumber(MetaName.floor)),
            Revision(history: history, number: try revisionNumber())
        )
    }

    /// The notes of the revisions after `number`, oldest first.
    fileprivate func notes(
        after number: Int64,
        upTo last: Int64,
        limit: Int
    ) throws -> [(number: Int64, note: ChangeNote?)] {
        try rows(
            """
            SELECT number, keys, sum FROM revision_log WHERE number > ? AND number <= ?
            ORDER BY number LIMIT ?
            """,
            number,
            last,
            limit
        ) {
            try $0.verify("revision_log", sum: 2)
            return ($0.int64(0), try ChangeKeyCoding.note(in: $0.blob(1)))
        }
    }
}
#endif
