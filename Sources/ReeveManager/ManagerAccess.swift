#if Server && SQLite
public import ClusterRole
internal import Configuration
internal import DeviceRegistry
internal import HTTPHandling
internal import HummingbirdHosting
internal import ManagerConsole
internal import OperationQueue
internal import SQLiteStore

/// To whom a manager is open.
public enum ManagerAccess: String, Hashable, Sendable, CaseIterable {
    /// Administrators and workers, on one address that belongs into a private network.
    case `private`
    /// End users as well: the user API is served on an address of its own. The admin API and the link stay
    /// on the private one.
    case `public`
}

/// Who may call a manager, and the record of who did.
struct ManagerAccessParts {
    let trail: AuditTrail
    let identities: IdentityAdministration
    let auditor: TrailAuditor
    /// Knows configured tokens, stored ones, and those of the product.
    let authenticator: any BearerAuthenticator
    /// Knows configured tokens only: nodes are configured.
    let nodes: InMemoryTokens

    init(
        _ configuration: ManagerConfiguration,
        _ store: EmbeddedStore,
        _ capability: WriteCapability
    ) {
        let time = configuration.time
        trail = AuditTrail(
            log: store,
            capability: capability,
            clock: time,
            logger: configuration.logger
        )
        identities = IdentityAdministration(
            storage: store,
            capability: capability,
            clock: time,
            random: configuration.random
        )
        auditor = TrailAuditor(trail)
        nodes = InMemoryTokens(configuration.identities)
        authenticator = FirstKnownAuthenticator(
            [nodes, StoredTokens(identities.directory)] + configuration.authenticators
        )
    }
}

extension ManagerNode: ManagingHalf {
    /// Ends the right to write at once: every writer of the node throws, and what is asked of it over HTTP is
    /// answered 503. Reads go on until the node ends.
    public func revoke() { capability.revoke() }

    /// What end users' server serves.
    func userMounts() throws -> [HandlerMount] {
        var root = RouteTable()
        try HealthRoutes(checks: []).add(to: &root)
        return [
            HandlerMount(UserEndpoint.prefix, observed(userAPI, "user")),
            HandlerMount("/", observed(root, "user-health")),
        ]
    }
}

extension ManagerConfiguration {
    /// Reads who may call, from where, and what is recorded.
    mutating func readAccess(_ config: ConfigReader) throws {
        let word = config.string(forKey: "manager.access", default: access.rawValue)
        guard let access = ManagerAccess(rawValue: word) else {
            throw ManagerConfigurationError("manager.access is private or public, not \(word).")
        }
        self.access = access
        userAddress = ServerAddress(
            host: config.string(forKey: "users.host", default: userAddress.host),
            port: config.int(forKey: "users.port", default: userAddress.port)
        )
        userOperations = Set(
            try (config.stringArray(forKey: "users.operations") ?? [])
                .map { try OperationCode(validating: $0) }
        )
        proxies.proxies = try (config.stringArray(forKey: "proxies.addresses") ?? []).map { text in
            guard let range = AddressRange(text) else {
                throw ManagerConfigurationError(
                    "proxies.addresses names addresses and ranges such as 10.0.0.0/8; \(text) is none."
                )
            }
            return range
        }
        proxies.addressField = try Self.choice(
            "proxies.field",
            config,
            default: proxies.addressField
        )
        proxies.certificateField = try Self.choice(
            "proxies.certificate-field",
            config,
            default: proxies.certificateField
        )
        auditRetention.keepFor = .seconds(
            config.double(forKey: "audit.days", default: 400) * 86_400
        )
        auditRetention.keepAtMost = config.int(
            forKey: "audit.entries",
            default: auditRetention.keepAtMost
        )
    }

    private static func choice<Value: RawRepresentable & CaseIterable>(
        _ key: ConfigKey,
        _ config: ConfigReader,
        default standard: Value
    ) throws -> Value where Value.RawValue == String {
        let word = config.string(forKey: key, default: standard.rawValue)
        guard let value = Value(rawValue: word) else {
            let known = Value.allCases.map(\.rawValue).joined(separator: ", ")
            throw ManagerConfigurationError("\(key) is one of \(known), not \(word).")
        }
        return value
    }

    /// Refuses what cannot work.
    func validateAccess() throws {
        guard (0...65_535).contains(userAddress.port) else {
            throw ManagerConfigurationError("users.port is 0 to 65535, not \(userAddress.port).")
        }
        guard access == .private || userAddress.port == 0 || userAddress != address else {
            throw ManagerConfigurationError(
                "End users and administrators have addresses of their own: set users.host or users.port."
            )
        }
        guard auditRetention.keepFor >= .seconds(86_400), auditRetention.keepAtMost >= 1_000 else {
            throw ManagerConfigurationError(
                "audit.days is at least 1 and audit.entries at least 1000."
            )
        }
    }
}
#endif
