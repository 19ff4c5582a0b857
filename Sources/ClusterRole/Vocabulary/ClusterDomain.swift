/// A cluster, or a part of one: `reeve`, `reeve/mgt`, `reeve/worker`.
public struct ClusterDomain: Hashable, Sendable, CustomStringConvertible {
    public let domain: String
    /// The part; `nil` for the whole cluster.
    public let subDomain: String?

    /// - Throws: ``ClusterRoleError`` with `invalidName` for a name no ``NodeID`` could have.
    public init(_ domain: String, subDomain: String? = nil) throws(ClusterRoleError) {
        self.domain = try NodeID(validating: domain).rawValue
        self.subDomain = try subDomain.map { name throws(ClusterRoleError) in
            try NodeID(validating: name).rawValue
        }
    }

    private init(trusted domain: String, _ subDomain: String?) {
        self.domain = domain
        self.subDomain = subDomain
    }

    /// Parses `domain` or `domain/sub-domain`.
    public init(parsing text: String) throws(ClusterRoleError) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        try self.init(
            String(parts.first ?? ""),
            subDomain: parts.count > 1 ? String(parts[1]) : nil
        )
    }

    /// The sub-domain a role belongs to unless configured otherwise: `mgt` or `worker`.
    public static func standard(for role: NodeRole) -> ClusterDomain {
        ClusterDomain(trusted: "reeve", role.mayWrite ? "mgt" : "worker")
    }

    public var description: String { subDomain.map { "\(domain)/\($0)" } ?? domain }

    /// Whether `other` is this domain or a part of it.
    public func contains(_ other: ClusterDomain) -> Bool {
        domain == other.domain && (subDomain == nil || subDomain == other.subDomain)
    }
}
