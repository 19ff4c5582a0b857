public import ClusterRole

/// The keys whose releases a worker accepts: plain keys, or a root record that names them.
///
/// Plain keys are a root of threshold 1 without a record: any of them signs releases and pointers,
/// and may sign the first root record. From then on the record rules, and the newest is remembered.
public struct TrustedKeys: Hashable, Sendable {
    /// The root record in force; `nil` while there are plain keys only.
    public private(set) var root: SignedRoot?
    private let plain: RoleKeys?

    /// Plain keys. No key at all trusts nothing.
    public init(_ keys: [ReleasePublicKey]) {
        let unique = Dictionary(keys.map { ($0.id.rawValue, $0) }) { first, _ in first }
        let sorted = unique.sorted { $0.key < $1.key }.map(\.value)
        plain = sorted.isEmpty ? nil : RoleKeys(anyOf: sorted)
    }

    /// The same, listed.
    public init(_ keys: ReleasePublicKey...) { self.init(keys) }

    /// A root record that came by a way you trust, such as an installer.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `untrustedSignature` unless its own root keys signed
    ///   it.
    public init(pinning root: SignedRoot) throws(ArtifactStoreError) {
        try root.verifyOwnSignatures()
        self.root = root
        plain = nil
    }

    /// A root record in a file, which came by a way you trust.
    ///
    /// - Throws: as ``init(pinning:)``; ``ArtifactStoreError`` with code `fileSystem` or `malformed`.
    public init(pinningFile path: String) throws(ArtifactStoreError) {
        let directory = try OpenFile.directory(TreePath(path).parentPath)
        let bytes = try directory.file(TreePath(path).name)
            .contents(limit: Int64(SignedRoot.maximumEncodedBytes))
        try self.init(pinning: try SignedRoot(decoding: bytes))
    }

    /// The version of the root record in force; 0 for plain keys.
    public var version: Int64 { root?.root.version ?? 0 }
    /// Whether each new release must be confirmed by a pointer: with a root record, always.
    var needsPointers: Bool { root != nil }

    private var rootKeys: RoleKeys? { root?.root.rootKeys ?? plain }
    private var releaseKeys: RoleKeys? { root?.root.releaseKeys ?? plain }
    private var pointerKeys: RoleKeys? { root?.root.pointerKeys ?? plain }

    private static func untrusting() -> ArtifactStoreError {
        ArtifactStoreError(
            .untrustedSignature,
            "This node does not trust any key. Add the manager's to the trusted keys."
        )
    }

    /// Takes the next root record.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `untrustedSignature` unless enough root keys of the
    ///   record in force **and** of the new one signed it; `belowFloor` unless its version is the next
    ///   one. Then nothing changed.
    public mutating func accept(_ next: SignedRoot) throws(ArtifactStoreError) {
        guard next.root.version == version + 1 else {
            throw ArtifactStoreError(
                .belowFloor,
                "Root record \(next.root.version) does not follow on version \(version). Publish each "
                    + "version in turn."
            )
        }
        guard let rootKeys else { throw Self.untrusting() }
        let message = SignedRoot.signedBytes(of: next.record)
        let what = "root record \(next.root.version)"
        try rootKeys.verify(next.signatures, under: message, of: what)
        try next.root.rootKeys.verify(next.signatures, under: message, of: what)
        root = next
    }

    /// Checks that enough release keys signed the record. A key counts once.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `untrustedSignature`.
    public func verify(_ signed: SignedRelease) throws(ArtifactStoreError) {
        guard let releaseKeys else { throw Self.untrusting() }
        try releaseKeys.verify(
            signed.signatures,
            under: SignedRelease.signedBytes(of: signed.record),
            of: "release"
        )
    }

    func believe(_ signed: SignedRelease) -> Bool {
        do {
            try verify(signed)
            return true
        } catch {
            return false
        }
    }

    /// Checks that enough pointer keys signed the pointer. It says nothing about its time.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `untrustedSignature`.
    public func verify(_ signed: SignedPointer) throws(ArtifactStoreError) {
        guard let pointerKeys else { throw Self.untrusting() }
        try pointerKeys.verify(
            signed.signatures,
            under: SignedPointer.signedBytes(of: signed.record),
            of: "pointer"
        )
    }

    /// Checks that the root record in force has not expired.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `expired`.
    public func checkExpiry(at now: Timestamp) throws(ArtifactStoreError) {
        guard let expires = root?.root.expires, now >= expires else { return }
        throw ArtifactStoreError(
            .expired,
            "Root record \(version) expired at \(expires). Publish the next one, signed by its keys."
        )
    }

    /// Names this trust among others: what it was configured with.
    var anchor: ContentDigest {
        var writer = ByteWriter()
        writer.write(array: plain?.keys ?? []) { $0.writeRaw($1.bytes) }
        writer.write(optional: root) { $0.write($1.record) }
        return ContentDigest(of: writer.bytes)
    }

    /// The same trust with a later root record, which was accepted before and remembered.
    func remembering(_ root: SignedRoot) -> TrustedKeys {
        var keys = self
        keys.root = root
        return keys
    }
}

extension RoleKeys {
    /// Any one of them; sorted, none twice, at least one.
    fileprivate init(anyOf keys: [ReleasePublicKey]) {
        self.keys = keys
        threshold = 1
    }
}
