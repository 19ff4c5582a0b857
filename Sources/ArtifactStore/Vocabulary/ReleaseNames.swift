public import ClusterRole

/// The name of a line of releases, such as `web/site`: parts divided by `/`.
public struct ChannelName: RawRepresentable, Hashable, Sendable, Comparable,
    CustomStringConvertible, ExpressibleByStringLiteral, Codable
{
    public let rawValue: String

    /// Wraps a name that is known to be valid: a literal, or a row read back. Publishing checks it.
    public init(rawValue: String) { self.rawValue = rawValue }
    /// A name in source code; it is checked where it is used.
    public init(stringLiteral name: String) { self.init(rawValue: name) }

    /// Validates a name that came from outside.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `invalidName` unless it has 1 to 255 bytes and
    ///   every part between slashes is a name as `NameIdentifier` requires it: visible, not `.` or `..`.
    public init(validating name: String) throws(ArtifactStoreError) {
        guard name.utf8.count <= maximumNameLength else {
            throw ArtifactStoreError(
                .invalidName,
                "A channel has at most \(maximumNameLength) bytes. Choose a shorter name."
            )
        }
        for part in name.split(separator: "/", omittingEmptySubsequences: false) {
            do {
                _ = try TenantID(validating: String(part))
            } catch {
                throw ArtifactStoreError(
                    .invalidName,
                    "A channel is written as visible names divided by single slashes, such as web/site.",
                    cause: error
                )
            }
        }
        self.init(rawValue: name)
    }

    public var description: String { rawValue }
    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// The number of a release in its channel: 1, 2, 3, … without gaps.
public struct ReleaseNumber: RawRepresentable, Hashable, Sendable, Comparable,
    CustomStringConvertible, Codable
{
    public let rawValue: Int64
    /// A number that was read back; a channel counts them itself.
    public init(rawValue: Int64) { self.rawValue = rawValue }
    /// The same, shorter.
    public init(_ rawValue: Int64) { self.rawValue = rawValue }
    public var description: String { String(rawValue) }
    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

    /// The number after it.
    public var next: ReleaseNumber { ReleaseNumber(rawValue &+ 1) }
    /// The number of a channel's first release.
    public static let first = ReleaseNumber(1)
}

/// What an artifact is; a worker's ``Deployer`` says which kind it loads.
public struct ArtifactKind: NameIdentifier, ExpressibleByStringLiteral, Codable {
    public static let noun = "artifact kind"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public init(stringLiteral name: String) { self.init(rawValue: name) }

    /// Files without further meaning.
    public static let files: ArtifactKind = "files"
    /// An application that is served over HTTP.
    public static let webApplication: ArtifactKind = "web-application"
    /// A program that runs beside the server.
    public static let service: ArtifactKind = "service"
    /// Settings that other programs read.
    public static let configuration: ArtifactKind = "configuration"
}

/// Names a signing key: the first 16 bytes of the SHA-256 of the public key, in hexadecimal.
public struct SigningKeyID: RawRepresentable, Hashable, Sendable, CustomStringConvertible, Codable {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public var description: String { rawValue }
}
