#if Server && SQLite && Push
import ArgumentParser

/// How the demonstration's nodes stand to each other and to the world.
struct DemoTopology: Sendable {
    /// The two ways to deploy a cluster; see the article on deployment patterns of ReeveManager.
    enum Pattern: String, CaseIterable, ExpressibleByArgument, Sendable {
        /// Managers and workers are sub-clusters of their own behind one load balancer.
        case separate
        /// One cluster: a combined read-write node, read-only workers, and two load balancers.
        case combined
    }

    /// Who reaches the manager's own interfaces.
    enum Access: String, CaseIterable, ExpressibleByArgument, Sendable {
        /// Who is in the private network: devices and users see workers only.
        case `private`
        /// Also who comes through a load balancer.
        case `public`
    }

    /// `nil`: no load balancer; devices know the workers' addresses.
    var pattern: Pattern?
    var access = Access.private
    /// Workers beside the manager.
    var workers = 2
    /// Whether workers give each other releases while no manager answers.
    var sharesReleases = false

    /// Whether the manager serves devices and deploys channels as well.
    var isCombined: Bool { pattern == .combined }
    /// Whether the manager is reached through a load balancer of its own.
    var hasManagementFront: Bool { isCombined && access == .public }
}
#endif
