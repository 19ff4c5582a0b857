#if Server
import ClusterRole
import DeviceRegistry
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import OperationQueue
import XCTest

final class PolicyRoutesTests: XCTestCase {
    private let path = "/admin/v1/policies/passcode"

    func test_policies_arePutShownAndRemoved_withHowDevicesStand() async throws {
        let scene = try Scene()
        let receipt = try await scene.enrol("tablet-17", groups: ["shop-3"])
        try await scene.enrol("tablet-18", groups: ["shop-3"])
        let put = try await scene.admin.call(
            .put,
            path,
            ["group": "shop-3", "version": "7", "payload": ["length": 6], "maximumTries": 2]
        )
        XCTAssertEqual(put.status, 200, put.text)
        XCTAssertEqual(put.violations, [])
        XCTAssertEqual(put.json?["devices"]?["unknown"], 2)
        let document = """
            {"policy":"passcode","version":"7","compliant":false,"violations":["too short"]}
            """
        try await scene.report(receipt, .information(.compliance, body: Array(document.utf8)))
        let shown = try await scene.admin.send(.get, path)
        XCTAssertEqual(shown.violations, [])
        XCTAssertEqual(shown.json?["devices"]?["violating"], 1)
        XCTAssertEqual(shown.json?["devices"]?["unknown"], 1)
        let devices = try await scene.admin.send(.get, "\(path)/devices?state=violating&limit=1")
        XCTAssertEqual(devices.violations, [])
        XCTAssertEqual(devices.json?["devices"]?[0]?["device"], "tablet-17")
        XCTAssertEqual(devices.json?["devices"]?[0]?["violations"], ["too short"])
        XCTAssertEqual(devices.json?["next"], "tablet-17")
        let none = try await scene.admin.send(.get, "\(path)/devices?state=compliant")
        XCTAssertEqual(none.json?["devices"], [])
        let list = try await scene.admin.send(.get, "/admin/v1/policies")
        XCTAssertEqual(list.violations, [])
        XCTAssertEqual(list.json?["policies"]?[0]?["version"], "7")
        let removed = try await scene.admin.send(.delete, path)
        XCTAssertEqual(removed.status, 204)
        let gone = try await scene.admin.send(.get, path)
        XCTAssertEqual(gone.status, 404)
    }

    func test_policies_badFields_areRefused() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        for bad: JSONValue in [
            [:], ["version": ""], ["version": "1", "monitoring": 0],
            ["version": "1", "backoff": -1],
            ["version": "1", "longestBackoff": 1], ["version": "1", "maximumTries": -1],
            ["version": "1", "group": "a b"], ["version": "1", "payloadBase64": "="],
        ] {
            let answer = try await scene.admin.call(.put, path, bad)
            XCTAssertEqual(answer.status, 400, "\(bad): \(answer.text)")
            XCTAssertEqual(answer.violations, [])
        }
        _ = try await scene.admin.call(.put, path, ["version": "1"])
        let state = try await scene.admin.send(.get, "\(path)/devices?state=fine")
        XCTAssertEqual(state.status, 400)
    }
}
#endif
