#if Server
public import ClusterRole

/// Tokens made by `IdentityAdministration`: asked of the store at each request, so that a revoked one is
/// worth nothing at once.
public struct StoredTokens: BearerAuthenticator {
    private let directory: IdentityDirectory

    public init(_ directory: IdentityDirectory) { self.directory = directory }

    public func identity(forToken token: String) async throws -> Identity? {
        // Other tokens cost no look into the store.
        guard token.utf8.count == 64 else { return nil }
        return try await directory.identity(forToken: token).map {
            Identity(
                name: $0.name.rawValue,
                tenant: $0.tenant,
                permissions: $0.permissions,
                kind: $0.kind
            )
        }
    }
}

/// Several authenticators, asked in order; the first that knows a token decides.
public struct FirstKnownAuthenticator: BearerAuthenticator {
    private let authenticators: [any BearerAuthenticator]

    public init(_ authenticators: [any BearerAuthenticator]) {
        self.authenticators = authenticators
    }

    /// - Throws: what the first one throws that fails, unless one before it knew the token.
    public func identity(forToken token: String) async throws -> Identity? {
        for authenticator in authenticators {
            if let found = try await authenticator.identity(forToken: token) { return found }
        }
        return nil
    }
}
#endif
