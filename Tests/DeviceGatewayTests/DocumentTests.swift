#if Server
import ClusterRole
import ClusterTestKit
import DeviceGateway
import DeviceRegistry
import Foundation
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import OperationQueue
import XCTest

/// Holds `Documentation/OpenAPI/device-v1.json` and the routes against each other.
final class DocumentTests: XCTestCase {
    private func mounted(_ endpoint: DeviceEndpoint) throws -> RouteTable {
        var table = RouteTable()
        try table.mount(endpoint, at: DeviceEndpoint.prefix)
        return table
    }

    func test_document_namesEveryRouteAndNoOther() throws {
        let document = try OpenAPIDocument(named: "device-v1")
        XCTAssertEqual(document.server, DeviceEndpoint.prefix)
        let routes = try mounted(Scene().endpoint).routes
        XCTAssertEqual(
            routes.map { "\($0.method.rawValue) \($0.path) \($0.operationID)" }.sorted(),
            document.operations.map { "\($0.method) \($0.path) \($0.id)" }.sorted()
        )
        XCTAssertEqual(routes.count, 7)
    }

    func test_document_examplesFitTheirSchemas() throws {
        let document = try OpenAPIDocument(named: "device-v1")
        for operation in document.operations {
            guard let example = operation.example else { continue }
            XCTAssertEqual(
                document.violations(of: example, against: operation.requestSchema),
                [],
                operation.id
            )
        }
    }

    /// Every row: no token, wrong token, malformed, wrong types, missing members, 10 MB, nesting, …
    func test_badInput_toEveryRoute_isAnsweredWithTheRightStatusAndATypedProblem() async throws {
        let scene = try Scene()
        let caller = try await scene.enrolled()
        let table = BadInputTable(
            caller,
            routes: try mounted(scene.endpoint).routes,
            names: [:]
        )
        let (findings, rows) = try await table.run()
        XCTAssertEqual(findings, [])
        XCTAssertGreaterThan(rows, 100)
        let alive = try await caller.call(.post, "/device/v1/exchange", [:])
        XCTAssertEqual(alive.status, 200)
    }

    func test_unknownMembers_areIgnored_whereverTheyStand() async throws {
        let scene = try Scene()
        let caller = try await scene.enrolled()
        let receipt = try await scene.enqueue("lock")
        let offer = try await caller.call(
            .post,
            "/device/v1/exchange",
            ["new": [["deep": .null]], "limit": 1]
        )
        XCTAssertEqual(offer.status, 200, offer.text)
        let execution = try XCTUnwrap(offer.json?["operations"]?[0]?["execution"])
        let result: JSONValue = ["execution": execution, "status": "completed", "colour": "red"]
        let answer = try await caller.call(.post, "/device/v1/exchange", ["results": [result]])
        XCTAssertEqual(answer.status, 200, answer.text)
        let state = try await scene.execution(receipt)?.state
        XCTAssertEqual(state, .completed)
        let push = try await caller.call(
            .put,
            "/device/v1/push-registration",
            ["transport": "http", "address": "http://localhost/", "topic": 7]
        )
        XCTAssertEqual(push.status, 204, push.text)
    }
}
#endif
