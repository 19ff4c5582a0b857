import ClusterRole
import XCTest

final class CertifiedNodeTests: XCTestCase {
    func test_certifiedNode_writtenAndParsed_isTheSame() throws {
        for role in NodeRole.allCases {
            let node = try CertifiedNode(trustDomain: "fleet.example", role: role, node: "N-1.a_b")
            XCTAssertEqual(try CertifiedNode(parsing: node.description), node)
        }
    }

    func test_certifiedNode_thatIsNone_isRefused() {
        for uri in [
            "", "spiffe://", "spiffe://d/worker", "spiffe://d/worker/", "spiffe://d/worker/n/x",
            "spiffe://d/admin/n", "reeve://d/worker/n", "spiffe:///worker/n", "spiffe://D/worker/n",
            "spiffe://d/worker/..", "spiffe://d/worker/n?x", "spiffe://d:1/worker/n",
            "spiffe://d/Worker/n", "x spiffe://d/worker/n",
        ] {
            XCTAssertThrowsError(try CertifiedNode(parsing: uri), uri)
        }
    }

    func test_permissions_ofACertificate_followItsRole_andCapATokens() throws {
        func peer(_ role: NodeRole) throws -> PeerCertificate {
            PeerCertificate(
                subject: try CertifiedNode(trustDomain: "d", role: role, node: "n"),
                serial: "01",
                validFrom: Timestamp(milliseconds: 0),
                expires: Timestamp(milliseconds: 1)
            )
        }
        XCTAssertEqual(try peer(.worker).permissions, [.link])
        XCTAssertEqual(try peer(.manager).permissions, [.link, .publish])
        let everything = Permission.everything.union([.link])
        XCTAssertEqual(try peer(.worker).capping(everything), [.link])
        XCTAssertEqual(try peer(.worker).capping(Permission.everything), [])
        XCTAssertEqual(try peer(.manager).capping(everything), everything)
    }
}
