#if SQLite
import ClusterMembership
import ClusterRole
import ClusterTestKit
import SQLiteStore

extension FilledStore {
    /// A message that one member has answered, one that is replayed, and two values of the replicated state,
    /// of which one was removed.
    static func fillMessages(_ house: StoreHouse) async throws {
        let now = house.time.now()
        let addressed: [[NodeID]?] = [["worker-1", "worker-2"], nil]
        for (index, recipients) in addressed.enumerated() {
            let message = ClusterMessage(
                id: MessageID(bits: UInt128(index + 1)),
                kind: "flush",
                payload: [1, 2, 3],
                messageClass: .reliable,
                address: .role(.worker),
                lateJoiners: recipients == nil ? .replayed : .skipped,
                sender: "manager-1",
                sentAt: now,
                expiresAt: now + .seconds(60)
            )
            _ = try await house.store.append(
                message,
                recipients: recipients,
                epoch: house.epoch
            )
        }
        try await house.store.acknowledge([
            MessageAcknowledgement(
                message: MessageID(bits: 1),
                node: "worker-1",
                outcome: .handled,
                reply: [4],
                at: now
            )
        ])
        for (name, value) in [("dark", [1]), ("bright", [2]), ("bright", nil)]
            as [(String, [UInt8]?)]
        {
            _ = try await house.store.change(
                SharedStateChange(key: SharedStateKey(name, in: "flags"), value: value),
                limits: SharedStateLimits(),
                epoch: house.epoch
            )
        }
    }
}
#endif
