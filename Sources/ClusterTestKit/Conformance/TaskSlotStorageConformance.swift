internal import ClusterMembership
internal import ClusterRole

/// The contract of `TaskSlotStorage`.
public struct TaskSlotStorageConformance: Sendable {
    private let makeStore: StoreFactory
    private let timeLimit: Duration

    /// - Parameters:
    ///   - timeLimit: the most one step may take.
    ///   - makeStore: makes an empty store for each step.
    public init(
        timeLimit: Duration = standardStepTimeLimit,
        _ makeStore: @escaping StoreFactory
    ) {
        self.timeLimit = timeLimit
        self.makeStore = makeStore
    }

    /// Runs every step.
    ///
    /// - Returns: what passed and what was skipped.
    /// - Throws: ``ConformanceFailure`` from the first step that fails.
    public func run() async throws -> ConformanceReport {
        try await runStoreConformance("TaskSlotStorage", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("free slots are taken, with an epoch each, and listed in order", acquires),
        .init("the same holder takes a slot again with a higher epoch", acquiresAgain),
        .init("what a slot's progress was is kept for the next holder", keepsProgress),
        .init("progress of an older epoch is refused and changes nothing", fences),
        .init("renewing tells what is still held", renews),
        .init("giving back what is no longer held is harmless", releasesHarmlessly),
        .init("a task that is removed is forgotten with its slots", removes),
        .init("a slot that is held is given to nobody else", excludes),
        .init("a slot given back is taken at once, with a higher epoch", passesOn),
        .init("a slot that ran out is taken by another, and not by a renewal after that", runsOut),
        .init("of many who ask at once, one gets it", letsOneWin),
        .init("slots and their epochs are there after a restart", survivesReopening),
    ]

    private static let first = NodeID(rawValue: "manager-1")
    private static let second = NodeID(rawValue: "manager-2")
    private static let duration = Duration.seconds(30)

    private static func slot(_ number: Int, of task: String = "asking") -> TaskSlotID {
        TaskSlotID(task: ClusterTaskName(rawValue: task), number: number)
    }

    private static func storage(_ scene: StoreScene) throws -> any TaskSlotStorage {
        try scene.needs(\.taskSlots, "TaskSlotStorage")
    }

    private static func competing(_ scene: StoreScene) throws -> any TaskSlotStorage {
        guard scene.store.capabilities.contains(.competingLeaseHolders) else {
            throw StepSkip(reason: "the store belongs to one holder")
        }
        return try storage(scene)
    }

    private static func claim(_ slot: TaskSlot) -> TaskSlotClaim {
        TaskSlotClaim(slot: slot.id, holder: slot.holder ?? first, epoch: slot.epoch)
    }

    /// Takes one slot, and fails if it is not given.
    private static func take(
        _ id: TaskSlotID,
        _ holder: NodeID,
        _ scene: StoreScene
    ) async throws -> TaskSlot {
        let taken = try await storage(scene).acquire([id], holder: holder, duration: duration)
        try scene.check.equal(taken.map(\.id), [id], "the slots \(holder) took")
        try scene.check.equal(taken.first?.holder, holder, "the holder")
        return try scene.check.some(taken.first, "the slot")
    }

    private static func progress(_ scene: StoreScene) -> TaskProgress {
        TaskProgress(
            next: scene.now + .seconds(20),
            frequency: .milliseconds(10_250),
            running: .init(due: scene.now, attempt: 3, skipped: 7),
            last: scene.now - .seconds(10)
        )
    }

    private static func expectLost(
        _ check: ConformanceCheck,
        _ what: String,
        _ call: () async throws -> Void
    ) async throws {
        do {
            try await call()
        } catch let error as ClusterMembershipError where error.code == .slotLost {
            return
        }
        throw check.failure("\(what): expected slotLost, but it was accepted")
    }

    private static func acquires(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        try scene.check.equal(try await storage.slots(), [], "slots at first")
        let wanted = [slot(10), slot(2), slot(0, of: "cleaning")]
        let taken = try await storage.acquire(wanted, holder: first, duration: duration)
        try scene.check.equal(taken.map(\.id).sorted(), wanted.sorted(), "the slots taken")
        for one in taken {
            try scene.check.isTrue(one.epoch > .none, "an epoch for \(one.id)")
            try scene.check.isTrue(one.remaining > .zero, "the lease of \(one.id) lasts")
            try scene.check.isNil(one.progress, "progress of \(one.id)")
        }
        let listed = try await storage.slots()
        try scene.check.equal(
            listed.map(\.id),
            [slot(2), slot(10), slot(0, of: "cleaning")],
            "the slots listed"
        )
        try scene.check.equal(Set(listed.map(\.holder)), [first], "their holders")
    }

    private static func acquiresAgain(_ scene: StoreScene) async throws {
        let one = try await take(slot(0), first, scene)
        let two = try await take(slot(0), first, scene)
        try scene.check.isTrue(two.epoch > one.epoch, "\(two.epoch) is above \(one.epoch)")
    }

    private static func keepsProgress(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        let held = try await take(slot(1), first, scene)
        var wanted = progress(scene)
        try await storage.advance(claim(held), to: wanted)
        try await storage.advance(claim(held), to: wanted)
        try scene.check.equal(try await storage.slots().first?.progress, wanted, "the progress")
        wanted.running = nil
        wanted.last = nil
        try await storage.advance(claim(held), to: wanted)
        try await storage.release([claim(held)])
        let again = try await take(slot(1), first, scene)
        try scene.check.equal(again.progress, wanted, "the progress for the next holder")
    }

    private static func fences(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        let old = try await take(slot(1), first, scene)
        let new = try await take(slot(1), first, scene)
        let kept = progress(scene)
        try await storage.advance(claim(new), to: kept)
        var other = kept
        other.next = scene.now + .seconds(99)
        try await expectLost(scene.check, "progress of the old epoch") {
            try await storage.advance(claim(old), to: other)
        }
        try await storage.release([claim(new)])
        try await expectLost(scene.check, "progress of what was given back") {
            try await storage.advance(claim(new), to: other)
        }
        let stranger = TaskSlotClaim(slot: slot(5), holder: first, epoch: new.epoch)
        try await expectLost(scene.check, "progress of a slot nobody ever held") {
            try await storage.advance(stranger, to: other)
        }
        let slots = try await storage.slots()
        try scene.check.equal(slots.map(\.id), [slot(1)], "the slots")
        try scene.check.equal(slots.first?.progress, kept, "the progress")
        try scene.check.isNil(slots.first?.holder, "the holder after giving it back")
    }

    private static func renews(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        let old = try await take(slot(0), first, scene)
        let one = try await take(slot(0), first, scene)
        let two = try await take(slot(1), first, scene)
        let never = TaskSlotClaim(slot: slot(7), holder: first, epoch: one.epoch)
        let renewed = try await storage.renew(
            [claim(old), claim(two), never],
            duration: duration
        )
        try scene.check.equal(renewed.map(\.id), [slot(1)], "what is still held")
        try scene.check.equal(renewed.first?.epoch, two.epoch, "its epoch")
        try scene.check.isTrue(renewed[0].remaining > .zero, "the lease lasts")
    }

    private static func releasesHarmlessly(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        let old = try await take(slot(0), first, scene)
        let new = try await take(slot(0), first, scene)
        try await storage.release([claim(old)])
        let renewed = try await storage.renew([claim(new)], duration: duration)
        try scene.check.equal(renewed.map(\.epoch), [new.epoch], "after giving back an old one")
        try await storage.release([claim(new)])
        try await storage.release([claim(new)])
        let after = try await storage.renew([claim(new)], duration: duration)
        try scene.check.equal(after, [], "renewed after giving it back")
    }

    private static func removes(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        let held = try await take(slot(0), first, scene)
        _ = try await take(slot(0, of: "cleaning"), first, scene)
        try await storage.remove("asking")
        try await storage.remove("asking")
        try scene.check.equal(
            try await storage.slots().map(\.id),
            [slot(0, of: "cleaning")],
            "the slots left"
        )
        try await expectLost(scene.check, "progress of a removed task") {
            try await storage.advance(claim(held), to: progress(scene))
        }
    }

    private static func excludes(_ scene: StoreScene) async throws {
        let storage = try competing(scene)
        let held = try await take(slot(0), first, scene)
        let taken = try await storage.acquire(
            [slot(0), slot(1)],
            holder: second,
            duration: duration
        )
        try scene.check.equal(taken.map(\.id), [slot(1)], "what another gets")
        let listed = try await storage.slots()
        try scene.check.equal(listed.map(\.holder), [first, second], "the holders")
        try scene.check.equal(listed.first?.epoch, held.epoch, "the epoch")
        try await storage.release([TaskSlotClaim(slot: slot(0), holder: second, epoch: held.epoch)])
        try scene.check.equal(
            try await storage.slots().first?.holder,
            first,
            "the holder after a stranger gave it back"
        )
    }

    private static func passesOn(_ scene: StoreScene) async throws {
        let storage = try competing(scene)
        let held = try await take(slot(0), first, scene)
        try await storage.advance(claim(held), to: progress(scene))
        try await storage.release([claim(held)])
        let taken = try await take(slot(0), second, scene)
        try scene.check.isTrue(taken.epoch > held.epoch, "\(taken.epoch) is above \(held.epoch)")
        try scene.check.equal(taken.progress, progress(scene), "the progress")
        try await expectLost(scene.check, "progress of the holder before") {
            try await storage.advance(claim(held), to: progress(scene))
        }
    }

    private static func runsOut(_ scene: StoreScene) async throws {
        let storage = try competing(scene)
        let advance = try scene.needs(\.advanceLeaseClock, "lease clock a test can move")
        let held = try await take(slot(0), first, scene)
        try await advance(.seconds(20))
        _ = try await storage.renew([claim(held)], duration: duration)
        try await advance(.seconds(20))
        let refused = try await storage.acquire([slot(0)], holder: second, duration: duration)
        try scene.check.equal(refused, [], "taken within the renewed lease")
        try await advance(.seconds(11))
        try scene.check.isNil(try await storage.slots().first?.holder, "the holder afterwards")
        let taken = try await take(slot(0), second, scene)
        try scene.check.isTrue(taken.epoch > held.epoch, "\(taken.epoch) is above \(held.epoch)")
        let late = try await storage.renew([claim(held)], duration: duration)
        try scene.check.equal(late, [], "renewed too late")
    }

    private static func letsOneWin(_ scene: StoreScene) async throws {
        let storage = try competing(scene)
        let winners = try await withThrowingTaskGroup(of: [TaskSlot].self) { group in
            for index in 0..<16 {
                group.addTask {
                    try await storage.acquire(
                        [slot(0)],
                        holder: NodeID(rawValue: "manager-\(index)"),
                        duration: duration
                    )
                }
            }
            return try await group.reduce(into: [TaskSlot]()) { $0 += $1 }
        }
        try scene.check.equal(winners.count, 1, "winners")
    }

    private static func survivesReopening(_ scene: StoreScene) async throws {
        let reopen = try scene.needs(\.reopen, "way to be opened again")
        let held = try await take(slot(0), first, scene)
        try await storage(scene).advance(claim(held), to: progress(scene))
        let store = try await reopen()
        let again = StoreScene(store: store, epoch: try await store.newEpoch(), check: scene.check)
        let listed = try await storage(again).slots()
        try again.check.equal(listed.map(\.progress), [progress(scene)], "the progress")
        let taken = try await take(slot(0), first, again)
        try again.check.isTrue(taken.epoch > held.epoch, "\(taken.epoch) is above \(held.epoch)")
        try await store.close()
    }
}
