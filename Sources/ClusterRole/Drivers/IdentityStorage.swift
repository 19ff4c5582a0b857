internal import Synchronization

/// Stores identities and the digests of their tokens: the driver protocol.
public protocol IdentityStorage: Sendable {
    /// The identities of a tenant in order of name; at most ``maximumIdentities``.
    func identities(tenant: TenantID) async throws -> [StoredIdentity]

    /// The identity whose token has this SHA-256, in any tenant, expired ones included.
    func identity(digest: [UInt8]) async throws -> StoredIdentity?

    /// Stores an identity. It takes no revision: no replica holds identities.
    ///
    /// - Throws: ``ClusterRoleError`` with code `identityExists` if the tenant has one of that name, and
    ///   `tooManyIdentities` beyond ``maximumIdentities``.
    func add(_ identity: StoredIdentity, epoch: Epoch) async throws

    /// Ends an identity; its token is worth nothing once this returns.
    ///
    /// - Returns: whether there was one.
    func removeIdentity(
        _ name: IdentityName,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Bool
}

/// Identities in memory: complete, and gone with the process.
public final class InMemoryIdentityStorage: IdentityStorage {
    private let ledger: InMemoryLedger
    private let known = Mutex<[StoredIdentity]>([])

    /// - Parameter ledger: the ledger that all in-memory drivers of one store share.
    public init(ledger: InMemoryLedger) { self.ledger = ledger }

    public func identities(tenant: TenantID) async throws -> [StoredIdentity] {
        known.withLock { known in
            known.filter { $0.tenant == tenant }.sorted { $0.name < $1.name }
        }
    }

    public func identity(digest: [UInt8]) async throws -> StoredIdentity? {
        known.withLock { known in known.first { digestsMatch($0.digest, digest) } }
    }

    public func add(_ identity: StoredIdentity, epoch: Epoch) async throws {
        _ = try ledger.guarded(epoch: epoch) { _ in
            try known.withLock { known in
                let own = known.filter { $0.tenant == identity.tenant }
                if own.contains(where: { $0.name == identity.name }) {
                    throw ClusterRoleError.identityExists(identity.name)
                }
                guard own.count < maximumIdentities else {
                    throw ClusterRoleError.tooManyIdentities
                }
                known.append(identity)
            }
            return ([], ())
        }
    }

    public func removeIdentity(
        _ name: IdentityName,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Bool {
        try ledger.guarded(epoch: epoch) { _ in
            let wasKnown = known.withLock { known in
                let before = known.count
                known.removeAll { $0.name == name && $0.tenant == tenant }
                return known.count < before
            }
            return ([], wasKnown)
        }.result
    }
}
