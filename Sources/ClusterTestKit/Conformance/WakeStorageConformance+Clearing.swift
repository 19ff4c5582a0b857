internal import ClusterRole
internal import DeviceRegistry
internal import NotificationDispatch
internal import OperationQueue

extension WakeStorageConformance {
    static func settlesDeadToken(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let rows = try await scene.enrol(["old", "renewed"])
        let died = scene.now + .seconds(10)
        try await outbox.register(rows[0], at: scene.now)
        try await outbox.register(rows[1], at: died + .seconds(1))
        _ = try await scene.enqueue(to: rows, wakeAt: scene.now)
        for wake in try await outbox.due().map(\.wake) {
            try await outbox.settle(wake, .deadToken(since: died))
        }
        try scene.check.equal(try await outbox.dueNames(after: 60), ["renewed"], "due")
        try scene.check.isNil(try await scene.device(rows[0].id).push, "the dead registration")
        try scene.check.equal(
            try await scene.device(rows[1].id).push?.address,
            "to-renewed",
            "the registration that is newer than the death"
        )
        try scene.check.isTrue(
            try await outbox.wakes.counters().deadTokens >= 1,
            "dead registrations are counted"
        )
    }

    static func ignoresOldGeneration(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let row = try await scene.enrol("d-1")
        let verdicts: [WakeSettlement.Verdict] = [
            .sent, .abandon(failure: "gone"),
            .retry(at: scene.now + .seconds(900), failure: "busy"),
        ]
        for verdict in verdicts {
            _ = try await scene.enqueue(to: [row], wakeAt: scene.now)
            let attempted = try await outbox.only()
            // While the attempt is under way, something new is to be woken for.
            let newer = try await scene.enqueue(to: [row], wakeAt: scene.now)
            try await outbox.settle(attempted, verdict)
            let left = try await outbox.only()
            try scene.check.equal(left.number, newer.number, "the number after an old \(verdict)")
            try scene.check.isTrue(left.generation > attempted.generation, "a newer generation")
            try await outbox.settle(left, .sent)
        }
    }

    static func ignoresGoneRows(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let row = try await scene.enrol("d-1")
        _ = try await scene.enqueue(to: [row], wakeAt: scene.now)
        let wake = try await outbox.only()
        try await outbox.settle(wake, .sent)
        try await outbox.settle(wake, .retry(at: scene.now, failure: "busy"))
        try scene.check.equal(try await outbox.dueNames(after: 60), [], "due")
        try scene.check.isNil(try await outbox.wakes.nextDue(), "the next due time")
    }

    static func isClearedByContact(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let rows = try await scene.enrol(["comes", "waits"])
        _ = try await scene.enqueue(to: rows, wakeAt: scene.now)
        let answer = try await scene.openWork(for: rows[0]).revision
        try await scene.apply(scene.contact(rows[0], answeredAt: answer))
        try scene.check.equal(try await outbox.dueNames(), ["waits"], "due")
        try scene.check.equal(
            try await outbox.wakes.counters().foundByPolling,
            1,
            "found by polling"
        )
    }

    static func isNotClearedByOlderContact(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let row = try await scene.enrol("d-1")
        let before = try await scene.openWork(for: row).revision
        let operation = try await scene.enqueue(to: [row], wakeAt: scene.now)
        let foreign = Revision(
            history: HistoryID(bits: before.history.bits ^ 1),
            number: operation.number + 1_000
        )
        try await scene.apply(
            scene.contact(row, answeredAt: before),
            scene.contact(row, answeredAt: nil),
            scene.contact(row, answeredAt: foreign)
        )
        let left = try await outbox.only()
        try scene.check.equal(left.number, operation.number, "the number")
        try scene.check.equal(
            try await outbox.wakes.counters().foundByPolling,
            0,
            "found by polling"
        )
    }

    static func expandsInPages(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let fleet = GroupID(rawValue: "fleet")
        let names = (0..<7).map { "d-\($0)" }
        _ = try await scene.enrol(names.shuffledStably(), groups: [fleet])
        let outsider = try await scene.enrol("outsider")
        let operation = try await scene.enqueue(to: fleet, wakeAt: scene.now)
        try scene.check.isTrue(
            try await outbox.wakes.nextDue() != nil,
            "a waiting expansion is something to be done"
        )
        let first = try await outbox.wakes.expand(limit: 3, epoch: scene.epoch, at: scene.now)
        try scene.check.equal(first.added, 3, "rows of the first page")
        try scene.check.equal(first.isFinished, false, "finished after one page")
        try scene.check.equal(
            Set(try await outbox.dueNames()),
            Set(names.prefix(3)),
            "the first page, in order of device"
        )
        let rest = try await outbox.expandAll(limit: 3)
        try scene.check.equal(rest.map(\.added).reduce(0, +), 4, "rows of the other pages")
        try scene.check.isTrue(rest.allSatisfy { $0.added <= 3 }, "a page holds at most its limit")
        let due = try await outbox.due()
        try scene.check.equal(due.map(\.wake.device.rawValue).sorted(), names, "due")
        try scene.check.equal(Set(due.map(\.wake.number)), [operation.number], "numbers")
        try scene.check.isTrue(
            !due.contains { $0.wake.device == outsider.id },
            "nobody outside the group is woken"
        )
        let idle = try await outbox.wakes.expand(limit: 3, epoch: scene.epoch, at: scene.now)
        try scene.check.equal(
            idle,
            WakeExpansionReceipt(added: 0, coalesced: 0, isFinished: true),
            "expanding when nothing waits"
        )
    }

