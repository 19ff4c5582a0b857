#if Server
internal import ClusterMembership
internal import ClusterRole

/// Commands to nodes, and the buffers of messages.
extension AdminMessages {
    /// The body of `POST /nodes/{node}/commands`.
    struct NodeCommandRequest: Codable, Hashable, Sendable {
        var command: String
        /// Seconds.
        var lifetime: Double?
    }

    /// The body of `POST /commands`.
    struct NodeCommandsRequest: Codable, Hashable, Sendable {
        var command: String
        var target: NodeTarget
        /// Seconds.
        var lifetime: Double?
    }

    /// Which nodes: exactly one member is given.
    struct NodeTarget: Codable, Hashable, Sendable {
        struct Property: Codable, Hashable, Sendable {
            var name: String
            var value: String
        }

        var everybody: Bool?
        var nodes: [String]?
        var role: String?
        var domain: String?
        var property: Property?

        /// The address it means.
        func address() throws -> MessageAddress {
            var found: [MessageAddress] = []
            if everybody == true { found.append(.everybody) }
            if let nodes {
                found.append(.members(try nodes.map { try NodeID(validating: $0) }))
            }
            if let role {
                guard let role = NodeRole(rawValue: role) else {
                    throw ManagerConsoleError(
                        .invalidField,
                        "A role is manager, worker or combined, not \(role)."
                    )
                }
                found.append(.role(role))
            }
            if let domain { found.append(.domain(try ClusterDomain(parsing: domain))) }
            if let property {
                found.append(.property(name: property.name, value: property.value))
            }
            guard let address = found.first, found.count == 1 else {
                throw ManagerConsoleError(
                    .invalidField,
                    "A target has exactly one of everybody, nodes, role, domain and property."
                )
            }
            return address
        }
    }

    /// A command, and what became of it on each node.
    struct NodeCommandAnswer: Codable, Hashable, Sendable {
        struct Node: Codable, Hashable, Sendable {
            var node: String
            /// `waiting`, `handled`, `failed` or `unknown-kind`.
            var state: String
            var reason: String?
            /// The node's time, in milliseconds since 1970.
            var at: Int64?
        }

        var id: String
        var command: String
        var expiresAt: Int64
        var nodes: [Node]
        /// Whether the command had been given before, under its Idempotency-Key.
        var repeated: Bool?

        init(_ command: NodeCommand, _ receipt: MessageReceipt) {
            id = receipt.id.description
            self.command = command.rawValue
            expiresAt = receipt.expiresAt.milliseconds
            nodes = receipt.recipients.map { Node(node: $0.rawValue, state: "waiting") }
        }

        init(_ command: NodeCommand, _ status: MessageStatus) {
            id = status.message.id.description
            self.command = command.rawValue
            expiresAt = status.message.expiresAt.milliseconds
            let answers = Dictionary(
                status.acknowledgements.map { ($0.node, $0) },
                uniquingKeysWith: { first, _ in first }
            )
            nodes = status.recipients.map { node in
                guard let answer = answers[node] else {
                    return Node(node: node.rawValue, state: "waiting")
                }
                return Node(
                    node: node.rawValue,
                    state: answer.outcome.rawValue,
                    reason: answer.reason.isEmpty ? nil : answer.reason,
                    at: answer.at.milliseconds
                )
            }
        }
    }

    /// The answer to `GET /messages`: how full the buffers are, and what was dropped.
    struct MessageCountsAnswer: Codable, Hashable, Sendable {
        struct Drops: Codable, Hashable, Sendable {
            var node: String
            var count: Int
        }

        var kept: Int
        var keptBytes: Int
        var recent: Int
        var recentBytes: Int
        var drops: [Drops]

        init(_ counts: MessageCounts) {
            kept = counts.kept
            keptBytes = counts.keptBytes
            recent = counts.recent
            recentBytes = counts.recentBytes
            drops = counts.drops.map { Drops(node: $0.node.rawValue, count: $0.count) }
        }
    }
}
#endif
