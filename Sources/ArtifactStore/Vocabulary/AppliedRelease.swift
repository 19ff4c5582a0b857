public import ClusterRole

/// A node's word on a release: what it stands on, or why it does not.
public struct AppliedRelease: Hashable, Sendable {
    /// What became of the release.
    public enum State: String, Hashable, Sendable, Codable, CaseIterable {
        /// It is active.
        case applied
        /// The node kept what it had; ``AppliedRelease/errorCode`` says why.
        case refused
    }

    /// Who says so.
    public let node: NodeID
    public let channel: ChannelName
    /// The release it is about; of two words the one about the higher number counts.
    public let number: ReleaseNumber
    /// That release's tree.
    public let root: TreeID
    public let state: State
    /// For `refused`: a code of ``ArtifactStoreError``, such as `artifacts.deployment-failed`.
    public let errorCode: String?
    /// For `refused`: the reason in words, at most ``maximumMessageBytes`` long.
    public let errorMessage: String?
    /// The node's time.
    public let at: Timestamp
    /// The life of the node that says so: it grows with each start, also after the node lost its disk. 0
    /// from a node of an earlier version.
    public let incarnation: Int64
    /// The number of this word in that life.
    public let attempt: Int64
    /// For `belowFloor`: the signed record the node holds above the refused one
    /// (``SignedRelease/encoded``), so that a restored manager learns of it.
    public let floorRecord: [UInt8]?

    /// The longest reason, in bytes of UTF-8: it is kept for each node and shown in a table.
    public static let maximumMessageBytes = 1_024

    /// A node's word: applied without `error`, refused with it.
    public init(
        node: NodeID,
        release: Release,
        error: ArtifactStoreError? = nil,
        at: Timestamp,
        floorRecord: [UInt8]? = nil,
        incarnation: Int64 = 0,
        attempt: Int64 = 0
    ) {
        self.init(
            node: node,
            channel: release.channel,
            number: release.number,
            root: release.root,
            state: error == nil ? .applied : .refused,
            errorCode: error?.codeName,
            errorMessage: error?.message,
            at: at,
            floorRecord: floorRecord,
            incarnation: incarnation,
            attempt: attempt
        )
    }

    /// Every field, as a driver or an interface reads them back.
    public init(
        node: NodeID,
        channel: ChannelName,
        number: ReleaseNumber,
        root: TreeID,
        state: State,
        errorCode: String?,
        errorMessage: String?,
        at: Timestamp,
        floorRecord: [UInt8]?,
        incarnation: Int64 = 0,
        attempt: Int64 = 0
    ) {
        self.node = node
        self.channel = channel
        self.number = number
        self.root = root
        self.state = state
        self.errorCode = errorCode
        self.errorMessage = errorMessage.map(Self.shortened)
        self.at = at
        self.floorRecord = floorRecord
        self.incarnation = incarnation
        self.attempt = attempt
    }

    /// The beginning of a long reason, cut between characters.
    private static func shortened(_ message: String) -> String {
        guard message.utf8.count > maximumMessageBytes else { return message }
        var length = maximumMessageBytes
        while length > 0 {
            if let text = String(validating: message.utf8.prefix(length), as: UTF8.self) {
                return text
            }
            length -= 1
        }
        return ""
    }

    /// Whether this says something newer than `other` does about the same node and channel. Drivers keep
    /// only the newest.
    ///
    /// Within one life of the node a higher release counts, or the same release later. A word of an
    /// earlier life never counts, however late it arrives. One of a later life does, even about a lower
    /// release, if that is applied: then the node lost what it had. That it refuses a lower one says
    /// nothing about what it stands on.
    public func supersedes(_ other: AppliedRelease) -> Bool {
        guard incarnation == other.incarnation else {
            return incarnation > other.incarnation
                && (number >= other.number || state == .applied)
        }
        guard number == other.number else { return number > other.number }
        guard attempt == other.attempt else { return attempt > other.attempt }
        return at >= other.at
    }
}

extension AppliedRelease {
    /// The form it travels in. Version 2: node, channel, number, root, state (0 applied, 1
    /// refused), error code, error message, time, record at the floor, incarnation, attempt. Version 1 ends
    /// with the record.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 256)
        writer.write(UInt8(2))
        writer.write(node.rawValue)
        writer.write(channel.rawValue)
        writer.write(number.rawValue)
        writer.write(root.digest)
        writer.write(state == .applied ? UInt8(0) : UInt8(1))
        writer.write(optional: errorCode) { $0.write($1) }
        writer.write(optional: errorMessage) { $0.write($1) }
        writer.write(at.rawValue)
        writer.write(optional: floorRecord) { $0.write($1) }
        writer.write(incarnation)
        writer.write(attempt)
        return writer.bytes
    }

    /// Decodes ``encoded``.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `malformed` or `invalidName`.
    public init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        var reader = ByteReader(bytes)
        do {
            let version = try reader.expectVersion(1...2, of: "acknowledgements")
            self.init(
                node: try NodeID(validating: reader.readString()),
                channel: ChannelName(rawValue: try reader.readString()),
                number: ReleaseNumber(try reader.readInt64()),
                root: TreeID(try reader.readDigest()),
                state: try reader.readBool() ? .refused : .applied,
                errorCode: try reader.readOptional { (reader) throws(ClusterRoleError) in
                    try reader.readString()
                },
                errorMessage: try reader.readOptional { (reader) throws(ClusterRoleError) in
                    try reader.readString()
                },
                at: Timestamp(rawValue: try reader.readInt64()),
                floorRecord: try reader.readOptional { (reader) throws(ClusterRoleError) in
                    try reader.readBytes()
                },
                incarnation: version == 1 ? 0 : try reader.readInt64(),
                attempt: version == 1 ? 0 : try reader.readInt64()
            )
            try reader.expectEnd()
        } catch {
            throw .malformed("The acknowledgement cannot be read.", cause: error)
        }
        _ = try ChannelName(validating: channel.rawValue)
    }
}
