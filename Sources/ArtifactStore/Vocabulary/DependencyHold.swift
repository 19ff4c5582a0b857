/// Why a release waits on a node, although nothing is wrong with itself.
public enum DependencyHold: Hashable, Sendable {
    /// The other channel is on its way; nothing is reported as refused meanwhile.
    case awaited(ReleaseDependency)
    /// The node keeps no such channel.
    case notKept(ReleaseDependency)
    /// The node refused the release that is needed, or holds that one back for good.
    case refused(ReleaseDependency)
    /// The channels need each other in a circle, in this order.
    case circle([ChannelName])

    /// Whether somebody has to do something: a release that only waits for its turn is not
    /// reported as refused.
    public var isBlocking: Bool {
        if case .awaited = self { false } else { true }
    }

    /// The same as an error, for acknowledgements: `dependencyMissing`, `dependencyRefused` or
    /// `dependencyCycle`.
    public var error: ArtifactStoreError {
        switch self {
        case .awaited(let need):
            ArtifactStoreError(
                .dependencyMissing,
                "Release \(need.lowest) of \(need.channel) comes first. It is waited for."
            )
        case .notKept(let need):
            ArtifactStoreError(
                .dependencyMissing,
                "The release needs \(need.channel), which this node does not keep. Add that channel to "
                    + "its configuration."
            )
        case .refused(let need):
            ArtifactStoreError(
                .dependencyRefused,
                "The release needs release \(need.lowest) of \(need.channel), which this node refused. "
                    + "Mend \(need.channel) and publish it again."
            )
        case .circle(let channels):
            ArtifactStoreError(
                .dependencyCycle,
                "The channels need each other in a circle: "
                    + (channels + channels.prefix(1)).map(\.rawValue).joined(separator: ", ")
                    + ". Publish one of them without its dependency."
            )
        }
    }
}
