internal import ClusterRole

/// What every event ends with.
extension ClusterTaskCore {
    /// Does all that the moment asks for, and says when the next one comes.
    mutating func settle(at now: Moment) -> [Directive] {
        if hasEnded { return [] }
        var directives: [Directive] = []
        for slot in heldSlots {
            if let end = held[slot]?.deadline, now.monotonic >= end { directives += lose(slot) }
        }
        if let until = leaveUntil, now.monotonic >= until {
            // What has not finished by now loses its slot, which runs out by itself: giving it back
            // would let another begin while the body still runs.
            for slot in heldSlots where held[slot]?.phase != .idle { directives += lose(slot) }
        }
        directives += step(at: now)
        directives += giveBack()
        if let until = leaveUntil, held.isEmpty,
            acquiring.isEmpty && releases == 0
                || now.monotonic >= until + timing.retry
        {
            hasEnded = true
            return directives + [.stop]
        }
        if !isLooking, now.monotonic >= lookAt {
            isLooking = true
            lookAt = now.monotonic + timing.retry
            let claims = heldSlots.compactMap { slot -> TaskSlotClaim? in
                held[slot].flatMap { $0.deadline == nil ? nil : $0.claim }
            }
            directives.append(.look(renewing: claims))
        }
        return directives + schedule(at: now)
    }

    /// Begins what is due, and asks the store again where it failed.
    private mutating func step(at now: Moment) -> [Directive] {
        var directives: [Directive] = []
        for slot in heldSlots {
            guard let entry = held[slot], let task = tasks[slot.task] else { continue }
            switch entry.phase {
            case .writing(let progress, let run, let retryAt?) where now.monotonic >= retryAt:
                held[slot]?.phase = .writing(progress, then: run, retryAt: nil)
                directives.append(.advance(entry.claim, progress))
            case .idle where !entry.isGivenUp && leaveUntil == nil:
                guard let begun = TaskSchedule.begin(entry.progress, of: task, at: now.wall),
                    let running = begun.running
                else { continue }
                let run = TaskRun(
                    slot: slot,
                    slots: task.slots,
                    due: running.due,
                    attempt: running.attempt,
                    skipped: running.skipped,
                    epoch: entry.claim.epoch
                )
                held[slot]?.phase = .writing(begun, then: run, retryAt: nil)
                directives.append(.advance(entry.claim, begun))
            default: continue
            }
        }
        return directives
    }

    /// Gives back what is another's, or all of it when leaving, once nothing runs there.
    private mutating func giveBack() -> [Directive] {
        var claims: [TaskSlotClaim] = []
        for slot in heldSlots {
            guard let entry = held[slot], entry.phase == .idle,
                entry.isGivenUp || leaveUntil != nil
            else { continue }
            held[slot] = nil
            claims.append(entry.claim)
        }
        if claims.isEmpty { return [] }
        releases += 1
        return [.release(claims)]
    }

    /// The slot is no longer this node's: its body is cancelled, and nothing of it is written.
    mutating func lose(_ slot: TaskSlotID) -> [Directive] {
        guard let entry = held.removeValue(forKey: slot) else { return [] }
        guard case .running(let run) = entry.phase else { return [] }
        stopping.insert(slot)
        return [.cancel(run)]
    }

    /// Whether a slot that is held belongs to another. Without anybody to give it to, and while this node
    /// is only missing from the list, it is kept: no slot is left alone for what may be a stale list.
    func isGivenUp(_ task: ClusterTask, _ owner: NodeID?, among members: [Member]) -> Bool {
        if let owner { return owner != node }
        guard let own = members.first(where: { $0.node == node }) else { return false }
        return !task.placement.suits(own)
    }

    func mayTake(
        _ id: TaskSlotID,
        _ slot: TaskSlot?,
        _ task: ClusterTask,
        _ candidates: Int
    ) -> Bool {
        guard !stopping.contains(id), !acquiring.contains(id) else { return false }
        if slot?.progress == nil && candidates < task.waitsForMembers { return false }
        return slot?.holder.map { $0 == node } ?? true
    }

    func deadline(of slot: TaskSlot, askedAt: Duration) -> Duration? {
        slot.remaining >= Lease.unlimited ? nil : askedAt + min(timing.renew, slot.remaining)
    }

    private func schedule(at now: Moment) -> [Directive] {
        var next = isLooking ? now.monotonic + timing.retry : lookAt
        for entry in heldSlots.compactMap({ held[$0] }) {
            if let end = entry.deadline { next = min(next, end) }
            switch entry.phase {
            case .writing(_, _, let retryAt?): next = min(next, retryAt)
            case .idle where leaveUntil == nil:
                // Within what a look takes anyway: a due time far away would overflow nothing, but
                // a wall clock that jumps is noticed by the next look.
                let wait = min(max(.zero, entry.progress.next - now.wall), timing.retry)
                next = min(next, now.monotonic + wait)
            default: break
            }
        }
        if let until = leaveUntil {
            next = min(next, now.monotonic < until ? until : until + timing.retry)
        }
        return [.scheduleNext(after: max(.zero, next - now.monotonic))]
    }
}
