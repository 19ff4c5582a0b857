public import ClusterRole

/// A worker as the managers know it: what decides which release it is offered.
public struct ReleaseNode: Hashable, Sendable {
    /// Whether it is there.
    public enum Presence: Hashable, Sendable {
        /// It was heard lately.
        case connected
        /// It fell silent without a word; the time it was last heard.
        case lost(since: Timestamp)
        /// It said good-bye.
        case left(since: Timestamp)
    }

    /// The name it links by.
    public let id: NodeID
    /// What its operator calls it by, such as `zone` = `eu`.
    public var labels: [String: String]
    /// What it can do, for releases that ask for something.
    public var abilities: NodeAbilities
    /// The channels it takes; `nil` for a node that does not say: it takes those it has acknowledged.
    public var channels: Set<ChannelName>?
    public var presence: Presence

    /// A node; one that says nothing of itself has no labels and no abilities.
    public init(
        _ id: NodeID,
        labels: [String: String] = [:],
        abilities: NodeAbilities = NodeAbilities(),
        channels: Set<ChannelName>? = nil,
        presence: Presence = .connected
    ) {
        self.id = id
        self.labels = labels
        self.abilities = abilities
        self.channels = channels
        self.presence = presence
    }
}

/// How a node says its labels, capabilities and channels among the properties of its membership.
///
/// Properties are the one thing every hello and heartbeat carries, so an older manager keeps them
/// without knowing them, and an older worker simply says none.
public struct ReleaseNodeProperties: Sendable {
    /// Before the name of a label.
    public static let labelPrefix = "label."
    /// Capabilities, divided by spaces.
    public static let capabilities = "release.capabilities"
    /// Channels, divided by spaces.
    public static let channels = "release.channels"
    /// The most labels of a node: with what a product adds they fit a membership.
    public static let maximumLabels = 32
    /// The longest value, in bytes: what a membership holds.
    public static let maximumValueBytes = 1_024

    /// Labels as an operator writes them, each `name=value`.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `invalidName` for one without a name or an equals sign.
    package static func labels(
        parsing entries: [String]
    ) throws(ArtifactStoreError) -> [String: String] {
        var labels: [String: String] = [:]
        for entry in entries {
            guard let separator = entry.firstIndex(of: "="), separator > entry.startIndex else {
                throw ArtifactStoreError(
                    .invalidName,
                    "Each entry of labels is written name=value, not \(entry)."
                )
            }
            labels[String(entry[..<separator])] = String(entry[entry.index(after: separator)...])
        }
        return labels
    }

    /// The properties a node says.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `limitExceeded` for more than fits.
    public static func make(
        labels: [String: String],
        capabilities: Set<CapabilityName>,
        channels: Set<ChannelName>
    ) throws(ArtifactStoreError) -> [String: String] {
        guard labels.count <= maximumLabels else {
            throw ArtifactStoreError(
                .limitExceeded,
                "A node has at most \(maximumLabels) labels, not \(labels.count)."
            )
        }
        var properties: [String: String] = [:]
        for (name, value) in labels {
            guard !name.isEmpty, name.utf8.count <= 128 else {
                throw ArtifactStoreError(.invalidName, "A label's name has 1 to 128 bytes.")
            }
            properties[labelPrefix + name] = value
        }
        let can = capabilities.sorted().map(\.rawValue)
        if !can.isEmpty { properties[Self.capabilities] = can.joined(separator: " ") }
        properties[Self.channels] = channels.sorted().map(\.rawValue).joined(separator: " ")
        for (name, value) in properties where value.utf8.count > maximumValueBytes {
            throw ArtifactStoreError(
                .limitExceeded,
                "\(name) takes \(value.utf8.count) bytes, more than \(maximumValueBytes). Name fewer."
            )
        }
        return properties
    }
}

extension ReleaseNode {
    /// A node as its membership shows it.
    ///
    /// - Parameters:
    ///   - id: its name.
    ///   - version: of its software, as it said; anything that is no version counts as none.
    ///   - properties: what ``ReleaseNodeProperties`` made, among others.
    ///   - presence: whether it is there.
    public init(
        _ id: NodeID,
        version: String,
        properties: [String: String],
        presence: Presence
    ) {
        let prefix = ReleaseNodeProperties.labelPrefix
        var labels: [String: String] = [:]
        for (name, value) in properties where name.hasPrefix(prefix) {
            labels[String(name.dropFirst(prefix.count))] = value
        }
        let capabilities =
            properties[ReleaseNodeProperties.capabilities]?.split(separator: " ") ?? []
        self.init(
            id,
            labels: labels,
            abilities: NodeAbilities(
                capabilities: Set(capabilities.map { CapabilityName(rawValue: String($0)) }),
                softwareVersion: try? SoftwareVersion(parsing: version)
            ),
            channels: properties[ReleaseNodeProperties.channels].map { text in
                Set(text.split(separator: " ").map { ChannelName(rawValue: String($0)) })
            },
            presence: presence
        )
    }
}
