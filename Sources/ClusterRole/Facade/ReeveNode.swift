public import Logging
public import ServiceLifecycle

/// A part of a node that may be started: it declares in which roles.
public struct NodeComponent: Sendable {
    public let name: ComponentName
    /// The roles it serves. A combined node starts it if there is any.
    public let roles: Set<NodeRole>
    let make: @Sendable () async throws -> any Service

    /// Declares a component.
    ///
    /// - Parameters:
    ///   - name: unique in the node.
    ///   - roles: the roles it serves.
    ///   - make: builds the service. It is called only if the node's profile starts the component, so
    ///     what a role excludes is never even made.
    public init(
        _ name: ComponentName,
        roles: Set<NodeRole>,
        make: @escaping @Sendable () async throws -> any Service
    ) {
        self.name = name
        self.roles = roles
        self.make = make
    }
}

/// One node: the components its profile names, supervised as one service.
///
/// ```swift
/// let node = try ReeveNode(id: "worker-1", profile: .worker, components: [gateway, link, console])
/// try await node.run()                     // or add it to the application's own ServiceGroup
/// ```
///
/// Components start in the order given and stop in reverse order. When one fails, the others are shut
/// down gracefully and the error is thrown. The node never installs signal handlers: the application
/// that embeds it owns them.
public struct ReeveNode: Service {
    public let id: NodeID
    public let profile: Profile
    private let components: [NodeComponent]
    private let logger: Logger

    /// Picks the components; nothing is made or started yet.
    ///
    /// - Throws: ``ClusterRoleError`` with `invalidProfile` or `wrongRole` (see ``Profile/select(from:)``).
    public init(
        id: NodeID,
        profile: Profile,
        components: [NodeComponent],
        logger: Logger = Logger(label: "reeve.node")
    ) throws(ClusterRoleError) {
        self.id = id
        self.profile = profile
        var logger = logger
        logger[metadataKey: "node"] = "\(id)"
        self.logger = logger
        self.components = try profile.select(
            from: components.map { ($0.name, $0.roles) }
        ).map { components[$0] }
    }

    /// The names of the components that ``run()`` starts, in order.
    public var startedComponents: [ComponentName] { components.map(\.name) }

    /// Runs until graceful shutdown or the first failure.
    public func run() async throws {
        var services: [any Service] = []
        for component in components { services.append(try await component.make()) }
        guard !services.isEmpty else {
            try? await gracefulShutdown()
            return
        }
        logger.info(
            "node starts",
            metadata: [
                "profile": "\(profile.name)", "role": "\(profile.role.rawValue)",
                "components": "\(components.map(\.name.rawValue).joined(separator: " "))",
            ]
        )
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: services, logger: logger)
        )
        try await group.run()
        logger.info("node stopped")
    }
}
