internal import CReeveSystem
public import ClusterRole
internal import Crypto

/// Signs releases, pointers and root records.
///
/// A key in a file is part of this module (``Ed25519Signer``). A key in hardware, or one that a
/// service or a person holds who first looks at what is signed, fits as well: signing may take its
/// time, and may throw.
public protocol ReleaseSigner: Sendable {
    /// The public half, which workers are given.
    var publicKey: ReleasePublicKey { get }
    /// The Ed25519 signature (RFC 8032, 64 bytes) of a message.
    func signature(for message: [UInt8]) async throws -> [UInt8]
}

extension ReleaseSigner {
    /// Signs a release record, once it is valid, and has others sign it, too.
    ///
    /// - Parameters:
    ///   - release: its ``Release/key`` is this signer's.
    ///   - others: whose signatures are needed as well; they are asked in turn.
    public func sign(
        _ release: Release,
        with others: [any ReleaseSigner] = []
    ) async throws -> SignedRelease {
        try release.validate()
        let record = release.encoded
        let message = SignedRelease.signedBytes(of: record)
        return try SignedRelease(
            record: record,
            signatures: try await allSignatures(by: [self] + others, under: message)
        )
    }
}

/// The public half of a signing key: 32 bytes, written as 64 hexadecimal digits.
public struct ReleasePublicKey: Hashable, Sendable, CustomStringConvertible {
    /// The 32 bytes of the point (RFC 8032, 5.1.2).
    public let bytes: [UInt8]

    /// - Throws: ``ArtifactStoreError`` with code `invalidName` for anything but an Ed25519 public
    ///   key.
    public init(bytes: [UInt8]) throws(ArtifactStoreError) {
        guard (try? Curve25519.Signing.PublicKey(rawRepresentation: bytes)) != nil else {
            throw ArtifactStoreError(.invalidName, "An Ed25519 public key has 32 bytes.")
        }
        self.bytes = bytes
    }

    /// Parses the 64 hexadecimal digits of ``description``, as they stand in a configuration.
    public init(parsing text: String) throws(ArtifactStoreError) {
        try self.init(bytes: ContentDigest(parsing: text).bytes)
    }

    /// 64 lower-case hexadecimal digits.
    public var description: String {
        (try? ContentDigest(bytes: bytes))?.description ?? ""
    }

    /// The name of the key in release records.
    public var id: SigningKeyID {
        SigningKeyID(rawValue: String(ContentDigest(of: bytes).description.prefix(32)))
    }

    func isValid(signature: [UInt8], for message: [UInt8]) -> Bool {
        guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: bytes) else {
            return false
        }
        return key.isValidSignature(signature, for: message)
    }
}

/// A signing key whose secret half lies in this process.
public struct Ed25519Signer: ReleaseSigner, CustomStringConvertible, CustomReflectable {
    private let seed: [UInt8]
    /// What workers are given.
    public let publicKey: ReleasePublicKey

    /// A new key that is not stored: for tests and examples.
    public init(random: any RandomSource = SystemRandomSource()) throws(ArtifactStoreError) {
        try self.init(seed: random.bytes(32))
    }

    /// The key of a file, which is made with a new key if it does not exist.
    ///
    /// The file holds the 32 bytes of the seed (RFC 8032, 5.1.5). It must belong to nobody else: a
    /// file that its group or others can read is refused.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `fileSystem` or `malformed`.
    public init(
        file path: String,
        random: any RandomSource = SystemRandomSource()
    ) throws(ArtifactStoreError) {
        try self.init(seed: try secretSeed(of: path, random: random, what: "signing key"))
    }

    private init(seed: [UInt8]) throws(ArtifactStoreError) {
        let key: [UInt8]
        do {
            key = Array(
                try Curve25519.Signing.PrivateKey(rawRepresentation: seed).publicKey
                    .rawRepresentation
            )
        } catch {
            throw ArtifactStoreError(
                .malformed,
                "A signing key has 32 bytes, not \(seed.count). Restore it from a backup."
            )
        }
        self.seed = seed
        publicKey = try ReleasePublicKey(bytes: key)
    }

    /// Only the key's name: the secret half never gets into a log.
    public var description: String { "Ed25519Signer(\(publicKey.id))" }
    public var customMirror: Mirror { Mirror(self, children: []) }

    public func signature(for message: [UInt8]) async throws -> [UInt8] {
        Array(try Curve25519.Signing.PrivateKey(rawRepresentation: seed).signature(for: message))
    }
}

/// The 32 bytes of a key's file, which is made if it does not exist. It must belong to nobody else.
func secretSeed(
    of path: String,
    random: any RandomSource,
    what: String
) throws(ArtifactStoreError) -> [UInt8] {
    let directory = try OpenFile.directory(TreePath(path).parentPath)
    let name = TreePath(path).name
    guard let status = try directory.status(of: name) else {
        let seed = random.bytes(32)
        try directory.replaceFile(name, with: seed, mode: 0o600)
        return seed
    }
    guard status.mode & 0o077 == 0 else {
        throw ArtifactStoreError(
            .fileSystem,
            "The \(what) \(path) can be read by others. Run chmod 600 on it, and think about who may "
                + "have copied it.",
            path: path
        )
    }
    return try directory.file(name).contents(limit: 4_096)
}

extension TreePath {
    /// The directory part of a path of the machine, for opening it.
    var parentPath: String {
        guard let parent else { return "." }
        return parent.bytes.isEmpty ? "/" : parent.description
    }
}
