#if Server
package import ArtifactStore
internal import ClusterRole

/// A release and what proves that it is the newest, in one answer: for a worker that says in its query which
/// root record it goes by.
package struct LinkRelease: Hashable, Sendable {
    package var published: PublishedRelease
    package var trust: TrustAnswer

    package init(published: PublishedRelease, trust: TrustAnswer) {
        self.published = published
        self.trust = trust
    }

    /// Version 2: the published release and the trust, each with its length before it. A published release
    /// alone begins with version 1.
    package var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 1_024)
        writer.write(Self.version)
        writer.write(published.encoded)
        writer.write(trust.encoded)
        return writer.bytes
    }

    /// Whether an answer is this form, and not a published release alone.
    package static func begins(_ bytes: [UInt8]) -> Bool { bytes.first == version }

    private static let version: UInt8 = 2

    /// Decodes ``encoded``. It says nothing about signatures.
    ///
    /// - Throws: ``ClusterTransportError`` with code `malformed`, or what the parts throw.
    package init(decoding bytes: [UInt8]) throws {
        var reader = ByteReader(bytes)
        let parts: (published: [UInt8], trust: [UInt8])
        do {
            try reader.expectVersion(Self.version, of: "releases with their trust")
            parts = (try reader.readBytes(), try reader.readBytes())
            try reader.expectEnd()
        } catch {
            throw ClusterTransportError(
                .malformed,
                "A release with its trust cannot be read. Compare versions.",
                cause: error
            )
        }
        published = try PublishedRelease(decoding: parts.published)
        trust = try TrustAnswer(decoding: parts.trust)
    }
}
#endif
