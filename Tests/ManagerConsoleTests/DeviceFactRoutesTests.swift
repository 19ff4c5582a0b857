#if Server
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import OperationQueue
import XCTest

final class DeviceFactRoutesTests: XCTestCase {
    private func tell(
        _ scene: Scene,
        _ receipt: EnrolmentReceipt,
        _ kind: InformationKind,
        _ json: String
    ) async throws {
        try await scene.report(receipt, .information(kind, body: Array(json.utf8)))
    }

    private func escaped(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
    }

    func test_information_isShownTyped_withItsLocations() async throws {
        let scene = try Scene()
        let receipt = try await scene.enrol("tablet-17")
        try await tell(
            scene,
            receipt,
            .properties,
            #"{"os":{"version":"17.1"},"ram":8,"x":0.5,"ok":true}"#
        )
        try await tell(scene, receipt, .applications, #"[{"identifier":"till","version":"2"}]"#)
        for index in 0..<3 {
            try await tell(scene, receipt, .location, #"{"latitude":\#(index),"longitude":13.5}"#)
            scene.time.advance(by: .seconds(1))
        }
        let path = "/admin/v1/devices/tablet-17"
        let shown = try await scene.admin.send(.get, path + "/information")
        XCTAssertEqual(shown.status, 200, shown.text)
        XCTAssertEqual(shown.violations, [])
        XCTAssertEqual(
            shown.json?["properties"],
            ["os.version": "17.1", "ram": 8, "x": 0.5, "ok": true]
        )
        XCTAssertEqual(shown.json?["location"]?["latitude"], 2)
        XCTAssertEqual(
            shown.json?["applications"],
            [["identifier": "till", "version": "2", "name": ""]]
        )
        let first = try await scene.admin.send(.get, path + "/locations?limit=2")
        XCTAssertEqual(first.violations, [])
        XCTAssertEqual(first.json?["locations"]?[1]?["latitude"], 1)
        let next = try XCTUnwrap(first.json?["next"]?.stringValue)
        let second = try await scene.admin.send(.get, path + "/locations?limit=2&before=\(next)")
        XCTAssertEqual(second.json?["locations"]?[0]?["latitude"], 0)
        XCTAssertNil(second.json?["next"])
        let bad = try await scene.admin.send(.get, path + "/locations?before=x")
        XCTAssertEqual(bad.status, 400)
    }

    func test_devices_areFoundByQueryAndLiveness() async throws {
        let scene = try Scene()
        for (index, name) in ["a", "b", "c"].enumerated() {
            let receipt = try await scene.enrol(name, groups: index < 2 ? ["shop"] : [])
            try await tell(scene, receipt, .properties, #"{"v":"\#(8 + index).0"}"#)
        }
        func ids(_ query: String) async throws -> JSONValue? {
            let answer = try await scene.admin.send(.get, "/admin/v1/devices?\(query)")
            XCTAssertEqual(answer.status, 200, answer.text)
            XCTAssertEqual(answer.violations, [])
            guard case .array(let devices)? = answer.json?["devices"] else { return nil }
            return .array(devices.compactMap { $0["id"] })
        }
        let modern = "query=" + escaped(#"v >= "9""#)
        let all = try await ids(modern)
        XCTAssertEqual(all, ["b", "c"])
        let inShop = try await ids(modern + "&group=shop")
        XCTAssertEqual(inShop, ["b"])
        let active = try await ids(modern + "&liveness=active")
        XCTAssertEqual(active, ["b", "c"])
        let inactive = try await ids("liveness=inactive")
        XCTAssertEqual(inactive, [])
        for query in ["query=", "query=x", "liveness=gone", "query=" + escaped("x = \"")] {
            let answer = try await scene.admin.send(.get, "/admin/v1/devices?\(query)")
            XCTAssertEqual(answer.status, 400, query)
            XCTAssertEqual(answer.violations, [])
        }
        let status = try await scene.admin.send(.get, "/admin/v1/status")
        XCTAssertEqual(
            status.json?["liveness"],
            ["active": 3, "unreachable": 0, "inactive": 0]
        )
        XCTAssertEqual(status.violations, [])
    }

    func test_groups_areDefinedByAQuery_andNotByHandThen() async throws {
        let scene = try Scene()
        for (name, version) in [("a", "16"), ("b", "17")] {
            let receipt = try await scene.enrol(name)
            try await tell(scene, receipt, .properties, #"{"os":{"version":"\#(version)"}}"#)
        }
        let path = "/admin/v1/groups/modern"
        let body: JSONValue = ["query": #"os.version  >= "17""#]
        let defined = try await scene.admin.call(.put, path + "/query", body)
        XCTAssertEqual(defined.status, 200, defined.text)
        XCTAssertEqual(defined.violations, [])
        XCTAssertEqual(defined.json?["query"], #"os.version >= "17""#)
        XCTAssertEqual(defined.json?["evaluated"], 2)
        XCTAssertEqual(defined.json?["changed"], 1)
        let groups = try await scene.admin.send(.get, "/admin/v1/groups")
        XCTAssertEqual(groups.violations, [])
        XCTAssertEqual(
            groups.json?["groups"]?[1],
            [
                "group": "modern", "members": 1, "query": #"os.version >= "17""#,
                "isSettled": true,
            ]
        )
        let byHand = try await scene.admin.call(.post, path + "/members", ["join": ["a"]])
        XCTAssertEqual(byHand.status, 409)
        XCTAssertEqual(byHand.code, "devices.dynamic-group")
        XCTAssertEqual(byHand.violations, [])
        let rows: [(String, JSONValue, Int, String)] = [
            ("modern", ["query": "x"], 400, "devices.invalid-query"),
            ("modern", ["query": "liveness = active"], 400, "devices.invalid-query"),
            ("other", ["query": #"member "modern""#], 409, "devices.dynamic-group"),
            ("everyone", ["query": "exists x"], 409, "devices.reserved-group"),
        ]
        for (group, body, status, code) in rows {
            let answer = try await scene.admin.call(
                .put,
                "/admin/v1/groups/\(group)/query",
                body
            )
            XCTAssertEqual(answer.status, status, answer.text)
            XCTAssertEqual(answer.code, code)
            XCTAssertEqual(answer.violations, [])
        }
        let ended = try await scene.admin.send(.delete, path + "/query")
        XCTAssertEqual(ended.status, 204)
        let again = try await scene.admin.call(.post, path + "/members", ["join": ["a"]])
        XCTAssertEqual(again.json?["changed"], 1)
    }

    func test_history_namesTheCaller_andErasureIsInIt() async throws {
        let scene = try Scene()
        let receipt = try await scene.enrol("tablet-17")
        try await tell(scene, receipt, .properties, #"{"owner":"eve"}"#)
        let path = "/admin/v1/devices/tablet-17"
        _ = try await scene.admin.call(.put, path + "/polling", ["frequency": 90])
        let refused = try await scene.admin.send(.delete, path + "?erase=everything")
        XCTAssertEqual(refused.status, 400)
        let erased = try await scene.admin.send(.delete, path + "?erase=information")
        XCTAssertEqual(erased.status, 204, erased.text)
        let shown = try await scene.admin.send(.get, path + "/information")
        XCTAssertEqual(shown.json?["properties"], [:])
        let plain = try await scene.admin.send(.get, path)
        XCTAssertFalse(plain.text.contains("eve"))
        let history = try await scene.admin.send(.get, path + "/history?limit=3")
        XCTAssertEqual(history.violations, [])
        guard case .array(let entries)? = history.json?["entries"] else {
            return XCTFail(history.text)
        }
        XCTAssertEqual(
            entries.compactMap { $0["what"]?.stringValue },
            ["erased", "removed", "polling-changed"]
        )
        XCTAssertEqual(
            entries.compactMap { $0["who"]?.stringValue },
            ["alice", "alice", "alice"]
        )
        XCTAssertEqual(entries.last?["detail"], "90000")
        let older = try await scene.admin.send(.get, path + "/history?limit=3&before=2")
        XCTAssertEqual(older.json?["entries"]?[0]?["what"], "enrolled")
        XCTAssertNil(older.json?["next"])
    }
}
#endif
