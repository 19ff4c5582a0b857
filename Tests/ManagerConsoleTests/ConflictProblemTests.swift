#if Server
import ArtifactStore
import ClusterRole
import ClusterTestKit
import Foundation
import HTTPHandling
import HTTPTestSupport
import XCTest

@testable import ManagerConsole

final class ConflictProblemTests: XCTestCase {
    func test_conflict_isAProblemWithBothReleases() throws {
        let offered = try ReleaseStorageConformance.sample(2)
        let newest = try ReleaseStorageConformance.sample(3)
        let error = ArtifactStoreError(
            .conflict,
            "Somebody was first.",
            conflict: ArtifactStoreError.Conflict(
                expected: .first,
                actual: ReleaseNumber(3),
                offered: offered.signed,
                newest: newest.signed
            )
        )
        let problem = ProblemDetails(error, instance: "/admin/v1/channels/site/releases")
        XCTAssertEqual(problem.status, 409)
        let bytes = try JSONEncoder().encode(problem)
        let json = try JSONValue(parsing: Array(bytes))
        XCTAssertEqual(json["code"], "artifacts.conflict")
        XCTAssertEqual(json["expected"], .integer(1))
        XCTAssertEqual(json["offered"]?["number"], .integer(2))
        XCTAssertEqual(json["offered"]?["root"], .string("\(offered.release.root)"))
        XCTAssertEqual(json["newest"]?["number"], .integer(3))
        XCTAssertEqual(json["newest"]?["key"], .string(newest.release.key.rawValue))
        XCTAssertEqual(try JSONDecoder().decode(ProblemDetails.self, from: bytes), problem)
        let document = try OpenAPIDocument(named: "admin-v1")
        let schema = document.root["components"]?["schemas"]?["Problem"]
        XCTAssertEqual(document.violations(of: json, against: schema), [])
    }

    func test_otherProblems_haveNoFurtherMembers() throws {
        let problem = ProblemDetails(ArtifactStoreError(.notFound, "Nothing."))
        let json = try JSONValue(parsing: Array(try JSONEncoder().encode(problem)))
        guard case .object(let members) = json else { return XCTFail("\(json)") }
        XCTAssertEqual(members.keys.sorted(), ["code", "detail", "status", "title", "type"])
    }
}
#endif
