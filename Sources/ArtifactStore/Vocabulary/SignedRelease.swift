internal import ClusterRole

/// One key's Ed25519 signature (RFC 8032) under a record.
public struct KeySignature: Hashable, Sendable {
    /// Whose it is said to be.
    public let key: SigningKeyID
    /// 64 bytes.
    public let bytes: [UInt8]

    /// - Throws: ``ArtifactStoreError`` with code `malformed` unless there are 64 bytes, and the
    ///   key's name has 32 hexadecimal digits.
    public init(key: SigningKeyID, bytes: [UInt8]) throws(ArtifactStoreError) {
        guard bytes.count == 64, key.isWellFormed else {
            throw .malformed("A signature has 64 bytes and names its key.")
        }
        self.key = key
        self.bytes = bytes
    }
}

/// A release record and the Ed25519 signatures (RFC 8032) under it.
///
/// The record's own bytes are kept, so that what is verified is what was signed. Whether the
/// signatures match, and are enough, says ``TrustedKeys``.
public struct SignedRelease: Hashable, Sendable {
    /// What the record says.
    public let release: Release
    /// ``Release/encoded`` as it was signed.
    public let record: [UInt8]
    /// One for each key, sorted by the keys' names.
    public let signatures: [KeySignature]

    /// - Throws: ``ArtifactStoreError`` with code `malformed` when the record cannot be read, there
    ///   is no signature or more than ``maximumSignatures``, or a key signs twice.
    public init(record: [UInt8], signatures: [KeySignature]) throws(ArtifactStoreError) {
        guard record.count <= Self.maximumRecordBytes else {
            throw .malformed("The signed release has an impossible length.")
        }
        release = try Release(decoding: record)
        self.record = record
        self.signatures = try KeySignature.sorted(signatures)
    }

    /// Signed by the publisher's key alone.
    ///
    /// - Throws: as ``init(record:signatures:)``.
    public init(record: [UInt8], signature: [UInt8]) throws(ArtifactStoreError) {
        let release = try Release(decoding: record)
        try self.init(
            record: record,
            signatures: [KeySignature(key: release.key, bytes: signature)]
        )
    }

    /// The signature of the publisher's key; empty if only others signed.
    public var signature: [UInt8] {
        signatures.first { $0.key == release.key }?.bytes ?? []
    }

    /// The longest record, in bytes: names of at most 255 bytes, and as many dependencies and
    /// capabilities as may be, fit.
    public static let maximumRecordBytes = 8_192
    /// The most keys that sign one record.
    public static let maximumSignatures = 8

    /// The bytes under the signature: a fixed text, so that a signature made for something else
    /// never passes for one of a release, and the record.
    public static func signedBytes(of record: [UInt8]) -> [UInt8] {
        Array("reeve release\0".utf8) + record
    }

    /// Version 2: record, then each signature's key and bytes, all with their length before them.
    ///
    /// Version 1, record and one signature by ``Release/key``, is still read.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: record.count + 128 * signatures.count)
        writer.write(UInt8(2))
        writer.write(record)
        writer.write(signatures: signatures)
        return writer.bytes
    }

    /// Decodes ``encoded``, or version 1 of it.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `malformed`, or as ``Release/validate()``.
    public init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        var reader = ByteReader(bytes)
        let record: [UInt8]
        let signatures: [(key: String, bytes: [UInt8])]
        do {
            let version = try reader.expectVersion(1...2, of: "signed releases")
            record = try reader.readBytes()
            signatures =
                version == 1
                ? [("", try reader.readBytes())] : try reader.readSignatures()
            try reader.expectEnd()
        } catch {
            throw .malformed("The signed release cannot be read.", cause: error)
        }
        if signatures.count == 1, signatures[0].key.isEmpty {
            try self.init(record: record, signature: signatures[0].bytes)
        } else {
            try self.init(record: record, signatures: try KeySignature.checked(signatures))
        }
    }
}

extension SigningKeyID {
    var isWellFormed: Bool {
        rawValue.utf8.count == 32
            && rawValue.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x66).contains($0)
            }
    }
}

extension KeySignature {
    /// Each key once, however often it signed.
    static func sorted(
        _ list: [KeySignature],
        upTo limit: Int = SignedRelease.maximumSignatures
    ) throws(ArtifactStoreError) -> [KeySignature] {
        guard (1...limit).contains(list.count) else {
            throw .malformed("A record has 1 to \(limit) signatures.")
        }
        let sorted = list.sorted { $0.key.rawValue < $1.key.rawValue }
        guard zip(sorted, sorted.dropFirst()).allSatisfy({ $0.key != $1.key }) else {
            throw .malformed("One key signs a record twice.")
        }
        return sorted
    }

    static func checked(
        _ read: [(key: String, bytes: [UInt8])]
    ) throws(ArtifactStoreError) -> [KeySignature] {
        var list: [KeySignature] = []
        for one in read {
            list.append(try KeySignature(key: SigningKeyID(rawValue: one.key), bytes: one.bytes))
        }
        guard zip(list, list.dropFirst()).allSatisfy({ $0.key.rawValue < $1.key.rawValue }) else {
            throw .malformed("The signatures are not sorted by key, or one key signs twice.")
        }
        return list
    }
}

extension ByteWriter {
    mutating func write(signatures: [KeySignature]) {
        write(array: signatures) { writer, signature in
            writer.write(signature.key.rawValue)
            writer.write(signature.bytes)
        }
    }
}

extension ByteReader {
    mutating func readSignatures() throws(ClusterRoleError) -> [(key: String, bytes: [UInt8])] {
        try readArray(elementSize: 98) { (reader) throws(ClusterRoleError) in
            (try reader.readString(), try reader.readBytes())
        }
    }
}
