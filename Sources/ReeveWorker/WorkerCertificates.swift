#if Server && SQLite
internal import ArtifactStore
internal import ClusterLink
internal import ClusterRole
internal import NodeCertificates

extension WorkerConfiguration {
    /// The node's credentials; `nil` without certificates.
    func openCredentials() throws -> CredentialSource? {
        guard let certificates else { return nil }
        let source = try CredentialSource(files: certificates, time: time, logger: logger)
        try source.credentials.require(node, [.worker, .combined])
        return source
    }
}

extension WorkerLinkConfiguration {
    /// What the node says it can take and serves.
    mutating func describe(_ abilities: NodeAbilities, serving artifacts: ArtifactSet) {
        codecs = BundleCodec.allCases.filter(\.isAvailable).map(\.description)
        capabilities = abilities.capabilities.map(\.rawValue).sorted()
        digest = {
            let lines = artifacts.statuses
                .map { "\($0.channel) \($0.active.map { "\($0)" } ?? "-")" }
                .sorted()
            return ContentDigest(of: Array(lines.joined(separator: "\n").utf8)).description
        }
    }
}
#endif
