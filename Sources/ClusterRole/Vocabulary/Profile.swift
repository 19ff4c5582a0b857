/// The name of a component, such as `device-gateway`. Unique in a node.
public struct ComponentName: NameIdentifier, ExpressibleByStringLiteral {
    public static let noun = "component name"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public init(stringLiteral value: String) { rawValue = value }
}

/// The named set of components a node starts.
///
/// `manager`, `worker` and `combined` are built in; a product adds its own, such as a key manager:
///
/// ```swift
/// let keyManager = Profile("key-manager", role: .manager, starting: ["key-service", "admin-api"])
/// ```
public struct Profile: Hashable, Sendable, CustomStringConvertible {
    /// Which components a profile starts, among those whose roles allow it.
    public enum Selection: Hashable, Sendable {
        /// Every component that may run in the profile's role.
        case allOfRole
        /// These, and no others. Naming one that may not run in the role is an error.
        case only(Set<ComponentName>)
    }

    public let name: String
    public let role: NodeRole
    public let selection: Selection

    /// A profile that starts every component of a role.
    public init(_ name: String, role: NodeRole) {
        self.name = name
        self.role = role
        selection = .allOfRole
    }

    /// A profile that starts just the components named.
    public init(_ name: String, role: NodeRole, starting components: Set<ComponentName>) {
        self.name = name
        self.role = role
        selection = .only(components)
    }

    public static let manager = Profile("manager", role: .manager)
    public static let worker = Profile("worker", role: .worker)
    public static let combined = Profile("combined", role: .combined)

    public var description: String { "\(name) (\(role.rawValue))" }

    /// Picks the components to start, in the order given.
    ///
    /// - Parameter offered: name and roles of each component the node has.
    /// - Returns: the indices of those to start.
    /// - Throws: ``ClusterRoleError`` with `invalidProfile` for a name that occurs twice or is not
    ///   offered, and `wrongRole` for one that may not run in the profile's role.
    public func select(
        from offered: [(name: ComponentName, roles: Set<NodeRole>)]
    ) throws(ClusterRoleError) -> [Int] {
        var seen: Set<ComponentName> = []
        for component in offered where !seen.insert(component.name).inserted {
            throw ClusterRoleError(
                .invalidProfile,
                "Two components are called \(component.name). Rename one of them."
            )
        }
        switch selection {
        case .allOfRole:
            return offered.indices.filter { allows(offered[$0].roles) }
        case .only(let names):
            for name in names.sorted() where !seen.contains(name) {
                throw ClusterRoleError(
                    .invalidProfile,
                    "Profile \(self.name) names \(name), which this node does not have. Add it or drop it."
                )
            }
            for component in offered where names.contains(component.name) {
                if !allows(component.roles) {
                    throw ClusterRoleError(
                        .wrongRole,
                        "Component \(component.name) may not run on a \(role.rawValue). "
                            + "Take it out of profile \(self.name)."
                    )
                }
            }
            return offered.indices.filter { names.contains(offered[$0].name) }
        }
    }

    /// A combined node runs what either role runs.
    private func allows(_ roles: Set<NodeRole>) -> Bool {
        role == .combined ? !roles.isEmpty : roles.contains(role)
    }
}
