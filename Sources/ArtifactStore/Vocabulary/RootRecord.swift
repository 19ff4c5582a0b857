public import ClusterRole

/// The keys of one role, and how many of them must sign.
public struct RoleKeys: Hashable, Sendable {
    /// Sorted by their ids, none twice.
    public let keys: [ReleasePublicKey]
    /// How many different keys must sign; at least 1.
    public let threshold: Int

    /// The most keys of a role.
    public static let maximumKeys = SignedRelease.maximumSignatures

    /// - Throws: ``ArtifactStoreError`` with code `malformed` unless there are 1 to ``maximumKeys``
    ///   different keys, and the threshold is between 1 and their number.
    public init(_ keys: [ReleasePublicKey], threshold: Int = 1) throws(ArtifactStoreError) {
        let sorted = keys.sorted { $0.id.rawValue < $1.id.rawValue }
        guard zip(sorted, sorted.dropFirst()).allSatisfy({ $0.id != $1.id }) else {
            throw .malformed("A role names each of its keys once.")
        }
        guard (1...Self.maximumKeys).contains(sorted.count),
            (1...sorted.count).contains(threshold)
        else {
            throw .malformed(
                "A role has 1 to \(Self.maximumKeys) keys and a threshold from 1 to their number."
            )
        }
        self.keys = sorted
        self.threshold = threshold
    }

    /// How many different keys of this role signed `message`. A key that signs twice counts once.
    func count(of signatures: [KeySignature], under message: [UInt8]) -> Int {
        var counted: Set<SigningKeyID> = []
        for signature in signatures {
            guard !counted.contains(signature.key),
                let key = keys.first(where: { $0.id == signature.key }),
                key.isValid(signature: signature.bytes, for: message)
            else { continue }
            counted.insert(key.id)
        }
        return counted.count
    }

    /// - Parameter what: what is signed, for the message: `release 7`.
    func verify(
        _ signatures: [KeySignature],
        under message: [UInt8],
        of what: String
    ) throws(ArtifactStoreError) {
        let isKnown = signatures.contains { one in keys.contains { $0.id == one.key } }
        guard isKnown else {
            let names = signatures.map(\.key.rawValue).joined(separator: ", ")
            throw ArtifactStoreError(
                .untrustedSignature,
                "The \(what) is signed with key \(names), which this node does not trust. "
                    + "Add it to the trusted keys if it is yours."
            )
        }
        let valid = count(of: signatures, under: message)
        guard valid > 0 else {
            throw ArtifactStoreError(
                .untrustedSignature,
                "The signature of the \(what) does not match. It was changed on its way."
            )
        }
        guard valid >= threshold else {
            throw ArtifactStoreError(
                .untrustedSignature,
                "The \(what) is signed by \(valid) of the \(threshold) keys that are needed. "
                    + "Have the others sign it, too."
            )
        }
    }
}

/// Which keys may sign what: the record at the root of a worker's trust.
///
/// A worker that has version N takes version N + 1 only, and only if enough root keys of **both**
/// versions signed it. So a key that got lost or stolen is replaced from afar, and whoever has less
/// than the threshold of root keys can replace nothing.
public struct RootRecord: Hashable, Sendable {
    /// 1, 2, 3, … without gaps.
    public let version: Int64
    /// Who signs the next root record. Keep these keys off the managers.
    public let rootKeys: RoleKeys
    /// Who signs releases.
    public let releaseKeys: RoleKeys
    /// Who signs pointers, which say what is the newest now. A manager needs these at hand.
    public let pointerKeys: RoleKeys
    /// From then on nothing new is accepted under it; what is active goes on being served. `nil` for
    /// never.
    public let expires: Timestamp?

    /// - Throws: ``ArtifactStoreError`` with code `malformed` for a version below 1.
    public init(
        version: Int64,
        rootKeys: RoleKeys,
        releaseKeys: RoleKeys,
        pointerKeys: RoleKeys,
        expires: Timestamp? = nil
    ) throws(ArtifactStoreError) {
        guard version >= 1 else { throw .malformed("Root records are numbered from 1 upwards.") }
        self.version = version
        self.rootKeys = rootKeys
        self.releaseKeys = releaseKeys
        self.pointerKeys = pointerKeys
        self.expires = expires
    }

