public import ClusterRole
internal import Crypto
internal import FoundationEssentials

/// The name of a sealed value, such as `database-password`; it is signed and sealed with it.
public struct SecretName: NameIdentifier, ExpressibleByStringLiteral, Codable {
    public static let noun = "secret name"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public init(stringLiteral name: String) { self.init(rawValue: name) }
}

/// A secret that can lie in a published tree: only the nodes it is sealed to can open it.
///
/// It is an ordinary file of the tree. Managers, mirrors, bundles and a worker's disk hold
/// ``encoded``; the plaintext exists where it is sealed, and in the memory of a process that opens
/// it with its ``OpeningKey``.
///
/// The content is encrypted with ChaCha20-Poly1305 (RFC 8439) under a key of its own, and that key
/// to each recipient with HPKE (RFC 9180, base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
/// ChaCha20Poly1305) as swift-crypto implements it. Tenant and name are authenticated, so a value
/// cannot be passed off as another one. Who sealed it is not: the release's signature says that.
public struct SealedValue: Hashable, Sendable {
    /// Whose it is.
    public let tenant: TenantID
    /// What it is called.
    public let name: SecretName
    /// Who can open it: sorted, none twice.
    public let recipients: [SigningKeyID]
    /// The file's bytes.
    public let encoded: [UInt8]
    let envelopes: [Envelope]
    let header: [UInt8]
    let box: [UInt8]

    /// The content's key, sealed to one recipient.
    struct Envelope: Hashable, Sendable {
        let recipient: SigningKeyID
        let encapsulated: [UInt8]
        let wrapped: [UInt8]
    }

    /// The longest secret, in bytes. 64 KiB: a key, a certificate or a file of settings.
    public static let maximumBytes = 64 << 10
    /// The most nodes one value is sealed to.
    public static let maximumRecipients = 1_024
    /// The longest ``encoded`` form, in bytes.
    public static let maximumEncodedBytes = maximumBytes + maximumRecipients * 128 + 1_024

    private static let magic = Array("reeve sealed\0".utf8)
    private static let tagBytes = 16

    /// Seals a secret.
    ///
    /// - Parameters:
    ///   - secret: 1 to ``maximumBytes`` bytes.
    ///   - name: what it is called.
    ///   - tenant: whose it is.
    ///   - recipients: the public keys of the nodes that may open it.
    ///   - random: the source of the content's key.
    /// - Throws: ``ArtifactStoreError`` with code `limitExceeded` or `invalidName`.
    public init(
        sealing secret: [UInt8],
        as name: SecretName,
        tenant: TenantID = .standard,
        to recipients: [SealingPublicKey],
        random: any RandomSource = SystemRandomSource()
    ) throws(ArtifactStoreError) {
        let unique = Dictionary(recipients.map { ($0.id.rawValue, $0) }) { first, _ in first }
        guard (1...Self.maximumBytes).contains(secret.count),
            (1...Self.maximumRecipients).contains(unique.count)
        else {
            throw ArtifactStoreError(
                .limitExceeded,
                "A sealed value has 1 to \(Self.maximumBytes) bytes and 1 to \(Self.maximumRecipients) "
                    + "recipients."
            )
        }
        do {
            _ = try SecretName(validating: name.rawValue)
            let key = random.bytes(32)
            var envelopes: [Envelope] = []
            for (_, recipient) in unique.sorted(by: { $0.key < $1.key }) {
                envelopes.append(try recipient.wrap(key, info: Self.info(tenant, name)))
            }
            let header = Self.header(tenant, name, envelopes)
            let box = try ChaChaPoly.seal(
                secret,
                using: SymmetricKey(data: key),
                nonce: ChaChaPoly.Nonce(data: [UInt8](repeating: 0, count: 12)),
                authenticating: header
            )
            self.init(
                tenant,
                name,
                envelopes,
                header: header,
                box: Array(box.ciphertext) + Array(box.tag)
            )
        } catch {
            throw ArtifactStoreError(.invalidName, "The value cannot be sealed.", cause: error)
        }
    }

    private init(
        _ tenant: TenantID,
        _ name: SecretName,
        _ envelopes: [Envelope],
        header: [UInt8],
        box: [UInt8]
    ) {
        self.tenant = tenant
        self.name = name
        self.envelopes = envelopes
        self.header = header
        self.box = box
        recipients = envelopes.map(\.recipient)
        var writer = ByteWriter(capacity: header.count + box.count + 4)
        writer.writeRaw(header)
        writer.write(box)
        encoded = writer.bytes
    }

