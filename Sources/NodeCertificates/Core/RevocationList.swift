#if Server
public import ClusterRole
internal import Crypto
internal import FoundationEssentials
internal import X509

/// The certificates an authority took back, signed by it.
///
/// It is a text of lines, so that a person can read it:
///
/// ```
/// reeve-revocations 1
/// domain fleet.example
/// number 3
/// issued 1767225600000
/// revoked 2b9f… 1767225599000
/// signature <base64>
/// ```
///
/// The signature is ECDSA P-256 with SHA-256 over everything before its line, by the authority's key.
/// The number grows with each list, so that an older one is not taken for the newest.
public struct RevocationList: Hashable, Sendable {
    public let trustDomain: String
    /// Grows with each list.
    public let number: Int64
    public let issuedAt: Timestamp
    /// When each certificate was taken back, by its serial number in lower-case hexadecimal.
    public let revoked: [String: Timestamp]

    /// The most certificates of a list: years of a large fleet, in 5 MB of text.
    public static let maximumEntries = 100_000

    /// An empty list, the first of its authority.
    public init(trustDomain: String, issuedAt: Timestamp) {
        self.init(trustDomain: trustDomain, number: 1, issuedAt: issuedAt, revoked: [:])
    }

    private init(
        trustDomain: String,
        number: Int64,
        issuedAt: Timestamp,
        revoked: [String: Timestamp]
    ) {
        self.trustDomain = trustDomain
        self.number = number
        self.issuedAt = issuedAt
        self.revoked = revoked
    }

    public func isRevoked(_ serial: String) -> Bool { revoked[serial] != nil }

    /// The next list, with one certificate more.
    ///
    /// - Throws: ``NodeCertificateError`` with `invalid` for a serial number that is none, or a full list.
    public func adding(_ serial: String, at now: Timestamp) throws -> RevocationList {
        let serial = serial.lowercased()
        let isSerial = serial.utf8.allSatisfy {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
        }
        guard isSerial, (2...64).contains(serial.utf8.count) else {
            throw NodeCertificateError(
                .invalid,
                "A serial number is written in hexadecimal digits; see reeve certificates show."
            )
        }
        guard revoked.count < Self.maximumEntries else {
            throw NodeCertificateError(
                .invalid,
                "A list holds \(Self.maximumEntries) certificates. Make a new authority."
            )
        }
        var all = revoked
        all[serial] = all[serial] ?? now
        return RevocationList(
            trustDomain: trustDomain,
            number: number + 1,
            issuedAt: now,
            revoked: all
        )
    }

    /// The list as text, signed.
    public func signed(by authority: CertificateAuthority) throws -> String {
        var text = """
            reeve-revocations 1
            domain \(trustDomain)
            number \(number)
            issued \(issuedAt.milliseconds)

            """
        for (serial, at) in revoked.sorted(by: { $0.key < $1.key }) {
            text += "revoked \(serial) \(at.milliseconds)\n"
        }
        let signature = try authority.key.signature(for: Data(text.utf8)).derRepresentation
        return text + "signature \(signature.base64EncodedString())\n"
    }

    /// Parses and verifies what ``signed(by:)`` wrote.
    ///
    /// - Parameters:
    ///   - text: the file.
    ///   - authorities: those who may have signed it.
    /// - Throws: ``NodeCertificateError`` with `unreadable` for anything else, or an invalid signature.
    init(parsing text: String, signedByOneOf authorities: [Certificate]) throws {
        guard let cut = text.firstRange(of: "\nsignature ") else { throw Self.malformed }
        let body = String(text[..<cut.lowerBound]) + "\n"
        let encoded = text[cut.upperBound...].filter { !$0.isNewline }
        guard let bytes = Data(base64Encoded: String(encoded)),
            let signature = try? P256.Signing.ECDSASignature(derRepresentation: bytes)
        else { throw Self.malformed }
        let isSigned = authorities.contains { authority in
            P256.Signing.PublicKey(authority.publicKey)?.isValidSignature(
                signature,
                for: Data(body.utf8)
            ) == true
        }
        guard isSigned else {
            throw NodeCertificateError(
                .unreadable,
                "The revocation list is not signed by this cluster's authority. Copy the one that "
                    + "reeve certificates revoke wrote."
            )
        }
        try self.init(signedBody: body)
    }

    private init(signedBody body: String) throws {
        let lines = body.split(separator: "\n").map { $0.split(separator: " ") }
        guard lines.count >= 4, lines[0] == ["reeve-revocations", "1"],
            lines[1].count == 2, lines[1][0] == "domain",
            lines[2].count == 2, lines[2][0] == "number", let number = Int64(lines[2][1]),
            lines[3].count == 2, lines[3][0] == "issued", let issued = Int64(lines[3][1]),
            lines.count - 4 <= Self.maximumEntries
        else { throw Self.malformed }
        var revoked: [String: Timestamp] = [:]
        for line in lines.dropFirst(4) {
            guard line.count == 3, line[0] == "revoked", let at = Int64(line[2]) else {
                throw Self.malformed
            }
            revoked[String(line[1])] = Timestamp(milliseconds: at)
        }
        self.init(
            trustDomain: String(lines[1][1]),
            number: number,
            issuedAt: Timestamp(milliseconds: issued),
            revoked: revoked
        )
    }

    private static let malformed = NodeCertificateError(
        .unreadable,
        "This is no revocation list. Copy the one that reeve certificates revoke wrote."
    )
}
#endif
