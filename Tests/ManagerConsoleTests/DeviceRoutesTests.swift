#if Server
import ArtifactStore
import ClusterMembership
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import ManagerConsole
import NotificationDispatch
import OperationQueue
import XCTest

final class DeviceRoutesTests: XCTestCase {
    func test_devices_arePagedByOpaqueTokens_andFilteredByGroup() async throws {
        let scene = try Scene()
        for name in ["c", "a", "é", "b"] { try await scene.enrol(name, groups: ["shop"]) }
        try await scene.enrol("z")
        var path = "/admin/v1/devices?limit=2&group=shop"
        var seen: [String] = []
        for _ in 0..<5 {
            let answer = try await scene.admin.send(.get, path)
            XCTAssertEqual(answer.status, 200, answer.text)
            XCTAssertEqual(answer.violations, [])
            seen += elements(of: answer.json?["devices"]).compactMap { $0["id"]?.stringValue }
            guard let next = answer.json?["next"]?.stringValue else { break }
            let token = next.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
            path = "/admin/v1/devices?limit=2&group=shop&after=\(token)"
        }
        XCTAssertEqual(seen, ["a", "b", "c", "é"])
        for query in [
            "group=a%20b", "group=", "after=%2F", "group=" + String(repeating: "g", count: 300),
        ] {
            let answer = try await scene.admin.send(.get, "/admin/v1/devices?\(query)")
            XCTAssertEqual(answer.status, 400, query)
        }
    }

