#if Server
public import ClusterRole
internal import FoundationEssentials
internal import SwiftASN1
internal import X509
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#elseif canImport(Darwin)
internal import Darwin
#endif

/// Where a node's certificate, its key, the authorities and the list of what they took back lie: PEM
/// files, as any issuer writes them.
public struct CertificateFiles: Hashable, Sendable {
    /// The node's certificate, and after it the authorities between it and the root, if there are some.
    public var certificate: String
    /// The key of it.
    public var key: String
    /// The root authorities, one or more: during the replacement of one, both.
    public var authority: String
    /// What `reeve certificates revoke` wrote; `nil` for none. Once it was read, it must stay.
    public var revoked: String?

    /// The largest file that is read: a revocation list of a hundred thousand certificates.
    public static let maximumBytes = 8 << 20

    public init(certificate: String, key: String, authority: String, revoked: String? = nil) {
        self.certificate = certificate
        self.key = key
        self.authority = authority
        self.revoked = revoked
    }

    /// Reads and checks everything: the key must be the certificate's, and an authority vouch for it.
    ///
    /// - Throws: ``NodeCertificateError`` with `unreadable`, `noIdentity` or `wrongDomain`.
    public func load() throws -> NodeCredentials {
        try parse(contents())
    }

    /// The bytes of all files, in order.
    func contents() throws -> [String] {
        try [certificate, key, authority].map(Self.read)
            + (revoked.map { [try Self.read($0)] } ?? [])
    }

    func parse(_ contents: [String]) throws -> NodeCredentials {
        let chain = try Self.certificates(in: contents[0], of: certificate)
        let authorities = try Self.certificates(in: contents[2], of: authority)
        let keyDocument = try Self.documents(in: contents[1], of: key).first {
            $0.discriminator.hasSuffix("PRIVATE KEY")
        }
        guard let leaf = chain.first, let keyDocument, let first = authorities.first else {
            throw NodeCertificateError(
                .unreadable,
                "\(certificate), \(key) and \(authority) hold a certificate, its key and an authority "
                    + "in PEM; one of them does not."
            )
        }
        let privateKey: Certificate.PrivateKey
        do {
            privateKey = try Certificate.PrivateKey(pemDocument: keyDocument)
        } catch {
            throw NodeCertificateError(.unreadable, "\(key) holds no key.", cause: error)
        }
        guard privateKey.publicKey == leaf.publicKey else {
            throw NodeCertificateError(
                .unreadable,
                "\(key) is not the key of \(certificate). Put both in place together."
            )
        }
        let peer = try PeerCertificate(leaf)
        var list: RevocationList?
        if contents.count > 3 {
            list = try RevocationList(parsing: contents[3], signedByOneOf: authorities)
        }
        let domain = (try? CertificateAuthority.trustDomain(of: first)) ?? peer.subject.trustDomain
        guard peer.subject.trustDomain == domain, list?.trustDomain ?? domain == domain else {
            throw NodeCertificateError(
                .wrongDomain,
                "\(certificate) names \(peer.subject); the authority is \(domain)'s."
            )
        }
        return NodeCredentials(
            peer: peer,
            chain: try chain.map(der(of:)),
            keyPEM: keyDocument.pemString + "\n",
            authorities: try authorities.map(der(of:)),
            trust: CertificateTrust(
                trustDomain: domain,
                authorities: authorities,
                revocations: list
            )
        )
    }

    static func allCertificates(of path: String) throws -> [Certificate] {
        try certificates(in: try read(path), of: path)
    }

    static func firstCertificate(of path: String) throws -> Certificate {
        guard let first = try allCertificates(of: path).first else {
            throw NodeCertificateError(.unreadable, "\(path) holds no certificate in PEM.")
        }
        return first
    }

    private static func certificates(in text: String, of path: String) throws -> [Certificate] {
        do {
            return try documents(in: text, of: path)
                .filter { $0.discriminator == Certificate.defaultPEMDiscriminator }
                .map { try Certificate(pemDocument: $0) }
        } catch let error as NodeCertificateError {
            throw error
        } catch {
            throw NodeCertificateError(
                .unreadable,
                "\(path) holds a certificate that cannot be read.",
                cause: error
            )
        }
    }

    private static func documents(in text: String, of path: String) throws -> [PEMDocument] {
        do {
            return try PEMDocument.parseMultiple(pemString: text)
        } catch {
            throw NodeCertificateError(.unreadable, "\(path) is not in PEM.", cause: error)
        }
    }

    /// A small file as text.
    ///
    /// - Throws: ``NodeCertificateError`` with `unreadable`.
    public static func read(_ path: String) throws -> String {
        guard let data = FileManager.default.contents(atPath: path), data.count <= maximumBytes
        else {
            throw NodeCertificateError(
                .unreadable,
                "\(path) cannot be read, or is larger than \(maximumBytes) bytes."
            )
        }
        return String(decoding: data, as: UTF8.self)
    }

    /// Writes a file whole or not at all, readable by its owner only (mode 0600), durably.
    ///
    /// - Parameters:
    ///   - text: what it holds.
    ///   - path: of the file; its directory is there.
    ///   - replaces: whether a file there may be replaced.
    /// - Throws: ``NodeCertificateError`` with `unwritable`.
    public static func write(_ text: String, to path: String, replaces: Bool) throws {
        guard replaces || !FileManager.default.fileExists(atPath: path) else {
            throw NodeCertificateError(
                .unwritable,
                "\(path) is there already. Say --replace, or choose another place."
            )
        }
        let beside = "\(path).new-\(getpid())"
        unlink(beside)
        let file = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw unwritable(path) }
        let bytes = Array(text.utf8)
        var isWhole = bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let count = unsafeWrite(file, buffer, from: done)
                if count <= 0 { return false }
                done += count
            }
            return fsync(file) == 0
        }
        isWhole = close(file) == 0 && isWhole
        guard isWhole, rename(beside, path) == 0 else {
            let failure = unwritable(path)
            unlink(beside)
            throw failure
        }
        let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        let handle = open(directory, O_RDONLY | O_CLOEXEC)
        if handle >= 0 {
            fsync(handle)
            close(handle)
        }
    }

    private static func unsafeWrite(
        _ file: Int32,
        _ buffer: UnsafeRawBufferPointer,
        from start: Int
    ) -> Int {
        guard let base = buffer.baseAddress else { return 0 }
        while true {
            let count = systemWrite(file, base + start, buffer.count - start)
            if count >= 0 || errno != EINTR { return count }
        }
    }

    private static func unwritable(_ path: String) -> NodeCertificateError {
        NodeCertificateError(.unwritable, "\(path) cannot be written (errno \(errno)).")
    }
}

private func systemWrite(_ file: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
    write(file, bytes, count)
}

/// A node's own certificate and key, and whom it believes.
public struct NodeCredentials: Sendable, CustomStringConvertible {
    /// Whom the certificate names, and until when.
    public let peer: PeerCertificate
    /// In DER, the node's own first.
    public let chain: [[UInt8]]
    /// The key, in PEM. A secret; never logged.
    public let keyPEM: String
    /// The root authorities, in DER.
    public let authorities: [[UInt8]]
    /// Whom the node believes.
    public let trust: CertificateTrust

    public var description: String { peer.description }
}
#endif