    /// The canonical binary form, which is what is signed. Version 1: version of the record; root,
    /// release and pointer keys, each as their number, the 32 bytes of each, and the threshold;
    /// expiry.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 256)
        writer.write(UInt8(1))
        writer.write(version)
        for role in [rootKeys, releaseKeys, pointerKeys] {
            writer.write(array: role.keys) { $0.writeRaw($1.bytes) }
            writer.writeVariable(UInt64(role.threshold))
        }
        writer.write(optional: expires) { $0.write($1.rawValue) }
        return writer.bytes
    }

    /// Decodes ``encoded``. It says nothing about signatures.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `malformed`.
    public init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        var reader = ByteReader(bytes)
        var roles: [(keys: [[UInt8]], threshold: UInt64)] = []
        let version: Int64
        let expires: Timestamp?
        do {
            try reader.expectVersion(1, of: "root records")
            version = try reader.readInt64()
            for _ in 0..<3 {
                let keys = try reader.readArray(elementSize: 32) {
                    (reader) throws(ClusterRoleError) in Array(try reader.readRaw(32))
                }
                roles.append((keys, try reader.readVariable()))
            }
            expires = try reader.readOptional { (reader) throws(ClusterRoleError) in
                Timestamp(rawValue: try reader.readInt64())
            }
            try reader.expectEnd()
        } catch {
            throw .malformed("The root record cannot be read.", cause: error)
        }
        try self.init(
            version: version,
            rootKeys: try Self.role(roles[0]),
            releaseKeys: try Self.role(roles[1]),
            pointerKeys: try Self.role(roles[2]),
            expires: expires
        )
        guard encoded == bytes else { throw .malformed("The root record is not canonical.") }
    }

    private static func role(
        _ read: (keys: [[UInt8]], threshold: UInt64)
    ) throws(ArtifactStoreError) -> RoleKeys {
        guard read.keys.count <= RoleKeys.maximumKeys,
            let threshold = Int(exactly: read.threshold)
        else { throw .malformed("A role of the root record has too many keys.") }
        var keys: [ReleasePublicKey] = []
        for bytes in read.keys { keys.append(try ReleasePublicKey(bytes: bytes)) }
        return try RoleKeys(keys, threshold: threshold)
    }
}

/// A root record and the signatures under it.
public struct SignedRoot: Hashable, Sendable {
    /// What it says.
    public let root: RootRecord
    /// ``RootRecord/encoded`` as it was signed.
    public let record: [UInt8]
    /// One for each key, sorted by the keys' names: those of the version before, and its own.
    public let signatures: [KeySignature]

    /// The longest record, in bytes: three roles of eight keys fit.
    public static let maximumRecordBytes = 1_024
    /// Twice the keys of a role: the old ones and the new ones sign.
    public static let maximumSignatures = 2 * RoleKeys.maximumKeys
    /// The longest ``encoded`` form, in bytes.
    public static let maximumEncodedBytes = 4_096

    /// - Throws: ``ArtifactStoreError`` with code `malformed`.
    public init(record: [UInt8], signatures: [KeySignature]) throws(ArtifactStoreError) {
        guard record.count <= Self.maximumRecordBytes else {
            throw .malformed("The root record has an impossible length.")
        }
        root = try RootRecord(decoding: record)
        self.record = record
        self.signatures = try KeySignature.sorted(signatures, upTo: Self.maximumSignatures)
    }

    /// Has every signer sign the record.
    public static func signed(
        _ root: RootRecord,
        by signers: [any ReleaseSigner]
    ) async throws -> SignedRoot {
        let record = root.encoded
        return try SignedRoot(
            record: record,
            signatures: try await allSignatures(by: signers, under: signedBytes(of: record))
        )
    }

    /// The bytes under the signatures: a fixed text, and the record.
    public static func signedBytes(of record: [UInt8]) -> [UInt8] {
        Array("reeve root\0".utf8) + record
    }

    /// Version 1: record, then each signature's key and bytes, all with their length before them.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 512)
        writer.write(UInt8(1))
        writer.write(record)
        writer.write(signatures: signatures)
        return writer.bytes
    }

    /// Decodes ``encoded``.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `malformed`.
    public init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        let (record, signatures) = try Self.read(
            bytes,
            version: 1,
            upTo: Self.maximumEncodedBytes,
            of: "signed root records"
        )
        try self.init(record: record, signatures: signatures)
    }

    /// Checks that this record's own root keys signed it: what makes it fit to be pinned.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `untrustedSignature`.
    public func verifyOwnSignatures() throws(ArtifactStoreError) {
        try root.rootKeys.verify(
            signatures,
            under: Self.signedBytes(of: record),
            of: "root record \(root.version)"
        )
    }

    /// What signed records have in common.
    static func read(
        _ bytes: [UInt8],
        version: UInt8,
        upTo limit: Int,
        of format: String
    ) throws(ArtifactStoreError) -> ([UInt8], [KeySignature]) {
        guard bytes.count <= limit else {
            throw .malformed("Of \(format) none has more than \(limit) bytes.")
        }
        var reader = ByteReader(bytes)
        let parts: (record: [UInt8], signatures: [(key: String, bytes: [UInt8])])
        do {
            try reader.expectVersion(version, of: format)
            parts = (try reader.readBytes(), try reader.readSignatures())
            try reader.expectEnd()
        } catch {
            throw .malformed("Of \(format) this one cannot be read.", cause: error)
        }
        return (parts.record, try KeySignature.checked(parts.signatures))
    }
}

/// Every signer's signature under one message.
func allSignatures(
    by signers: [any ReleaseSigner],
    under message: [UInt8]
) async throws -> [KeySignature] {
    var list: [KeySignature] = []
    for signer in signers where !list.contains(where: { $0.key == signer.publicKey.id }) {
        list.append(
            try KeySignature(
                key: signer.publicKey.id,
                bytes: try await signer.signature(for: message)
            )
        )
    }
    return list
}