    func test_device_showsWhatIsKnown_andNoSecret() async throws {
        let scene = try Scene()
        let receipt = try await scene.enrol("tablet-17")
        try await scene.report(
            receipt,
            .registration(
                PushRegistration(
                    transport: "http",
                    address: "http://secret.example/push",
                    registeredAt: scene.time.now()
                )
            )
        )
        try await scene.report(receipt, .information(.location, body: Array(#"{"lat":52.5}"#.utf8)))
        try await scene.report(receipt, .contact(answeredAt: nil))
        let answer = try await scene.admin.send(.get, "/admin/v1/devices/tablet-17")
        XCTAssertEqual(answer.status, 200, answer.text)
        XCTAssertEqual(answer.violations, [])
        let device = try XCTUnwrap(answer.json)
        XCTAssertEqual(device["state"], "enrolled")
        XCTAssertEqual(device["liveness"], "active")
        XCTAssertEqual(device["pushTransport"], "http")
        XCTAssertEqual(device["lastSeen"]?.integerValue, scene.time.now().milliseconds)
        XCTAssertEqual(device["information"]?["location"]?["body"], ["lat": 52.5])
        XCTAssertFalse(answer.text.contains("secret.example"))
        XCTAssertFalse(answer.text.contains(receipt.credential.token))
        scene.time.advance(by: .seconds(4_000))
        let later = try await scene.admin.send(.get, "/admin/v1/devices/tablet-17")
        XCTAssertEqual(later.json?["liveness"], "inactive")
    }

    func test_device_withAnUnusualName_isReachedByItsEscapes() async throws {
        let scene = try Scene()
        for name in ["ü.№7", "a+b", "100%", "a?b#c", "\"quoted\"", "{x}"] {
            try await scene.enrol(name)
            let escaped = name.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
            let answer = try await scene.admin.send(.get, "/admin/v1/devices/\(escaped)")
            XCTAssertEqual(answer.json?["id"], .string(name), answer.text)
        }
    }

    func test_removal_endsTheEnrolment_once() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        let first = try await scene.admin.send(.delete, "/admin/v1/devices/tablet-17")
        XCTAssertEqual(first.status, 204)
        let second = try await scene.admin.send(.delete, "/admin/v1/devices/tablet-17")
        XCTAssertEqual(second.status, 404)
        let shown = try await scene.admin.send(.get, "/admin/v1/devices/tablet-17")
        XCTAssertEqual(shown.json?["state"], "removed")
        XCTAssertEqual(shown.violations, [])
    }

    func test_polling_isSetAndReset_withinItsRange() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        let path = "/admin/v1/devices/tablet-17"
        let set = try await scene.admin.call(.put, path + "/polling", ["frequency": 90.5])
        XCTAssertEqual(set.status, 204, set.text)
        let shown = try await scene.admin.send(.get, path)
        XCTAssertEqual(shown.json?["pollingFrequency"], 90.5)
        for bad: JSONValue in [
            ["frequency": 0], ["frequency": -1], ["frequency": 0.5], ["frequency": 1e12],
            ["frequency": 1e300], [:], ["frequency": "900"],
        ] {
            let answer = try await scene.admin.call(.put, path + "/polling", bad)
            XCTAssertEqual(answer.status, 400, "\(bad)")
            XCTAssertEqual(answer.violations, [])
        }
        let reset = try await scene.admin.call(.put, path + "/polling", ["frequency": .null])
        XCTAssertEqual(reset.status, 204)
        let plain = try await scene.admin.send(.get, path)
        XCTAssertNil(plain.json?["pollingFrequency"])
    }

    func test_members_joinAndLeave_andUnknownOnesAreCounted() async throws {
        let scene = try Scene()
        for name in ["a", "b", "c"] { try await scene.enrol(name) }
        let path = "/admin/v1/groups/shop-3/members"
        let joined = try await scene.admin.call(
            .post,
            path,
            ["join": ["a", "b", "b", "nobody"], "leave": []]
        )
        XCTAssertEqual(joined.violations, [])
        XCTAssertEqual(joined.json?["changed"], 2)
        XCTAssertEqual(joined.json?["unknown"], 1)
        let moved = try await scene.admin.call(.post, path, ["join": ["c"], "leave": ["a"]])
        XCTAssertEqual(moved.json?["changed"], 2)
        let groups = try await scene.admin.send(.get, "/admin/v1/groups")
        XCTAssertEqual(groups.violations, [])
        XCTAssertEqual(
            groups.json?["groups"],
            [["group": "everyone", "members": 3], ["group": "shop-3", "members": 2]]
        )
        let rows: [(JSONValue, Int)] = [
            ([:], 400), (["join": []], 400), (["join": ["a"], "leave": ["a"]], 400),
            (["join": ["a/b"]], 400), (["join": [""]], 400), (["leave": [" "]], 400),
        ]
        for (body, status) in rows {
            let answer = try await scene.admin.call(.post, path, body)
            XCTAssertEqual(answer.status, status, "\(body)")
            XCTAssertEqual(answer.violations, [])
        }
        let reserved = try await scene.admin.call(
            .post,
            "/admin/v1/groups/everyone/members",
            ["leave": ["a"]]
        )
        XCTAssertEqual(reserved.status, 409)
        XCTAssertEqual(reserved.code, "devices.reserved-group")
        XCTAssertEqual(reserved.violations, [])
    }

    func test_tenants_seeNothingOfEachOther() async throws {
        let scene = try Scene()
        let names = try await scene.populate()
        let otto = scene.admin.with(token: "other-token")
        for operation in scene.admin.document.operations {
            var path = operation.path
            for (name, value) in names {
                path = path.replacingOccurrences(of: "{\(name)}", with: value)
            }
            guard path != operation.path, operation.example == nil else { continue }
            let answer = try await otto.send(.init(operation.method)!, path)
            // Nodes belong to no tenant: their routes are for the operators' administrators only.
            let isOperators = answer.code == "console.operators-only"
            let status = isOperators ? 403 : 404
            XCTAssertEqual(answer.status, status, "\(operation.id): \(answer.text)")
        }
        for (path, member) in [
            ("devices", "devices"), ("groups", "groups"), ("activities", "activities"),
            ("channels", "channels"), ("tasks", "tasks"),
        ] {
            let answer = try await otto.send(.get, "/admin/v1/\(path)")
            XCTAssertEqual(answer.json?[member], [], path)
        }
        let still = try await scene.admin.send(.get, "/admin/v1/devices/tablet-17")
        XCTAssertEqual(still.json?["state"], "enrolled")
    }
}
#endif
