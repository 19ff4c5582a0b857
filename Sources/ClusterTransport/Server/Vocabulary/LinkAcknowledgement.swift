#if Server
public import ArtifactStore
public import ClusterRole

/// A node's word on a release.
public struct LinkAcknowledgement: Hashable, Sendable, Codable {
    public var tenant: String
    public var node: String
    public var channel: String
    public var number: Int64
    public var root: String
    public var isApplied: Bool
    public var errorCode: String?
    public var errorMessage: String?
    /// The node's time, in milliseconds since 1970.
    public var at: Int64
    /// Hexadecimal; at most `SignedRelease.maximumRecordBytes` and its signature.
    public var floorRecord: String?
    /// The life of the node, and the number of this word in it; absent from an earlier version.
    public var incarnation: Int64?
    public var attempt: Int64?

    public init(tenant: TenantID, applied: AppliedRelease) {
        self.tenant = tenant.rawValue
        node = applied.node.rawValue
        channel = applied.channel.rawValue
        number = applied.number.rawValue
        root = applied.root.description
        isApplied = applied.state == .applied
        errorCode = applied.errorCode
        errorMessage = applied.errorMessage
        at = applied.at.milliseconds
        floorRecord = applied.floorRecord.map { hexadecimal($0) }
        incarnation = applied.incarnation == 0 ? nil : applied.incarnation
        attempt = applied.attempt == 0 ? nil : applied.attempt
    }

    /// The acknowledgement.
    ///
    /// - Throws: ``ClusterTransportError`` with code `malformed`, or what a name's validation throws.
    public func applied() throws -> AppliedRelease {
        AppliedRelease(
            node: try NodeID(validating: node),
            channel: try ChannelName(validating: channel),
            number: ReleaseNumber(number),
            root: try TreeID(parsing: root),
            state: isApplied ? .applied : .refused,
            errorCode: errorCode.map { String($0.prefix(255)) },
            errorMessage: errorMessage,
            at: Timestamp(milliseconds: at),
            floorRecord: try floorRecord.map { try bytes(hexadecimal: $0) },
            incarnation: incarnation ?? 0,
            attempt: attempt ?? 0
        )
    }
}

extension LinkAcknowledgement {
    /// The longest ``encoded(_:tenant:)``: names, a reason, and a record at the floor.
    package static let maximumEncodedBytes = 64 << 10

    /// The short form. Version 1: tenant, `AppliedRelease.encoded`, each with its length before it.
    package static func encoded(_ applied: AppliedRelease, tenant: TenantID) -> [UInt8] {
        var writer = ByteWriter(capacity: 128)
        writer.write(UInt8(1))
        writer.write(tenant.rawValue)
        writer.write(applied.encoded)
        return writer.bytes
    }

    /// Decodes ``encoded(_:tenant:)``.
    ///
    /// - Throws: ``ClusterTransportError`` with code `malformed`, or what the word throws.
    package init(decoding bytes: [UInt8]) throws {
        var reader = ByteReader(bytes)
        let parts: (tenant: String, applied: [UInt8])
        do {
            try reader.expectVersion(1, of: "acknowledgements")
            parts = (try reader.readString(), try reader.readBytes())
            try reader.expectEnd()
        } catch {
            throw ClusterTransportError(
                .malformed,
                "The acknowledgement cannot be read. Send it as JSON, or compare versions.",
                cause: error
            )
        }
        self.init(
            tenant: try TenantID(validating: parts.tenant),
            applied: try AppliedRelease(decoding: parts.applied)
        )
    }
}

private func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(
        decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] },
        as: UTF8.self
    )
}

private func bytes(hexadecimal text: String) throws -> [UInt8] {
    let digits = Array(text.utf8)
    var result: [UInt8] = []
    for index in stride(from: 0, to: digits.count - digits.count % 2, by: 2) {
        guard
            let byte = UInt8(String(decoding: digits[index...index + 1], as: UTF8.self), radix: 16)
        else { break }
        result.append(byte)
    }
    guard result.count * 2 == digits.count else {
        throw ClusterTransportError(.malformed, "The record at the floor is not hexadecimal.")
    }
    return result
}
#endif
