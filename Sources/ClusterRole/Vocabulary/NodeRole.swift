/// What a node may do in the cluster.
///
/// A role is never a Boolean: it decides which components a ``Profile`` starts, which capabilities
/// are minted, and what the other side of a link accepts.
public enum NodeRole: String, Hashable, Sendable, CaseIterable, Codable {
    /// Read-write: publishes, enqueues, coordinates. Sits in a private network.
    case manager
    /// Read-only: serves, deploys what was published, and reports. Faces the world.
    case worker
    /// Both halves in one process, without a link between them.
    case combined

    /// Whether a node of this role may hold a store and mint writers.
    public var mayWrite: Bool { self != .worker }

    /// Whether a node of this role serves devices and users.
    public var mayServe: Bool { self != .manager }
}

/// Something a caller may be allowed to do.
///
/// Permissions name verbs, not routes; an authenticator grants a set of them to an identity.
public struct Permission: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: String

    public init(rawValue: String) { self.rawValue = rawValue }

    public var description: String { rawValue }

    /// See devices, operations, releases and nodes.
    public static let read = Permission(rawValue: "read")
    /// Enqueue and cancel operations, and change devices and groups.
    public static let operate = Permission(rawValue: "operate")
    /// Publish releases.
    public static let publish = Permission(rawValue: "publish")
    /// Change the cluster: nodes, tasks, identities.
    public static let administer = Permission(rawValue: "administer")
    /// Speak the worker's half of the link.
    public static let link = Permission(rawValue: "link")
    /// See and control the devices one owns, as an end user.
    public static let own = Permission(rawValue: "own")

    /// Everything an administrator of one tenant may do.
    public static let everything: Set<Permission> = [.read, .operate, .publish, .administer]
}
