#if Server
public import ClusterRole
internal import FoundationEssentials
internal import SwiftASN1
internal import X509

extension PeerCertificate {
    /// Reads who a certificate names. It verifies nothing: ``CertificateTrust`` does.
    ///
    /// - Throws: ``NodeCertificateError`` with `unreadable` for bytes that are no certificate, and
    ///   `noIdentity` for one that names no node, or two.
    public init(der bytes: [UInt8]) throws(NodeCertificateError) {
        try self.init(parseCertificate(bytes))
    }

    init(_ certificate: Certificate) throws(NodeCertificateError) {
        let names = (try? certificate.extensions.subjectAlternativeNames)
        let uris = (names ?? SubjectAlternativeNames()).compactMap { name -> String? in
            if case .uniformResourceIdentifier(let uri) = name { uri } else { nil }
        }
        guard uris.count == 1, let subject = try? CertifiedNode(parsing: uris[0]) else {
            throw NodeCertificateError(
                .noIdentity,
                "A node's certificate has exactly one URI, spiffe://<trust domain>/<role>/<node>; this "
                    + "one has \(uris.isEmpty ? "none" : uris.joined(separator: ", ")). Issue another."
            )
        }
        self.init(
            subject: subject,
            serial: hexadecimal(certificate.serialNumber.bytes),
            validFrom: timestamp(certificate.notValidBefore),
            expires: timestamp(certificate.notValidAfter)
        )
    }
}

func parseCertificate(_ bytes: [UInt8]) throws(NodeCertificateError) -> Certificate {
    do {
        return try Certificate(derEncoded: bytes)
    } catch {
        throw NodeCertificateError(
            .unreadable,
            "What was presented is no certificate.",
            cause: error
        )
    }
}

func timestamp(_ date: Date) -> Timestamp {
    Timestamp(milliseconds: Int64((date.timeIntervalSince1970 * 1_000).rounded()))
}

func date(_ timestamp: Timestamp) -> Date {
    Date(timeIntervalSince1970: Double(timestamp.milliseconds) / 1_000)
}

func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(
        decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] },
        as: UTF8.self
    )
}

func der(of certificate: Certificate) throws -> [UInt8] {
    var serializer = DER.Serializer()
    try serializer.serialize(certificate)
    return serializer.serializedBytes
}
#endif
