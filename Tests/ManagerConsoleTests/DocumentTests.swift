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

/// Holds `Documentation/OpenAPI/admin-v1.json` and the routes against each other.
final class DocumentTests: XCTestCase {
    func test_document_namesEveryRouteWithItsPermission_andNoOther() throws {
        let document = try OpenAPIDocument(named: "admin-v1")
        XCTAssertEqual(document.server, AdminEndpoint.prefix)
        var table = RouteTable()
        try table.mount(try Scene().endpoint, at: AdminEndpoint.prefix)
        XCTAssertEqual(
            table.routes.map {
                "\($0.method.rawValue) \($0.path) \($0.operationID) \($0.access)"
            }.sorted(),
            document.operations.map {
                "\($0.method) \($0.path) \($0.id) permission:\($0.permission ?? "-")"
            }.sorted()
        )
        XCTAssertEqual(table.routes.count, 82)
    }

    func test_document_examplesFitTheirSchemas() throws {
        let document = try OpenAPIDocument(named: "admin-v1")
        for operation in document.operations {
            guard let example = operation.example else { continue }
            XCTAssertEqual(
                document.violations(of: example, against: operation.requestSchema),
                [],
                operation.id
            )
        }
    }

    /// Every row: no token, wrong token, wrong role, malformed, wrong types, 10 MB, nesting, paths, …
    func test_badInput_toEveryRoute_isAnsweredWithTheRightStatusAndATypedProblem() async throws {
        let scene = try Scene()
        let names = try await scene.populate()
        let table = BadInputTable(
            scene.admin,
            routes: try Scene.mounted(scene.endpoint, scene.page).routes,
            names: names,
            powerlessToken: "powerless-token"
        )
        let (findings, rows) = try await table.run()
        XCTAssertEqual(findings, [])
        XCTAssertGreaterThan(rows, 300)
        let alive = try await scene.admin.send(.get, "/admin/v1/status")
        XCTAssertEqual(alive.status, 200)
    }

    func test_unknownNames_are404_withTheCodeOfWhatIsUnknown() async throws {
        let scene = try Scene()
        _ = try await scene.populate()
        let unknown = String(repeating: "0", count: 32)
        let rows: [(String, String, JSONValue?, String)] = [
            ("GET", "devices/nobody", nil, "devices.unknown-device"),
            ("DELETE", "devices/nobody", nil, "devices.unknown-device"),
            ("PUT", "devices/nobody/polling", ["frequency": .null], "devices.unknown-device"),
            ("PUT", "groups/nobody/polling", ["frequency": 5], "devices.unknown-group"),
            ("GET", "devices/nobody/information", nil, "devices.unknown-device"),
            ("GET", "devices/nobody/locations", nil, "devices.unknown-device"),
            ("GET", "devices/nobody/history", nil, "devices.unknown-device"),
            ("DELETE", "groups/shop-3/query", nil, "devices.unknown-group"),
            ("GET", "activities/\(unknown)", nil, "operations.unknown-activity"),
            (
                "GET", "activities/\(unknown)/executions/nobody/result", nil,
                "operations.no-large-result"
            ),
            ("GET", "activities/\(unknown)/executions", nil, "operations.unknown-activity"),
            ("POST", "activities/\(unknown)/cancel", nil, "operations.unknown-activity"),
            (
                "POST", "operations", ["target": ["group": "nobody"], "code": "lock"],
                "operations.unknown-group"
            ),
            ("GET", "channels/nothing/releases", nil, "artifacts.not-found"),
            ("POST", "channels/nothing/rollback", ["to": 1], "artifacts.not-found"),
            ("POST", "channels/web%2Fsite/rollback", ["to": 9], "artifacts.not-found"),
            ("GET", "tasks/nothing", nil, "console.unknown-task"),
            ("DELETE", "tasks/nothing", nil, "console.unknown-task"),
            ("GET", "policies/nothing", nil, "operations.unknown-policy"),
            ("DELETE", "policies/nothing", nil, "operations.unknown-policy"),
            ("GET", "policies/nothing/devices", nil, "operations.unknown-policy"),
            ("GET", "rollouts/\(unknown)", nil, "artifacts.unknown-rollout"),
            ("GET", "commands/\(unknown)", nil, "cluster.unknown-message"),
            ("POST", "nodes/nobody/commands", ["command": "drain"], "cluster.unknown-member"),
            (
                "POST", "commands", ["command": "drain", "target": ["nodes": ["nobody"]]],
                "cluster.unknown-member"
            ),
            ("POST", "rollouts/\(unknown)/pause", [:], "artifacts.unknown-rollout"),
            ("GET", "channels/nothing/await-applied", nil, "artifacts.not-found"),
            ("PUT", "devices/nobody/owner", ["owner": "ann"], "devices.unknown-device"),
            ("DELETE", "identities/nobody", nil, "role.unknown-identity"),
            (
                "DELETE", "channels/nothing/blocks/\(unknown)\(unknown)", nil,
                "artifacts.not-found"
            ),
        ]
        for (method, path, body, code) in rows {
            let answer = try await scene.admin.send(
                .init(method)!,
                "/admin/v1/\(path)",
                fields: body == nil ? [:] : [.contentType: "application/json"],
                body: try body?.encoded() ?? []
            )
            XCTAssertEqual(answer.status, 404, "\(method) \(path): \(answer.text)")
            XCTAssertEqual(answer.code, code, "\(method) \(path)")
            XCTAssertEqual(answer.violations, [])
        }
    }

    func test_unknownMembers_areIgnored_inEveryBody() async throws {
        for operation in try OpenAPIDocument(named: "admin-v1").operations {
            guard case .object(var body) = operation.example else { continue }
            // A scene each: some of the examples close what others change.
            let scene = try Scene()
            let names = try await scene.populate()
            let tree = try scene.tree("again", ["a": "two"])
            if ["publishRelease", "previewRelease"].contains(operation.id) {
                body["directory"] = .string(tree)
            }
            if operation.id == "takeBackup" { body["path"] = .string(scene.backups + "/copy") }
            body["unknown"] = ["deep": [1, .null]]
            var path = operation.path
            for (name, value) in names {
                path = path.replacingOccurrences(of: "{\(name)}", with: value)
            }
            let answer = try await scene.admin.call(
                .init(operation.method)!,
                path,
                .object(body)
            )
            XCTAssertTrue((200..<300).contains(answer.status), "\(operation.id): \(answer.text)")
            XCTAssertEqual(answer.violations, [])
        }
    }
}
#endif
