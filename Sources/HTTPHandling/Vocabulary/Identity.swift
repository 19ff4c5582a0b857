#if Server
public import ClusterRole

/// Who is calling, as an authenticator established it.
///
/// An identity belongs to one tenant; a handler takes the tenant from here, never from the request.
public struct Identity: Hashable, Sendable {
    /// A name for logs and audit entries.
    public let name: String
    /// Whose devices, operations and channels the caller sees.
    public let tenant: TenantID
    /// What the caller may do.
    public let permissions: Set<Permission>
    /// What kind of caller it is.
    public let kind: IdentityKind

    /// - Parameters:
    ///   - name: for logs and audit entries; the owner of devices, for an end user.
    ///   - tenant: whose devices, operations and channels the caller sees.
    ///   - permissions: what the caller may do.
    ///   - kind: what kind of caller it is; by its permissions if `nil`: a node links, a user owns, others
    ///     administer.
    public init(
        name: String,
        tenant: TenantID = .standard,
        permissions: Set<Permission>,
        kind: IdentityKind? = nil
    ) {
        self.name = name
        self.tenant = tenant
        self.permissions = permissions
        self.kind =
            kind
            ?? (permissions.contains(.link)
                ? .node : permissions == [.own] ? .user : .administrator)
    }

    /// A node known by its certificate alone: it may what its role may, in every tenant, because a node
    /// serves all of them.
    public init(_ certificate: PeerCertificate) {
        self.init(
            name: certificate.subject.node.rawValue,
            permissions: certificate.permissions
        )
    }

    /// The same caller with no more than `certificate` leaves it.
    public func capped(by certificate: PeerCertificate) -> Identity {
        Identity(
            name: name,
            tenant: tenant,
            permissions: certificate.capping(permissions)
        )
    }

    /// Whether the caller holds `permission`.
    public func may(_ permission: Permission) -> Bool { permissions.contains(permission) }
}

/// What a route asks of its caller.
public enum RouteAccess: Hashable, Sendable, CustomStringConvertible {
    /// Anybody: health, or a handler that authenticates by itself.
    case open
    /// Any known caller.
    case authenticated
    /// A known caller with this permission.
    case permission(Permission)

    public var description: String {
        switch self {
        case .open: "open"
        case .authenticated: "authenticated"
        case .permission(let permission): "permission:\(permission)"
        }
    }
}
#endif
