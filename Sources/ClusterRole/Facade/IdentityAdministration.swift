/// Looks stored identities up: the reader's façade, and what authenticators ask.
public struct IdentityDirectory: Sendable {
    private let storage: any IdentityStorage
    private let clock: any TimeSource

    public init(storage: any IdentityStorage, clock: any TimeSource = SystemTimeSource()) {
        self.storage = storage
        self.clock = clock
    }

    /// The identities of a tenant, in order of name.
    public func identities(tenant: TenantID = .standard) async throws -> [StoredIdentity] {
        try await storage.identities(tenant: tenant)
    }

    /// The identity a token stands for; `nil` for none, and for one that has expired.
    ///
    /// The store is asked each time, so a revoked token is worth nothing at once. The token's digest is
    /// looked up and then compared in constant time.
    public func identity(forToken token: String) async throws -> StoredIdentity? {
        let digest = tokenDigest(token)
        guard let found = try await storage.identity(digest: digest),
            digestsMatch(found.digest, digest), found.isValid(at: clock.now())
        else { return nil }
        return found
    }
}

/// Makes and revokes identities: the writer's façade. Only who holds a ``WriteCapability`` can make one.
public struct IdentityAdministration: Sendable {
    /// The longest a token lives, if it ends at all: ten years.
    public static let maximumLifetime = Duration.seconds(3_653 * 86_400)

    public let directory: IdentityDirectory
    private let storage: any IdentityStorage
    private let capability: WriteCapability
    private let clock: any TimeSource
    private let random: any RandomSource

    public init(
        storage: any IdentityStorage,
        capability: WriteCapability,
        clock: any TimeSource = SystemTimeSource(),
        random: any RandomSource = SystemRandomSource()
    ) {
        self.storage = storage
        self.capability = capability
        self.clock = clock
        self.random = random
        directory = IdentityDirectory(storage: storage, clock: clock)
    }

    /// Makes an identity with a token of 256 random bits, which is returned here and never again.
    ///
    /// - Parameters:
    ///   - name: unique in the tenant. An end user's name is what devices name as their owner.
    ///   - kind: `administrator` or `user`; nodes are configured.
    ///   - permissions: what it may do. A `user` has `own` and nothing else.
    ///   - held: what the maker may do: nobody grants what he does not hold, beside `own`.
    ///   - lifetime: after which the token is worth nothing; `nil` for never.
    ///   - creator: the maker's name.
    ///   - tenant: whose devices it will see.
    /// - Throws: ``ClusterRoleError``: `invalidName`, `invalidIdentity`, `notGrantable`, `identityExists`,
    ///   `tooManyIdentities`; `revoked` or `fenced` once this node is no longer the coordinator.
    public func create(
        _ name: IdentityName,
        kind: IdentityKind = .administrator,
        permissions: Set<Permission>,
        granting held: Set<Permission>,
        lifetime: Duration? = nil,
        by creator: String = "",
        tenant: TenantID = .standard
    ) async throws -> IssuedIdentity {
        _ = try IdentityName(validating: name.rawValue)
        _ = try TenantID(validating: tenant.rawValue)
        try Self.check(kind, permissions, granting: held)
        if let lifetime, lifetime < .seconds(1) || lifetime > Self.maximumLifetime {
            throw ClusterRoleError(
                .invalidIdentity,
                "A token lives from a second to ten years; leave the lifetime out for one without end."
            )
        }
        let token = hexadecimal(random.bytes(32))
        let now = clock.now()
        let identity = StoredIdentity(
            name: name,
            tenant: tenant,
            kind: kind,
            permissions: permissions,
            digest: tokenDigest(token),
            createdAt: now,
            createdBy: creator,
            expiresAt: lifetime.map { now + $0 }
        )
        try await storage.add(identity, epoch: capability.requireEpoch())
        return IssuedIdentity(identity: identity, token: token)
    }

    /// Ends an identity; its token is worth nothing once this returns.
    ///
    /// - Throws: ``ClusterRoleError`` with code `unknownIdentity`.
    public func revoke(_ name: IdentityName, tenant: TenantID = .standard) async throws {
        let wasKnown = try await storage.removeIdentity(
            name,
            tenant: tenant,
            epoch: capability.requireEpoch()
        )
        guard wasKnown else {
            throw ClusterRoleError(
                .unknownIdentity,
                "There is no stored identity \(name) in this tenant. Configured ones are ended where they "
                    + "are configured."
            )
        }
    }

    private static func check(
        _ kind: IdentityKind,
        _ permissions: Set<Permission>,
        granting held: Set<Permission>
    ) throws(ClusterRoleError) {
        let fits =
            switch kind {
            case .user: permissions == [.own]
            case .administrator:
                !permissions.isEmpty && permissions.isSubset(of: Permission.everything)
            case .nobody, .node, .process: false
            }
        guard fits else {
            throw ClusterRoleError(
                .invalidIdentity,
                "An administrator has some of read, operate, publish and administer; a user has own."
            )
        }
        if let missing = permissions.subtracting(held).subtracting([.own])
            .min(by: { $0.rawValue < $1.rawValue })
        {
            throw ClusterRoleError(
                .notGrantable,
                "You cannot grant \(missing), which you do not hold yourself."
            )
        }
    }
}
