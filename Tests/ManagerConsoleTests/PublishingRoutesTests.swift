#if Server
import ArtifactStore
import ClusterRole
import Foundation
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import XCTest

final class PublishingRoutesTests: XCTestCase {
    private let channel = "/admin/v1/channels/web%2Fsite"

    func test_preview_answersTheDifference_andPublishesNothing() async throws {
        let scene = try Scene()
        let tree = try scene.tree("site", ["a": "one", "b": "two"])
        let body: JSONValue = ["directory": .string(tree)]
        let begin = try await scene.admin.call(.post, "\(channel)/preview", body)
        XCTAssertEqual(begin.status, 200, begin.text)
        XCTAssertEqual(begin.violations, [])
        XCTAssertEqual(begin.json?["number"], 1)
        XCTAssertEqual(begin.json?["addedCount"], 2)
        let none = try await scene.admin.send(.get, "\(channel)/releases")
        XCTAssertEqual(none.status, 404)
        _ = try await scene.admin.call(.post, "\(channel)/releases", body)
        _ = try scene.tree("site", ["a": "three"])
        let next = try await scene.admin.call(.post, "\(channel)/preview", body)
        XCTAssertEqual(next.json?["changed"], ["a"])
        XCTAssertEqual(next.json?["newBytes"], 5)
        XCTAssertEqual(next.json?["repeated"], false)
    }

    func test_release_isPublishedWithItsNeeds_andShowsThemAndItsPublisher() async throws {
        let scene = try Scene()
        let tree = try scene.tree("site", ["a": "one"])
        var body: [String: JSONValue] = ["directory": .string(tree)]
        body["capabilities"] = ["gpu"]
        body["softwareVersion"] = "2.10"
        body["dependencies"] = [["channel": "lib/base"]]
        let path = "\(channel)/releases"
        let missing = try await scene.admin.call(.post, path, .object(body))
        XCTAssertEqual(missing.status, 409, missing.text)
        XCTAssertEqual(missing.code, "artifacts.dependency-missing")
        let base = try await scene.admin.call(
            .post,
            "/admin/v1/channels/lib%2Fbase/releases",
            ["directory": .string(tree)]
        )
        XCTAssertEqual(base.status, 201, base.text)
        let answer = try await scene.admin.call(.post, path, .object(body))
        XCTAssertEqual(answer.status, 201, answer.text)
        let list = try await scene.admin.send(.get, path)
        XCTAssertEqual(list.violations, [])
        guard case .array(let releases) = list.json?["releases"] else {
            return XCTFail(list.text)
        }
        XCTAssertEqual(
            releases[0]["dependencies"],
            [["channel": "lib/base", "atLeast": 1]]
        )
        XCTAssertEqual(releases[0]["capabilities"], ["gpu"])
        XCTAssertEqual(releases[0]["softwareVersion"], "2.10.0")
        XCTAssertNotNil(releases[0]["publisher"]?.stringValue)
        for wrong in ["1..2", "v1"] {
            body["softwareVersion"] = .string(wrong)
            let refused = try await scene.admin.call(.post, path, .object(body))
            XCTAssertEqual(refused.status, 400, refused.text)
            XCTAssertEqual(refused.code, "artifacts.invalid-name")
        }
    }

    func test_watchedDirectory_isShown_switched_andCommitted() async throws {
        let scene = try Scene()
        _ = try scene.tree("site", ["a": "one"])
        let path = "\(channel)/publishing"
        let before = try await scene.admin.send(.get, path)
        XCTAssertEqual(before.status, 200, before.text)
        XCTAssertEqual(before.violations, [])
        XCTAssertEqual(before.json?["mode"], "manual")
        XCTAssertNil(before.json?["lastOutcome"])
        let committed = try await scene.admin.send(.post, "\(path)/commit")
        XCTAssertEqual(committed.status, 201, committed.text)
        XCTAssertEqual(committed.violations, [])
        XCTAssertEqual(committed.json?["number"], 1)
        let changed = try await scene.admin.call(.put, path, ["mode": "automatic"])
        XCTAssertEqual(changed.violations, [])
        XCTAssertEqual(changed.json?["mode"], "automatic")
        XCTAssertEqual(changed.json?["lastOutcome"], "published")
        XCTAssertEqual(changed.json?["number"], 1)
        let wrong = try await scene.admin.call(.put, path, ["mode": "sometimes"])
        XCTAssertEqual(wrong.status, 400)
        let nobody = try await scene.admin.send(.get, "/admin/v1/channels/other/publishing")
        XCTAssertEqual(nobody.status, 404)
        XCTAssertEqual(nobody.code, "artifacts.not-found")
    }

    func test_rootRecords_areInstalledInTurn_listed_andForgeriesRefused() async throws {
        let scene = try Scene()
        let key = try Ed25519Signer(random: scene.random)
        func record(_ version: Int64, by signer: Ed25519Signer) async throws -> JSONValue {
            let role = try RoleKeys([signer.publicKey])
            let signed = try await SignedRoot.signed(
                try RootRecord(
                    version: version,
                    rootKeys: role,
                    releaseKeys: role,
                    pointerKeys: role
                ),
                by: [signer]
            )
            let digits = signed.encoded.map { String(format: "%02x", $0) }.joined()
            return ["record": .string(digits)]
        }
        let path = "/admin/v1/roots"
        let empty = try await scene.admin.send(.get, path)
        XCTAssertEqual(empty.json?["roots"], [])
        let skipped = try await scene.admin.call(.post, path, try await record(2, by: key))
        XCTAssertEqual(skipped.status, 409)
        XCTAssertEqual(skipped.code, "artifacts.below-floor")
        let first = try await scene.admin.call(.post, path, try await record(1, by: key))
        XCTAssertEqual(first.status, 201, first.text)
        XCTAssertEqual(first.violations, [])
        let thief = try Ed25519Signer(random: scene.random)
        let forged = try await scene.admin.call(.post, path, try await record(2, by: thief))
        XCTAssertEqual(forged.status, 403)
        XCTAssertEqual(forged.code, "artifacts.untrusted-signature")
        for wrong in ["", "0", "zz", "+1"] {
            let answer = try await scene.admin.call(.post, path, ["record": .string(wrong)])
            XCTAssertEqual(answer.status, 400, "\(wrong): \(answer.text)")
        }
        let list = try await scene.admin.send(.get, path)
        XCTAssertEqual(list.violations, [])
        guard case .array(let roots) = list.json?["roots"] else { return XCTFail(list.text) }
        XCTAssertEqual(roots.count, 1)
        XCTAssertEqual(roots[0]["releaseKeys"], [.string(key.publicKey.description)])
    }
}
#endif
