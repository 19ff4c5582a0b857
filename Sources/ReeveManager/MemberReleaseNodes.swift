#if Server && SQLite
internal import ArtifactStore
internal import ClusterMembership
internal import ClusterRole

/// The members of the cluster, as rollouts and offers see them.
struct MemberReleaseNodes: ReleaseNodeReader {
    let members: ClusterMembers

    func nodes() async throws -> [ReleaseNode] {
        try await members.all().filter { $0.role.mayServe }.map { member in
            let presence: ReleaseNode.Presence =
                switch member.state {
                // One that is only suspect may come back as it was.
                case .alive, .suspect: .connected
                case .failed: .lost(since: member.lastHeard)
                case .left: .left(since: member.lastHeard)
                }
            return ReleaseNode(
                member.node,
                version: member.version,
                properties: member.properties,
                presence: presence
            )
        }
    }
}
#endif
