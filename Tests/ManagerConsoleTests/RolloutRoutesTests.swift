#if Server
import ArtifactStore
import ClusterRole
import ClusterTestKit
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import XCTest

/// `/rollouts`, `/channels/{channel}/await-applied` and `/channels/{channel}/blocks`.
final class RolloutRoutesTests: XCTestCase {
    private func publish(_ scene: Scene, _ text: String) async throws -> JSONValue {
        let answer = try await scene.admin.call(
            .post,
            "/admin/v1/channels/web%2Fsite/releases",
            ["directory": .string(try scene.tree(text, ["index.html": text]))]
        )
        XCTAssertEqual(answer.status, 201, answer.text)
        return try XCTUnwrap(answer.json)
    }

    private func applied(_ scene: Scene, _ published: JSONValue) async throws {
        _ = try await scene.releases.record(
            AppliedRelease(
                node: "worker-1",
                channel: "web/site",
                number: ReleaseNumber(try XCTUnwrap(published["number"]?.integerValue)),
                root: try TreeID(parsing: try XCTUnwrap(published["root"]?.stringValue)),
                state: .applied,
                errorCode: nil,
                errorMessage: nil,
                at: scene.time.now(),
                floorRecord: nil
            ),
            tenant: .standard,
            epoch: scene.capability.epoch
        )
    }

    func test_aRollout_isStartedWatchedPausedResumedAndReverted() async throws {
        let scene = try Scene()
        try await applied(scene, try await publish(scene, "one"))
        let begun = try await scene.admin.call(
            .post,
            "/admin/v1/rollouts",
            [
                "channel": "web/site", "waves": [["count": 1, "soak": 60]],
                "failure": ["action": "pause"],
            ]
        )
        XCTAssertEqual(begun.status, 201, begun.text)
        XCTAssertEqual(begun.violations, [])
        XCTAssertEqual(begun.json?["state"]?.stringValue, "awaitingRelease")
        XCTAssertEqual(begun.json?["initiator"]?.stringValue, "alice")
        let path = "/admin/v1/rollouts/\(try XCTUnwrap(begun.json?["rollout"]?.stringValue))"
        _ = try await publish(scene, "two")
        for (command, state) in [
            ("pause", "paused"), ("pause", "paused"), ("resume", "running"),
        ] {
            let answer = try await scene.admin.call(.post, "\(path)/\(command)", [:])
            XCTAssertEqual(answer.status, 200, answer.text)
            XCTAssertEqual(answer.json?["state"]?.stringValue, state)
            XCTAssertEqual(answer.violations, [])
        }
        let shown = try await scene.admin.send(.get, path)
        XCTAssertEqual(shown.violations, [])
        XCTAssertEqual(shown.json?["progress"]?["nodes"]?.integerValue, 1)
        XCTAssertEqual(shown.json?["progress"]?["applied"]?.integerValue, 0)
        guard case .array(let laggards) = shown.json?["progress"]?["laggards"] else {
            return XCTFail(shown.text)
        }
        XCTAssertEqual(laggards.first?["reason"]?.stringValue, "behind")

        let reverted = try await scene.admin.call(.post, "\(path)/revert", ["reason": "no"])
        XCTAssertEqual(reverted.json?["state"]?.stringValue, "reverted", reverted.text)
        let blocks = try await scene.admin.send(.get, "/admin/v1/channels/web%2Fsite/blocks")
        XCTAssertEqual(blocks.violations, [])
        XCTAssertTrue(blocks.text.contains(#""release":2"#), blocks.text)
        let late = try await scene.admin.call(.post, "\(path)/resume", [:])
        XCTAssertEqual(late.status, 409)
        XCTAssertEqual(late.code, "artifacts.rollout-state")
        let list = try await scene.admin.send(.get, "/admin/v1/rollouts?channel=web%2Fsite")
        XCTAssertEqual(list.violations, [])
        XCTAssertTrue(list.text.contains(#""state":"reverted""#), list.text)
    }

    func test_awaitApplied_saysWhoLagsAndWhy_andWhenTheQuorumIsReached() async throws {
        let scene = try Scene()
        let one = try await publish(scene, "one")
        let path = "/admin/v1/channels/web%2Fsite/await-applied"
        let waiting = try await scene.admin.send(.get, path)
        XCTAssertEqual(waiting.status, 200, waiting.text)
        XCTAssertEqual(waiting.violations, [])
        XCTAssertEqual(waiting.json?["isReached"], .bool(false))
        XCTAssertTrue(waiting.text.contains("worker-1"), waiting.text)
        try await applied(scene, one)
        let there = try await scene.admin.send(.get, path + "?release=1&quorum=100%25&wait=5")
        XCTAssertEqual(there.json?["isReached"], .bool(true), there.text)
        for query in ["?release=9", "?release=0"] {
            let unknown = try await scene.admin.send(.get, path + query)
            XCTAssertEqual(unknown.status, 404, unknown.text)
        }
        for query in ["?quorum=some", "?wait=26"] {
            let wrong = try await scene.admin.send(.get, path + query)
            XCTAssertEqual(wrong.status, 400, wrong.text)
        }
    }

    func test_plansThatCannotWork_areRefusedAsInvalid() async throws {
        let scene = try Scene()
        let plans: [JSONValue] = [
            ["channel": "web/site", "waves": [[:], ["count": 1]]],
            ["channel": "web/site", "waves": [["percent": 0]]],
            ["channel": "web/site", "waves": [["percent": 101]]],
            ["channel": "web/site", "waves": [["health": "well"]]],
            ["channel": "web/site", "waves": [["soak": -1]]],
            ["channel": "web/site", "waves": [], "failure": ["action": "panic"]],
            ["channel": "web//site", "waves": []],
        ]
        for plan in plans {
            let answer = try await scene.admin.call(.post, "/admin/v1/rollouts", plan)
            XCTAssertEqual(answer.status, 400, answer.text)
            XCTAssertEqual(answer.violations, [])
        }
    }
}
#endif
