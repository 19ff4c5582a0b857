package import ClusterRole

/// Decides which slots a node takes, runs and gives up.
///
/// A value: every input is an `on<Event>` with the time, every output a list of directives. The wall time
/// decides only what is due; whether a slot is still held is decided by the monotonic time.
package struct ClusterTaskCore: Sendable {
    /// Both times of one moment.
    package struct Moment: Hashable, Sendable {
        package var wall: Timestamp
        package var monotonic: Duration

        package init(wall: Timestamp, monotonic: Duration) {
            self.wall = wall
            self.monotonic = monotonic
        }
    }

    /// What the shell must do, in order.
    package enum Directive: Hashable, Sendable {
        /// Renew these, if any, and answer with `onRenewed`; then read slots and members and answer with
        /// `onLooked`, or with `onLookFailed` whichever of it failed.
        case look(renewing: [TaskSlotClaim])
        /// Answer with `onAcquired`, or `onAcquireFailed`.
        case acquire([TaskSlotID])
        /// Answer with `onReleased`, also when it failed.
        case release([TaskSlotClaim])
        /// Answer with `onAdvanced`, or `onAdvanceFailed`.
        case advance(TaskSlotClaim, TaskProgress)
        /// Run the task's body; answer with `onRunEnded`.
        case start(TaskRun)
        /// Cancel the body; it answers with `onRunEnded` when it has returned.
        case cancel(TaskRun)
        /// Call `onTick` after this; earlier schedules are void.
        case scheduleNext(after: Duration)
        /// All is given back: end.
        case stop
    }

    enum Phase: Hashable, Sendable {
        case idle
        /// The store has been asked to keep the progress; afterwards the run begins, if there is one. With
        /// a time the store did not answer as it should, and is asked again then.
        case writing(TaskProgress, then: TaskRun?, retryAt: Duration?)
        case running(TaskRun)
    }

    struct Held: Sendable {
        var claim: TaskSlotClaim
        /// When this node stops by itself; `nil` for a lease that never runs out.
        var deadline: Duration?
        /// As the store has it.
        var progress: TaskProgress
        var phase = Phase.idle
        /// Another node's by placement: it is given back when nothing runs.
        var isGivenUp = false
    }

    let node: NodeID
    let tasks: [ClusterTaskName: ClusterTask]
    let timing: LeaseTiming
    let handOverLimit: Duration
    var held: [TaskSlotID: Held] = [:]
    /// Slots whose body was cancelled and has not returned: they are not taken again before.
    var stopping: Set<TaskSlotID> = []
    var acquiring: Set<TaskSlotID> = []
    var lookAt = Duration.zero
    var isLooking = false
    /// Calls to give slots back that the store has not answered.
    var releases = 0
    var leaveUntil: Duration?
    var hasEnded = false

    package init(
        node: NodeID,
        tasks: [ClusterTask],
        timing: LeaseTiming,
        handOverLimit: Duration
    ) {
        self.node = node
        self.tasks = Dictionary(tasks.map { ($0.name, $0) }) { first, _ in first }
        self.timing = timing
        self.handOverLimit = handOverLimit
    }

    /// The slots held now, in order.
    package var heldSlots: [TaskSlotID] { held.keys.sorted() }

    package mutating func onStart(at now: Moment) -> [Directive] {
        lookAt = now.monotonic
        return settle(at: now)
    }

    /// Time has passed.
    package mutating func onTick(at now: Moment) -> [Directive] { settle(at: now) }

    /// The store renewed what it could of the claims that were asked for at `askedAt`.
    package mutating func onRenewed(
        _ renewed: [TaskSlot],
        of claims: [TaskSlotClaim],
        askedAt: Duration,
        at now: Moment
    ) -> [Directive] {
        var found: [TaskSlotID: TaskSlot] = [:]
        for slot in renewed { found[slot.id] = slot }
        var directives: [Directive] = []
        for claim in claims where held[claim.slot]?.claim == claim {
            if let slot = found[claim.slot], slot.epoch == claim.epoch, slot.holder == node {
                let end = deadline(of: slot, askedAt: askedAt)
                held[claim.slot]?.deadline = end
            } else {
                directives += lose(claim.slot)
            }
        }
        return directives + settle(at: now)
    }

    /// What the store and the registry say now.
    package mutating func onLooked(
        _ slots: [TaskSlot],
        _ members: [Member],
        at now: Moment
    ) -> [Directive] {
        isLooking = false
        guard leaveUntil == nil else { return settle(at: now) }
        var known: [TaskSlotID: TaskSlot] = [:]
        for slot in slots { known[slot.id] = slot }
        var wanted: [TaskSlotID] = []
        for task in tasks.values.sorted(by: { $0.name < $1.name }) {
            let candidates = TaskPlacementRules.candidates(for: task, among: members)
            for number in 0..<task.slots {
                let slot = TaskSlotID(task: task.name, number: number)
                let owner = TaskPlacementRules.owner(of: slot, among: candidates)
                if held[slot] != nil {
                    let isGivenUp = isGivenUp(task, owner, among: members)
                    held[slot]?.isGivenUp = isGivenUp
                } else if owner == node, mayTake(slot, known[slot], task, candidates.count) {
                    wanted.append(slot)
                }
            }
        }
        acquiring.formUnion(wanted)
        return (wanted.isEmpty ? [] : [.acquire(wanted)]) + settle(at: now)
    }

    /// The store or the registry could not be read.
    package mutating func onLookFailed(at now: Moment) -> [Directive] {
        isLooking = false
        return settle(at: now)
    }

    /// The store gave these of the slots that were asked for at `askedAt`.
    package mutating func onAcquired(
        _ slots: [TaskSlot],
        of asked: [TaskSlotID],
        askedAt: Duration,
        at now: Moment
    ) -> [Directive] {
        acquiring.subtract(asked)
        var directives: [Directive] = []
        var unwanted: [TaskSlotClaim] = []
        for slot in slots.sorted(by: { $0.id < $1.id }) where slot.holder == node {
            guard let task = tasks[slot.id.task] else { continue }
            let claim = TaskSlotClaim(slot: slot.id, holder: node, epoch: slot.epoch)
            if leaveUntil != nil {
                unwanted.append(claim)
                continue
            }
            let end = deadline(of: slot, askedAt: askedAt)
            guard held[slot.id] == nil, !stopping.contains(slot.id),
                end.map({ now.monotonic < $0 }) ?? true
            else { continue }
            let first = TaskSchedule.progress(of: task, from: slot.progress, at: now.wall)
            var entry = Held(
                claim: claim,
                deadline: end,
                progress: slot.progress
                    ?? TaskProgress(next: .distantFuture, frequency: task.frequency)
            )
            if let first {
                entry.phase = .writing(first, then: nil, retryAt: nil)
                directives.append(.advance(claim, first))
            }
            held[slot.id] = entry
        }
        if !unwanted.isEmpty {
            releases += 1
            directives.append(.release(unwanted))
        }
        return directives + settle(at: now)
    }

    package mutating func onAcquireFailed(_ asked: [TaskSlotID], at now: Moment) -> [Directive] {
        acquiring.subtract(asked)
        return settle(at: now)
    }

    package mutating func onReleased(at now: Moment) -> [Directive] {
        releases -= 1
        return settle(at: now)
    }

    /// The store keeps the progress.
    package mutating func onAdvanced(_ claim: TaskSlotClaim, at now: Moment) -> [Directive] {
        guard var entry = held[claim.slot], entry.claim == claim,
            case .writing(let progress, let run, _) = entry.phase
        else { return settle(at: now) }
        entry.progress = progress
        entry.phase = .idle
        held[claim.slot] = entry
        if let end = entry.deadline, now.monotonic >= end {
            return lose(claim.slot) + settle(at: now)
        }
        guard let run else { return settle(at: now) }
        held[claim.slot]?.phase = .running(run)
        return [.start(run)] + settle(at: now)
    }

    /// The store did not keep the progress, or may have. With `isLost` the slot is another's.
    package mutating func onAdvanceFailed(
        _ claim: TaskSlotClaim,
        isLost: Bool,
        at now: Moment
    ) -> [Directive] {
        guard let entry = held[claim.slot], entry.claim == claim,
            case .writing(let progress, let run, _) = entry.phase
        else { return settle(at: now) }
        if isLost { return lose(claim.slot) + settle(at: now) }
        held[claim.slot]?.phase = .writing(
            progress,
            then: run,
            retryAt: now.monotonic + timing.retry
        )
        return settle(at: now)
    }

    /// A body has returned, however it ended.
    package mutating func onRunEnded(_ run: TaskRun, at now: Moment) -> [Directive] {
        guard let entry = held[run.slot], entry.phase == .running(run) else {
            stopping.remove(run.slot)
            return settle(at: now)
        }
        let ended = TaskSchedule.end(entry.progress)
        held[run.slot]?.phase = .writing(ended, then: nil, retryAt: nil)
        return [.advance(entry.claim, ended)] + settle(at: now)
    }

    /// The node is asked to end: nothing new is begun, what runs may finish within the limit, and every
    /// slot is given back as soon as nothing runs on it.
    package mutating func onShutdown(at now: Moment) -> [Directive] {
        if leaveUntil == nil { leaveUntil = now.monotonic + handOverLimit }
        return settle(at: now)
    }
}
