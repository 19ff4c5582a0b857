#if Server && SQLite
internal import ArtifactStore
internal import ClusterLink
internal import ClusterRole
internal import Configuration
internal import HTTPHandling
internal import NodeCertificates

/// Another manager that keeps objects, as it is dialled.
struct DialledManager: Sendable {
    var node: NodeID
    var address: String
    /// Presented where there are no certificates.
    var token: String
}

/// How a manager keeps its objects, together with others.
extension ManagerConfiguration {
    mutating func readObjects(_ config: ConfigReader) throws {
        let peerTokens = try Self.nodes(config, "objects.peer-tokens", isSecret: true)
        for (peer, address) in try Self.nodes(config, "objects.peers") {
            let token = peerTokens.first { $0.node == peer }?.value
            guard token != nil || certificates != nil else {
                throw ManagerConfigurationError(
                    "objects.peer-tokens has no token for \(peer), which objects.peers names."
                )
            }
            dialledPeers.append(DialledManager(node: peer, address: address, token: token ?? ""))
        }
        for (manager, token) in try Self.nodes(config, "objects.tokens", isSecret: true) {
            identities[token] = Identity(
                name: manager.rawValue,
                tenant: tenant,
                permissions: [.link, .publish]
            )
        }
        objectCopies = config.int(forKey: "objects.copies")
        objectCare.policy.keptReleases = config.int(
            forKey: "objects.kept-releases",
            default: objectCare.policy.keptReleases
        )
        for text in config.stringArray(forKey: "objects.pinned") ?? [] {
            guard let separator = text.lastIndex(of: "@"),
                let number = Int64(text[text.index(after: separator)...]), number > 0
            else {
                throw ManagerConfigurationError(
                    "Each entry of objects.pinned is written channel@number, not \(text)."
                )
            }
            let channel = try ChannelName(validating: String(text[..<separator]))
            objectCare.pins.insert(
                ObjectCollector.Pin(ReleaseNumber(number), of: channel, tenant: tenant)
            )
        }
        collectionInterval = Self.interval(config, "objects.collect.interval", default: 3_600)
        replicationInterval = Self.interval(config, "objects.replicate.interval", default: 3_600)
        scrubInterval = Self.interval(config, "objects.scrub.interval", default: 86_400)
    }

    /// The other managers that keep objects: the product's own, and those that are dialled. With a
    /// certificate that says who this node is, and no token is sent.
    func peers(with credentials: CredentialSource?) throws -> [any ObjectPeer] {
        try objectPeers
            + dialledPeers.map { peer in
                LinkObjectPeer(
                    name: peer.node.rawValue,
                    try LinkClient(
                        node: node,
                        configuration: LinkClientConfiguration(
                            addresses: [peer.address],
                            token: credentials == nil ? peer.token : "",
                            credentials: credentials
                        )
                    )
                )
            }
    }

    func validateObjects() throws {
        guard (0...15).contains(updatesFrom) else {
            throw ManagerConfigurationError("publish.updates-from is 0 to 15, not \(updatesFrom).")
        }
        let most = peerCount + 1
        guard (1...most).contains(copies) else {
            throw ManagerConfigurationError(
                "objects.copies is 1 to \(most), the number of managers, not \(copies)."
            )
        }
        guard objectCare.policy.keptReleases >= 1 else {
            throw ManagerConfigurationError("objects.kept-releases is at least 1.")
        }
        let intervals = [collectionInterval, replicationInterval, scrubInterval]
        guard intervals.allSatisfy({ $0 ?? .seconds(1) >= .seconds(1) }) else {
            throw ManagerConfigurationError(
                "objects.collect.interval, objects.replicate.interval and objects.scrub.interval are at "
                    + "least 1 second, or 0."
            )
        }
    }

    /// On how many managers an object is durable when a publish returns.
    var copies: Int { objectCopies ?? min(2, peerCount + 1) }

    private var peerCount: Int { objectPeers.count + dialledPeers.count }

    /// Entries written `node=value`.
    private static func nodes(
        _ config: ConfigReader,
        _ key: ConfigKey,
        isSecret: Bool = false
    ) throws -> [(node: NodeID, value: String)] {
        try (config.stringArray(forKey: key, isSecret: isSecret) ?? []).map { pair in
            guard let separator = pair.firstIndex(of: "=") else {
                throw ManagerConfigurationError(
                    "Each entry of \(key) is written node=value; one has no equals sign."
                )
            }
            return (
                try NodeID(validating: String(pair[..<separator])),
                String(pair[pair.index(after: separator)...])
            )
        }
    }

    private static func interval(
        _ config: ConfigReader,
        _ key: ConfigKey,
        default seconds: Double
    ) -> Duration? {
        let seconds = config.double(forKey: key, default: seconds)
        return seconds == 0 ? nil : .seconds(seconds)
    }
}
#endif
