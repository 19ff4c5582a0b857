public import ClusterRole

/// A release needs another channel of its tenant to be at a release at least.
///
/// It means: a worker that takes both activates the other one first, and removes it last.
public struct ReleaseDependency: Hashable, Sendable, Comparable, Codable {
    /// The other channel; never the one of the release itself.
    public let channel: ChannelName
    /// The lowest release of that channel that will do.
    public let lowest: ReleaseNumber

    /// Any release of `channel` from `lowest` on.
    public init(_ channel: ChannelName, atLeast lowest: ReleaseNumber = .first) {
        self.channel = channel
        self.lowest = lowest
    }

    public static func < (left: Self, right: Self) -> Bool {
        (left.channel, left.lowest) < (right.channel, right.lowest)
    }
}

/// Something a worker can do or has, by name, such as `gpu` or `java-21`.
public struct CapabilityName: NameIdentifier, ExpressibleByStringLiteral, Codable {
    public static let noun = "capability"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public init(stringLiteral name: String) { self.init(rawValue: name) }

    /// 64 bytes: many of them fit a signed record.
    public static let maximumBytes = 64
}

/// Who published a release, in the publisher's own words, such as `build-server`. It is signed with
/// the release; it grants nothing.
public struct PublisherName: NameIdentifier, ExpressibleByStringLiteral, Codable {
    public static let noun = "publisher name"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public init(stringLiteral name: String) { self.init(rawValue: name) }
}

/// A version of a node's software: one to four numbers divided by dots, such as `2.10.3`.
///
/// Missing numbers are zero: `2.10` is `2.10.0`, and is written so. Numbers are compared as numbers.
public struct SoftwareVersion: Hashable, Sendable, Comparable, CustomStringConvertible, Codable {
    private let parts: [UInt32]

    /// Parses a version that came from outside.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `invalidName` for anything but one to four
    ///   numbers below 1,000,000,000 without leading zeros, divided by dots.
    public init(parsing text: String) throws(ArtifactStoreError) {
        let fields = text.split(separator: ".", omittingEmptySubsequences: false)
        var parts: [UInt32] = []
        for field in fields where parts.count <= Self.maximumParts {
            let isNumber =
                (1...9).contains(field.utf8.count)
                && field.utf8.allSatisfy { (0x30...0x39).contains($0) }
                && (field == "0" || field.utf8.first != 0x30)
            guard isNumber, let number = UInt32(field) else { throw Self.invalid(text) }
            parts.append(number)
        }
        guard !parts.isEmpty, parts.count <= Self.maximumParts else { throw Self.invalid(text) }
        while parts.count < 3 { parts.append(0) }
        if parts.count == Self.maximumParts, parts.last == 0 { parts.removeLast() }
        self.parts = parts
    }

    private static let maximumParts = 4

    private static func invalid(_ text: String) -> ArtifactStoreError {
        ArtifactStoreError(
            .invalidName,
            "A software version is one to four numbers divided by dots, such as 2.10.3, not "
                + "\(String(text.prefix(40)))."
        )
    }

    /// Three numbers, or four if the fourth is not zero: one version has one spelling.
    public var description: String { parts.map(String.init).joined(separator: ".") }

    public static func < (left: Self, right: Self) -> Bool {
        left.parts.lexicographicallyPrecedes(right.parts)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    public init(from decoder: any Decoder) throws {
        try self.init(parsing: try decoder.singleValueContainer().decode(String.self))
    }
}

/// What a node must be able to do before a release is offered to it.
public struct ReleaseRequirements: Hashable, Sendable, Codable {
    /// Names a node must have, all of them: sorted, none twice.
    public let capabilities: [CapabilityName]
    /// The lowest version of the node's software; `nil` for any.
    public let softwareVersion: SoftwareVersion?

    /// Nothing, unless said otherwise. Order and repetition of the names do not matter.
    public init(
        capabilities: some Sequence<CapabilityName> = [],
        softwareVersion: SoftwareVersion? = nil
    ) {
        self.capabilities = Set(capabilities).sorted()
        self.softwareVersion = softwareVersion
    }

    /// Any node will do.
    public static let none = ReleaseRequirements()

    /// Any node will do.
    public var isEmpty: Bool { capabilities.isEmpty && softwareVersion == nil }

    /// The most capabilities of one release.
    public static let maximumCapabilities = 32

    /// What `abilities` lack, in order; empty if the node may have the release.
    public func unmet(by abilities: NodeAbilities) -> [UnmetRequirement] {
        var unmet = capabilities.filter { !abilities.capabilities.contains($0) }
            .map(UnmetRequirement.capability)
        if let lowest = softwareVersion {
            let isNew = abilities.softwareVersion.map { $0 >= lowest } ?? false
            if !isNew {
                unmet.append(
                    .softwareVersion(lowest: lowest, actual: abilities.softwareVersion)
                )
            }
        }
        return unmet
    }
}

/// What a node says it can do.
public struct NodeAbilities: Hashable, Sendable, Codable {
    /// What it has, by name.
    public var capabilities: Set<CapabilityName>
    /// The version of its software; without one it takes no release that asks for any.
    public var softwareVersion: SoftwareVersion?

    /// A node that says nothing has nothing.
    public init(capabilities: Set<CapabilityName> = [], softwareVersion: SoftwareVersion? = nil) {
        self.capabilities = capabilities
        self.softwareVersion = softwareVersion
    }

    /// Reads what an operator wrote.
    ///
    /// - Throws: as the two names do.
    package init(parsing capabilities: [String], softwareVersion: String?) throws {
        self.init(
            capabilities: Set(try capabilities.map { try CapabilityName(validating: $0) }),
            softwareVersion: try softwareVersion.map { try SoftwareVersion(parsing: $0) }
        )
    }
}

/// One thing a node lacks for a release.
public enum UnmetRequirement: Hashable, Sendable, CustomStringConvertible {
    case capability(CapabilityName)
    /// The version that is asked for, and the node's own if it named one.
    case softwareVersion(lowest: SoftwareVersion, actual: SoftwareVersion?)

    /// For people: `capability gpu`, `software 2.1.0, has 2.0.3`.
    public var description: String {
        switch self {
        case .capability(let name): "capability \(name)"
        case .softwareVersion(let lowest, let actual):
            "software \(lowest), has \(actual?.description ?? "none")"
        }
    }
}