    static func passesBy(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let fleet = GroupID(rawValue: "fleet")
        let names = ["contacted", "earlier", "left", "removed", "waiting"]
        let rows = try await scene.enrol(names, groups: [fleet])
        _ = try await scene.enqueue(to: [rows[4]], code: "first", wakeAt: scene.now)
        let before = try await scene.openWork(for: rows[1]).revision
        let operation = try await scene.enqueue(to: fleet, wakeAt: scene.now)
        let joined = try await scene.enrol("joined-later", groups: [fleet])
        let answer = try await scene.openWork(for: rows[0]).revision
        try await scene.apply(
            scene.contact(rows[0], answeredAt: answer),
            scene.contact(rows[1], answeredAt: before)
        )
        try await scene.change(.leave(fleet, [rows[2].id]))
        try await scene.change(.remove(rows[3].id))
        let receipts = try await outbox.expandAll()
        try scene.check.equal(
            try await outbox.dueNames().sorted(),
            ["earlier", "left", "waiting"],
            "due: \(joined.id) joined after the operation, who left stays bound"
        )
        try scene.check.equal(receipts.map(\.added).reduce(0, +), 2, "rows added")
        try scene.check.equal(receipts.map(\.coalesced).reduce(0, +), 1, "rows joined")
        let waiting = try await outbox.due().first { $0.wake.device == rows[4].id }
        try scene.check.equal(
            waiting?.wake.number,
            operation.number,
            "the number of the joined row"
        )
    }

    static func keepsTenantsApart(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let mine = try await scene.enrol("d-1")
        let theirs = try await scene.enrol("d-1", tenant: scene.otherTenant)
        _ = try await scene.enqueue(to: [mine], wakeAt: scene.now)
        _ = try await scene.enqueue(to: [theirs], wakeAt: scene.now)
        let due = try await outbox.due()
        try scene.check.equal(due.count, 2, "wake-ups due in both tenants")
        let wake = try scene.check.some(due.first { $0.wake.tenant == scene.tenant }, "mine").wake
        try await outbox.settle(wake, .sent)
        try scene.check.equal(
            try await outbox.due().map(\.wake.tenant),
            [scene.otherTenant],
            "whose wake-up is left"
        )
        _ = try await scene.enqueue(to: [mine], wakeAt: scene.now)
        let answer = try await scene.openWork(for: theirs).revision
        try await scene.apply(scene.contact(theirs, answeredAt: answer))
        try scene.check.equal(
            try await outbox.due().map(\.wake.tenant),
            [scene.tenant],
            "whose wake-up is left after the neighbour's contact"
        )
    }

    static func refusesOldEpoch(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let fleet = GroupID(rawValue: "fleet")
        let row = try await scene.enrol("d-1")
        _ = try await scene.enrol(["d-2", "d-3"], groups: [fleet])
        _ = try await scene.enqueue(to: [row], wakeAt: scene.now)
        _ = try await scene.enqueue(to: fleet, wakeAt: scene.now)
        let wake = try await outbox.only()
        let sent = WakeSettlement(
            tenant: wake.tenant,
            device: wake.device,
            generation: wake.generation,
            verdict: .sent
        )
        try await scene.expectFenced("settle") { epoch in
            try await outbox.wakes.settle([sent], epoch: epoch, at: scene.now)
        }
        try await scene.expectFenced("expand") { epoch in
            _ = try await outbox.wakes.expand(limit: 1, epoch: epoch, at: scene.now)
        }
        try scene.check.equal(try await outbox.only(), wake, "the wake-up")
        try scene.check.equal(try await outbox.wakes.counters().sent, 0, "sent")
        let current = try await scene.store.newEpoch()
        let receipt = try await outbox.wakes.expand(limit: 9, epoch: current, at: scene.now)
        try scene.check.equal(receipt.added, 2, "rows of the expansion, from its beginning")
    }

    static func survivesReopening(_ scene: StoreScene) async throws {
        let reopen = try scene.needs(\.reopen, "way to be opened again")
        let outbox = try WakeScene(scene)
        let fleet = GroupID(rawValue: "fleet")
        let row = try await scene.enrol("d-1")
        _ = try await scene.enrol(["d-2", "d-3", "d-4"], groups: [fleet])
        _ = try await scene.enqueue(to: [row], wakeAt: scene.now)
        _ = try await scene.enqueue(to: fleet, wakeAt: scene.now)
        _ = try await outbox.wakes.expand(limit: 1, epoch: scene.epoch, at: scene.now)
        let before = try await outbox.due().map(\.wake)
        let store = try await reopen()
        let again = StoreScene(store: store, epoch: try await store.newEpoch(), check: scene.check)
        let later = try WakeScene(again)
        try again.check.equal(try await later.due().map(\.wake), before, "the wake-ups")
        let receipts = try await later.expandAll()
        try again.check.equal(receipts.map(\.added).reduce(0, +), 2, "the rest of the expansion")
        try await store.close()
    }
}

extension Array {
    /// The same elements in another, always equal order.
    func shuffledStably() -> [Element] {
        let evens = indices.filter { $0.isMultiple(of: 2) }.map { self[$0] }
        let odds = indices.filter { !$0.isMultiple(of: 2) }.map { self[$0] }
        return odds.reversed() + evens
    }
}
