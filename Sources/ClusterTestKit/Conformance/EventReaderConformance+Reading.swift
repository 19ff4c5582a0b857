internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

// Reading beside writers, from where one may read, and after a restart.
extension EventReaderConformance {
    static func readsEveryCommitOnce(_ scene: StoreScene) async throws {
        let start = try await reader(scene).currentRevision()
        let rows = try await scene.enrol((0..<8).map { "d-\($0)" })
        let writers = 8
        let each = 25
        let found = try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<writers {
                group.addTask {
                    for _ in 0..<each {
                        let operation = try await scene.enqueue(to: [rows[writer]])
                        try await scene.apply(scene.claim(operation, by: rows[writer]))
                        try await scene.apply(
                            scene.result(.completed, of: operation, by: rows[writer])
                        )
                    }
                }
            }
            // Read on while they write; four events an operation.
            var found: [OperationEvent] = []
            var position = start
            while found.count < writers * each * 4 {
                let page = try await reader(scene).events(
                    after: position,
                    limit: 7,
                    tenant: scene.tenant
                )
                found += page.events
                position = page.reached
                if page.isLast { await Task.yield() }
            }
            try await group.waitForAll()
            return found
        }
        try scene.check.equal(found.count, writers * each * 4, "events")
        let places = found.map { ($0.position.revision.number, $0.position.index ?? -1) }
        try scene.check.isTrue(
            zip(places, places.dropFirst()).allSatisfy { $0 < $1 },
            "events come in the order of their positions, each once"
        )
        try scene.check.equal(
            try await events(scene, after: start),
            found,
            "the events read once more, afterwards"
        )
        var states: [Int64: [OperationEvent.Change]] = [:]
        for event in found { states[event.number, default: []].append(event.change) }
        try scene.check.equal(states.count, writers * each, "operations")
        try scene.check.isTrue(
            states.values.allSatisfy { changes in
                changes.count == 4 && changes[0] == .activity(from: nil, to: .open)
                    && changes[3] == .activity(from: .open, to: .finished)
            },
            "each operation was opened, delivered, completed and finished, in this order"
        )
    }

    static func refuses(_ scene: StoreScene) async throws {
        let reader = try reader(scene)
        _ = try await scene.enqueue(to: [try await scene.enrol("d-1")])
        let newest = try await reader.currentRevision()
        let foreign = HistoryID(bits: newest.history.bits ^ 1)
        let positions = [
            Revision(history: foreign, number: 0),
            Revision(history: newest.history, number: newest.number + 1),
        ]
        for position in positions {
            do {
                let page = try await reader.events(
                    after: position,
                    limit: 10,
                    tenant: scene.tenant
                )
                throw scene.check.failure("after \(position): expected eventsGone, found \(page)")
            } catch let error as OperationQueueError where error.code == .eventsGone {
                try scene.check.equal(error.floor?.history, newest.history, "the floor's history")
                try scene.check.isTrue(
                    error.floor.map { newest.covers($0) } ?? false,
                    "the floor is a revision of the store"
                )
            }
        }
    }

    static func findsTimes(_ scene: StoreScene) async throws {
        let reader = try reader(scene)
        let row = try await scene.enrol("d-1")
        var commits: [(time: Timestamp, revision: Revision)] = []
        for index in 0..<40 {
            let time = scene.now + .seconds(index)
            var plan = scene.plan(for: .devices([row.id]))
            plan.operation.createdAt = time
            commits.append((time, try await scene.enqueue(plan).revision))
            // Revisions that tell no time lie between.
            if index % 7 == 0 { try await scene.enrol("e-\(index)") }
        }
        for (index, commit) in commits.enumerated() {
            let found = try await reader.revision(before: commit.time)
            try scene.check.isTrue(
                found.number < commit.revision.number,
                "\(found) lies before what happened at the time asked for"
            )
            if index > 0 {
                try scene.check.isTrue(
                    found.covers(commits[index - 1].revision),
                    "\(found) holds what happened a second earlier"
                )
            }
        }
        let late = try await reader.revision(before: scene.now + .seconds(3_600))
        try scene.check.isTrue(late.covers(commits[39].revision), "all of it was an hour before")
    }

    static func survivesReopening(_ scene: StoreScene) async throws {
        let reopen = try scene.needs(\.reopen, "way to be opened again")
        let start = try await reader(scene).currentRevision()
        let row = try await scene.enrol("d-1")
        let operation = try await scene.enqueue(to: [row])
        try await scene.apply(scene.claim(operation, by: row))
        let before = try await events(scene, after: start)
        let store = try await reopen()
        do {
            let reader = try scene.check.some(store.events, "the reopened store's events")
            let page = try await reader.events(after: start, limit: 100, tenant: scene.tenant)
            try scene.check.equal(page.events, before, "the events")
        } catch {
            try? await store.close()
            throw error
        }
        try await store.close()
    }
}
