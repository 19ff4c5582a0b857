package import ClusterRole

/// Who runs which slot: the same answer on every node that sees the same members.
package enum TaskPlacementRules {
    /// Members that may run a task, the preferred ones only if there are some, by id.
    package static func candidates(for task: ClusterTask, among members: [Member]) -> [Member] {
        let eligible = members.filter { task.placement.allows($0, to: task.name) }
        let preferred = eligible.filter { $0.has(task.placement.preferred) }
        return (preferred.isEmpty ? eligible : preferred).sorted { $0.node < $1.node }
    }

    /// The member a slot belongs to: the one with the highest weight (rendezvous hashing).
    ///
    /// A member that joins takes slots from the others and moves none between them; one that leaves
    /// gives up its own, and nobody else's move.
    package static func owner(of slot: TaskSlotID, among candidates: [Member]) -> NodeID? {
        candidates.map(\.node).max {
            (weight(of: $0, for: slot), $0) < (weight(of: $1, for: slot), $1)
        }
    }

    static func weight(of node: NodeID, for slot: TaskSlotID) -> UInt64 {
        // FNV-1a over the three parts, mixed as by MurmurHash3: it must be the same on every node and
        // in every release, so Swift's own seeded hashing is no use.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        func add(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        slot.task.rawValue.utf8.forEach(add)
        add(0)
        String(slot.number).utf8.forEach(add)
        add(0)
        node.rawValue.utf8.forEach(add)
        hash = (hash ^ (hash >> 33)) &* 0xFF51_AFD7_ED55_8CCD
        hash = (hash ^ (hash >> 33)) &* 0xC4CE_B9FE_1A85_EC53
        return hash ^ (hash >> 33)
    }
}

extension TaskPlacement {
    /// Whether a member may be given the task. One that is only suspect keeps what it has.
    func allows(_ member: Member, to task: ClusterTaskName) -> Bool {
        (member.state == .alive || member.state == .suspect)
            && suits(member) && member.announces(task)
    }

    /// Whether a member may run it by what it says of itself, whether or not it is there.
    func suits(_ member: Member) -> Bool {
        member.effectiveMode == .active
            && roles.contains(member.role)
            && (domain?.contains(member.domain) ?? true)
            && (nodes?.contains(member.node) ?? true)
            && member.has(properties)
    }
}

extension Member {
    func has(_ wanted: [String: String]) -> Bool {
        wanted.allSatisfy { properties[$0.key] == $0.value }
    }

    func announces(_ task: ClusterTaskName) -> Bool {
        properties[ClusterTask.announcement]?.split(separator: " ")
            .contains { $0 == task.rawValue } ?? false
    }
}