    static func info(_ tenant: TenantID, _ name: SecretName) -> [UInt8] {
        var writer = ByteWriter()
        writer.writeRaw(magic)
        writer.write(tenant.rawValue)
        writer.write(name.rawValue)
        return writer.bytes
    }

    /// Everything before the box: `reeve sealed` and a zero byte, version 1, tenant, name, and each
    /// recipient with the encapsulated key (32 bytes) and the wrapped one (48).
    private static func header(
        _ tenant: TenantID,
        _ name: SecretName,
        _ envelopes: [Envelope]
    ) -> [UInt8] {
        var writer = ByteWriter()
        writer.writeRaw(magic)
        writer.write(UInt8(1))
        writer.write(tenant.rawValue)
        writer.write(name.rawValue)
        writer.write(array: envelopes) { writer, envelope in
            writer.write(envelope.recipient.rawValue)
            writer.writeRaw(envelope.encapsulated)
            writer.writeRaw(envelope.wrapped)
        }
        return writer.bytes
    }

    /// Decodes ``encoded``: the bytes of a file of a tree.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `malformed` or `invalidName`.
    public init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        guard bytes.count <= Self.maximumEncodedBytes else {
            throw .malformed("The sealed value is too long.")
        }
        var reader = ByteReader(bytes)
        do {
            guard Array(try reader.readRaw(Self.magic.count)) == Self.magic else {
                throw ClusterRoleError(.malformed, "The file is no sealed value.")
            }
            try reader.expectVersion(1, of: "sealed values")
            let tenant = try TenantID(validating: reader.readString())
            let name = try SecretName(validating: reader.readString())
            let envelopes = try reader.readArray(elementSize: 113) {
                (reader) throws(ClusterRoleError) in
                Envelope(
                    recipient: SigningKeyID(rawValue: try reader.readString()),
                    encapsulated: Array(try reader.readRaw(32)),
                    wrapped: Array(try reader.readRaw(48))
                )
            }
            let header = Array(bytes.prefix(reader.consumed))
            let box = try reader.readBytes()
            try reader.expectEnd()
            let names = envelopes.map(\.recipient.rawValue)
            guard (1...Self.maximumRecipients).contains(envelopes.count),
                zip(names, names.dropFirst()).allSatisfy({ $0 < $1 }),
                envelopes.allSatisfy(\.recipient.isWellFormed), box.count > Self.tagBytes
            else { throw ClusterRoleError(.malformed, "The recipients are not in order.") }
            self.init(tenant, name, envelopes, header: header, box: box)
        } catch {
            throw .malformed("The sealed value cannot be read.", cause: error)
        }
    }
}

/// The public half of a node's key: what values are sealed to. 64 hexadecimal digits.
public struct SealingPublicKey: Hashable, Sendable, CustomStringConvertible {
    /// The 32 bytes of the point (RFC 7748).
    public let bytes: [UInt8]

    /// - Throws: ``ArtifactStoreError`` with code `invalidName` for anything but 32 bytes.
    public init(bytes: [UInt8]) throws(ArtifactStoreError) {
        guard bytes.count == 32 else {
            throw ArtifactStoreError(.invalidName, "An X25519 public key has 32 bytes.")
        }
        self.bytes = bytes
    }

    /// Parses the 64 hexadecimal digits of ``description``.
    public init(parsing text: String) throws(ArtifactStoreError) {
        try self.init(bytes: ContentDigest(parsing: text).bytes)
    }

    /// 64 lower-case hexadecimal digits.
    public var description: String { (try? ContentDigest(bytes: bytes))?.description ?? "" }

    /// The name of the key in sealed values: the first 16 bytes of its SHA-256.
    public var id: SigningKeyID {
        SigningKeyID(rawValue: String(ContentDigest(of: bytes).description.prefix(32)))
    }

    func wrap(_ key: [UInt8], info: [UInt8]) throws -> SealedValue.Envelope {
        var sender = try HPKE.Sender(
            recipientKey: Curve25519.KeyAgreement.PublicKey(rawRepresentation: bytes),
            ciphersuite: .Curve25519_SHA256_ChachaPoly,
            info: Data(info)
        )
        let wrapped = try sender.seal(key, authenticating: Array(id.rawValue.utf8))
        return SealedValue.Envelope(
            recipient: id,
            encapsulated: Array(sender.encapsulatedKey),
            wrapped: Array(wrapped)
        )
    }
}

