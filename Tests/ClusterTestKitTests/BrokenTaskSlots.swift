import ClusterMembership
import ClusterRole

/// Believes whoever names the newest epoch's holder, whatever epoch he names.
struct BrokenTaskSlots: TaskSlotStorage {
    let base: any TaskSlotStorage

    func slots() async throws -> [TaskSlot] { try await base.slots() }

    func acquire(
        _ slots: [TaskSlotID],
        holder: NodeID,
        duration: Duration
    ) async throws -> [TaskSlot] {
        try await base.acquire(slots, holder: holder, duration: duration)
    }

    func renew(_ claims: [TaskSlotClaim], duration: Duration) async throws -> [TaskSlot] {
        try await base.renew(claims, duration: duration)
    }

    func release(_ claims: [TaskSlotClaim]) async throws { try await base.release(claims) }

    func advance(_ claim: TaskSlotClaim, to progress: TaskProgress) async throws {
        var claim = claim
        let current = try await base.slots().first { $0.id == claim.slot }
        claim.epoch = current?.epoch ?? claim.epoch
        try await base.advance(claim, to: progress)
    }

    func remove(_ task: ClusterTaskName) async throws { try await base.remove(task) }
}
