public import ClusterRole

extension InMemoryOperationStorage: EventReader {
    public func events(
        after revision: Revision,
        limit: Int,
        tenant: TenantID
    ) async throws -> EventPage {
        let (entries, newest) = ledger.entries(
            after: revision.number,
            limit: maximumRevisionsExamined
        )
        let floor = Revision(history: newest.history, number: 0)
        guard revision.history == newest.history, revision.number <= newest.number else {
            throw OperationQueueError.eventsGone(after: revision, floor: floor, newest: newest)
        }
        var page = EventPage(events: [], reached: revision, newest: newest)
        for entry in entries {
            try page.take(entry.note, of: entry.number, tenant: tenant)
            if page.events.count >= limit { return page }
        }
        if entries.count < maximumRevisionsExamined { page.reached = newest }
        return page
    }

    public func revision(before time: Timestamp) async throws -> Revision {
        let newest = ledger.revision
        let number = try RevisionSearch.number(before: time, floor: 0, newest: newest.number) {
            try ledger.entries(after: $0 - 1, limit: RevisionSearch.span).entries.lazy
                .compactMap(\.note).first.map { try TransitionCoding.time(of: $0) }
        }
        return Revision(history: newest.history, number: number)
    }
}

extension EventPage {
    /// Takes the events of the next revision.
    package mutating func take(_ note: ChangeNote?, of number: Int64, tenant: TenantID) throws {
        reached = Revision(history: newest.history, number: number)
        guard let note else { return }
        for (index, transition) in try TransitionCoding.decode(note).enumerated()
        where transition.tenant == tenant {
            events.append(transition.event(at: EventPosition(reached, index: index)))
        }
    }
}

extension InMemoryLedger {
    /// Runs one guarded write that logs what it does as it does it.
    ///
    /// - Parameter body: gets the number this write will have and the draft of its entry in the log; an
    ///   empty draft takes no revision. If it throws, it must have changed nothing.
    package func guarded<Result>(
        epoch: Epoch,
        _ body: (_ number: Int64, inout ChangeDraft) throws -> Result
    ) throws -> (result: Result, revision: Revision) {
        try guardedNoting(epoch: epoch) { number in
            var draft = ChangeDraft()
            let result = try body(number, &draft)
            return (draft.keys, draft.note, result)
        }
    }
}