/// A node's own key: it opens what was sealed to it, in memory only.
public struct OpeningKey: Sendable, CustomStringConvertible, CustomReflectable {
    private let seed: [UInt8]
    /// What others seal to.
    public let publicKey: SealingPublicKey

    /// A new key that is not stored: for tests and examples.
    public init(random: any RandomSource = SystemRandomSource()) throws(ArtifactStoreError) {
        try self.init(seed: random.bytes(32))
    }

    /// The key of a file of 32 bytes, which is made with a new key if it does not exist. It must
    /// belong to nobody else: a file that its group or others can read is refused.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `fileSystem` or `malformed`.
    public init(
        file path: String,
        random: any RandomSource = SystemRandomSource()
    ) throws(ArtifactStoreError) {
        try self.init(seed: try secretSeed(of: path, random: random, what: "opening key"))
    }

    private init(seed: [UInt8]) throws(ArtifactStoreError) {
        let point: [UInt8]
        do {
            point = Array(
                try Curve25519.KeyAgreement.PrivateKey(rawRepresentation: seed).publicKey
                    .rawRepresentation
            )
        } catch {
            throw ArtifactStoreError(
                .malformed,
                "An opening key has 32 bytes, not \(seed.count). Restore it from a backup."
            )
        }
        self.seed = seed
        publicKey = try SealingPublicKey(bytes: point)
    }

    /// Only the key's name: the secret half never gets into a log.
    public var description: String { "OpeningKey(\(publicKey.id))" }
    public var customMirror: Mirror { Mirror(self, children: []) }

    /// Opens a value.
    ///
    /// - Parameters:
    ///   - value: as it lay in a tree.
    ///   - tenant: whose it must be.
    ///   - name: what it must be called; `nil` takes what it says.
    /// - Returns: the secret. Keep it in memory; nothing here writes it anywhere.
    /// - Throws: ``ArtifactStoreError`` with code `notRecipient`, `wrongChannel` for a value of
    ///   another tenant or name, or `digestMismatch` if it was changed.
    public func open(
        _ value: SealedValue,
        tenant: TenantID = .standard,
        name: SecretName? = nil
    ) throws(ArtifactStoreError) -> [UInt8] {
        guard value.tenant == tenant, name == nil || value.name == name else {
            throw ArtifactStoreError(
                .wrongChannel,
                "The sealed value is \(value.name) of \(value.tenant), not the one that was asked for."
            )
        }
        guard let envelope = value.envelopes.first(where: { $0.recipient == publicKey.id }) else {
            throw ArtifactStoreError(
                .notRecipient,
                "\(value.name) is not sealed to this node's key \(publicKey.id). Seal it to that key, too."
            )
        }
        do {
            var recipient = try HPKE.Recipient(
                privateKey: Curve25519.KeyAgreement.PrivateKey(rawRepresentation: seed),
                ciphersuite: .Curve25519_SHA256_ChachaPoly,
                info: Data(SealedValue.info(value.tenant, value.name)),
                encapsulatedKey: Data(envelope.encapsulated)
            )
            let key = try recipient.open(
                envelope.wrapped,
                authenticating: Array(publicKey.id.rawValue.utf8)
            )
            let box = try ChaChaPoly.SealedBox(
                nonce: ChaChaPoly.Nonce(data: [UInt8](repeating: 0, count: 12)),
                ciphertext: value.box.dropLast(16),
                tag: value.box.suffix(16)
            )
            return Array(
                try ChaChaPoly.open(
                    box,
                    using: SymmetricKey(data: key),
                    authenticating: value.header
                )
            )
        } catch {
            throw ArtifactStoreError(
                .digestMismatch,
                "\(value.name) was changed after it was sealed. Seal and publish it again.",
                cause: error
            )
        }
    }
}

extension ActiveRelease {
    /// Opens a sealed value that lies in the release's tree.
    ///
    /// - Parameters:
    ///   - path: relative to the tree.
    ///   - key: this node's.
    /// - Throws: as ``OpeningKey/open(_:tenant:name:)``; `malformed` if the file is no sealed value;
    ///   `fileSystem` if it is not there.
    public func secret(
        at path: String,
        with key: OpeningKey
    ) throws(ArtifactStoreError) -> [UInt8] {
        let path = TreePath(path)
        let file = try OpenFile.directory(directory).directory(beneath: path.parent)
            .file(path.name)
        let bytes = try file.contents(limit: Int64(SealedValue.maximumEncodedBytes))
        return try key.open(SealedValue(decoding: bytes), tenant: release.tenant)
    }
}
