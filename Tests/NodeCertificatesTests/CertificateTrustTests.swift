#if Server
import ClusterRole
import Crypto
import Foundation
import NodeCertificates
import XCTest

final class CertificateTrustTests: XCTestCase {
    private func authority(_ domain: String = "fleet.example") throws -> CertificateAuthority {
        try CertificateAuthority.make(trustDomain: domain, at: start)
    }

    /// Trust in an authority, with the list of what it took back if there is one.
    private func trust(
        _ authority: CertificateAuthority,
        revoked: [String] = []
    ) throws -> CertificateTrust {
        let scratch = try Scratch()
        let node = try authority.issue(.manager, "manager-1", at: start)
        var list = RevocationList(trustDomain: authority.trustDomain, issuedAt: start)
        for serial in revoked { list = try list.adding(serial, at: start) }
        let files = CertificateFiles(
            certificate: scratch("node.pem"),
            key: scratch("node.key"),
            authority: scratch("authority.pem"),
            revoked: scratch("revoked.txt")
        )
        try CertificateFiles.write(node.certificatePEM, to: files.certificate, replaces: false)
        try CertificateFiles.write(node.keyPEM, to: files.key, replaces: false)
        try CertificateFiles.write(
            try authority.certificatePEM,
            to: files.authority,
            replaces: false
        )
        try CertificateFiles.write(
            try list.signed(by: authority),
            to: scratch("revoked.txt"),
            replaces: false
        )
        return try files.load().trust
    }

    func test_peer_ofTheAuthority_isKnownByRoleAndName() async throws {
        let authority = try authority()
        let issued = try authority.issue(.worker, "worker-1", at: start)
        let peer = try await trust(authority).verify(
            [try certificateBytes(issued.certificatePEM)],
            as: .client,
            at: start
        )
        XCTAssertEqual(peer, issued.peer)
        XCTAssertEqual(peer.subject.description, "spiffe://fleet.example/worker/worker-1")
        XCTAssertEqual(peer.subject.role, .worker)
        XCTAssertEqual(peer.expires, start + day * 90)
    }

    func test_peer_thatMustBeRefused_isRefusedWithItsCode() async throws {
        let ours = try authority()
        let theirs = try authority()
        let otherCluster = try authority("other.example")
        let good = try ours.issue(.worker, "worker-1", at: start)
        let trust = try trust(ours)
        func verify(_ pem: String, at now: Timestamp = start) async -> String? {
            await code {
                _ = try await trust.verify([try certificateBytes(pem)], as: .client, at: now)
            }
        }
        let expired = await verify(good.certificatePEM, at: start + day * 91)
        XCTAssertEqual(expired, "certificate.expired")
        let early = await verify(good.certificatePEM, at: start - day)
        XCTAssertEqual(early, "certificate.not-yet-valid")
        let foreign = try theirs.issue(.worker, "worker-1", at: start)
        let stranger = await verify(foreign.certificatePEM)
        XCTAssertEqual(stranger, "certificate.wrong-authority")
        // A stranger's that has expired is a stranger's.
        let old = await verify(foreign.certificatePEM, at: start + day * 91)
        XCTAssertEqual(old, "certificate.wrong-authority")
        let other = try otherCluster.issue(.worker, "worker-1", at: start)
        let neighbour = await verify(other.certificatePEM)
        XCTAssertEqual(neighbour, "certificate.wrong-authority")
        // The authority's own certificate names no node.
        let root = await verify(try ours.certificatePEM)
        XCTAssertEqual(root, "certificate.no-identity")
        let nothing = await code { _ = try await trust.verify([], as: .client, at: start) }
        XCTAssertEqual(nothing, "certificate.missing")
        let noise = await code {
            _ = try await trust.verify([[1, 2, 3]], as: .client, at: start)
        }
        XCTAssertEqual(noise, "certificate.unreadable")
        let chain = [[UInt8]](repeating: try certificateBytes(good.certificatePEM), count: 5)
        let long = await code { _ = try await trust.verify(chain, as: .client, at: start) }
        XCTAssertEqual(long, "certificate.wrong-authority")
    }

    func test_peer_takenBack_isRefusedAlsoOnAConnectionThatStands() async throws {
        let authority = try authority()
        let issued = try authority.issue(.worker, "worker-1", at: start)
        let next = try authority.issue(.worker, "worker-1", at: start)
        let trust = try trust(authority, revoked: [issued.peer.serial])
        let refused = await code {
            _ = try await trust.verify(
                [try certificateBytes(issued.certificatePEM)],
                as: .client,
                at: start
            )
        }
        XCTAssertEqual(refused, "certificate.revoked")
        let standing = await code { try trust.check(issued.peer, at: start) }
        XCTAssertEqual(standing, "certificate.revoked")
        XCTAssertNoThrow(try trust.check(next.peer, at: start))
        let old = await code { try trust.check(next.peer, at: start + day * 91) }
        XCTAssertEqual(old, "certificate.expired")
    }

    func test_changedByte_ofACertificate_isNeverTaken() async throws {
        let authority = try authority()
        let trust = try trust(authority)
        let bytes = try certificateBytes(
            try authority.issue(.worker, "worker-1", at: start).certificatePEM
        )
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 0x04
            let answer = await code {
                _ = try await trust.verify([changed], as: .client, at: start)
            }
            XCTAssertNotNil(answer, "byte \(index)")
        }
    }

    func test_issue_ofANameNoURIHolds_isRefused() throws {
        let authority = try authority()
        for name in ["worker/1", "wörker", "worker 1", "a?b", ""] {
            XCTAssertThrowsError(try authority.issue(.worker, NodeID(rawValue: name), at: start)) {
                XCTAssertEqual(($0 as? NodeCertificateError)?.code, .invalid, name)
            }
        }
        XCTAssertThrowsError(try CertificateAuthority.make(trustDomain: "Fleet", at: start))
    }

    func test_serialNumbers_areNeverTheSame() throws {
        let authority = try authority()
        let serials = try (0..<50).map { _ in
            try authority.issue(.worker, "w", at: start).peer.serial
        }
        XCTAssertEqual(Set(serials).count, 50)
    }
}
#endif
