#if Server
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import ManagerConsole
import OperationQueue
import XCTest

final class UserEndpointTests: XCTestCase {
    /// `tablet-1` and `tablet-2` are ann's, `phone-1` is bob's, `till-1` is nobody's.
    private func owned() async throws -> Scene {
        let scene = try Scene()
        for device in ["tablet-1", "tablet-2", "phone-1", "till-1"] {
            try await scene.enrol(device)
        }
        for (device, owner) in [("tablet-1", "ann"), ("tablet-2", "ann"), ("phone-1", "bob")] {
            let answer = try await scene.admin.call(
                .put,
                "/admin/v1/devices/\(device)/owner",
                ["owner": .string(owner)]
            )
            XCTAssertEqual(answer.status, 204, answer.text)
        }
        return scene
    }

    private func ask(_ caller: HandlerCaller, _ device: String, _ code: String = "ring")
        async throws -> String
    {
        let answer = try await caller.call(
            .post,
            "/user/v1/devices/\(device)/operations",
            ["code": .string(code)]
        )
        XCTAssertEqual(answer.status, 202, answer.text)
        XCTAssertEqual(answer.violations, [])
        return try XCTUnwrap(answer.json?["activity"]?.stringValue)
    }

    func test_document_namesEveryRouteWithItsPermission_andNoOther() throws {
        let document = try OpenAPIDocument(named: "user-v1")
        XCTAssertEqual(document.server, UserEndpoint.prefix)
        var table = RouteTable()
        try table.mount(try Scene().userEndpoint, at: UserEndpoint.prefix)
        XCTAssertEqual(
            table.routes.map {
                "\($0.method.rawValue) \($0.path) \($0.operationID) \($0.access)"
            }.sorted(),
            document.operations.map {
                "\($0.method) \($0.path) \($0.id) permission:\($0.permission ?? "-")"
            }.sorted()
        )
        XCTAssertEqual(table.routes.count, 6)
        for operation in document.operations {
            guard let example = operation.example else { continue }
            let violations = document.violations(of: example, against: operation.requestSchema)
            XCTAssertEqual(violations, [], operation.id)
        }
    }

    func test_badInput_toEveryRoute_isAnsweredWithTheRightStatusAndATypedProblem() async throws {
        let scene = try await owned()
        let ann = try scene.user("ann-token")
        let activity = try await ask(ann, "tablet-1")
        var mounted = RouteTable()
        try mounted.mount(scene.userEndpoint, at: UserEndpoint.prefix)
        let table = BadInputTable(
            ann,
            routes: mounted.routes,
            names: ["device": "tablet-1", "activity": activity],
            powerlessToken: "admin-token"
        )
        let (findings, rows) = try await table.run()
        XCTAssertEqual(findings, [])
        XCTAssertGreaterThan(rows, 60)
    }

    func test_user_seesAndControlsHisDevices() async throws {
        let scene = try await owned()
        let ann = try scene.user("ann-token")
        let list = try await ann.send(.get, "/user/v1/devices")
        XCTAssertEqual(list.violations, [])
        XCTAssertEqual(
            elements(of: list.json?["devices"]).map { $0["id"]?.stringValue },
            ["tablet-1", "tablet-2"]
        )
        let page = try await ann.send(.get, "/user/v1/devices?limit=1&after=tablet-1")
        XCTAssertEqual(page.json?["devices"]?[0]?["id"], "tablet-2")
        let device = try await ann.send(.get, "/user/v1/devices/tablet-1")
        XCTAssertEqual(device.status, 200)
        XCTAssertEqual(device.violations, [])
        let activity = try await ask(ann, "tablet-1")
        let shown = try await ann.send(.get, "/user/v1/activities/\(activity)")
        XCTAssertEqual(shown.status, 200, shown.text)
        XCTAssertEqual(shown.violations, [])
        XCTAssertEqual(shown.json?["device"], "tablet-1")
        XCTAssertEqual(shown.json?["execution"], "pending")
        let asked = try await ann.send(.get, "/user/v1/devices/tablet-1/operations")
        XCTAssertEqual(asked.violations, [])
        XCTAssertEqual(asked.json?["operations"]?[0]?["activity"]?.stringValue, activity)
        let cancelled = try await ann.send(.post, "/user/v1/activities/\(activity)/cancel")
        XCTAssertEqual(cancelled.status, 200, cancelled.text)
        XCTAssertEqual(cancelled.violations, [])
        XCTAssertEqual(cancelled.json?["state"], "cancelled")
    }

    func test_user_mayAskForListedCodesOnly() async throws {
        let scene = try await owned()
        let answer = try await scene.user("ann-token").call(
            .post,
            "/user/v1/devices/tablet-1/operations",
            ["code": "wipe"]
        )
        XCTAssertEqual(answer.status, 403)
        XCTAssertEqual(answer.code, "console.code-not-allowed")
        XCTAssertEqual(answer.violations, [])
    }

    /// Every route, with the names of what is another's: word for word what is answered for what nobody has.
    func test_everyRoute_forWhatIsAnothers_answersAsForWhatDoesNotExist() async throws {
        let scene = try await owned()
        let (ann, bob) = (try scene.user("ann-token"), try scene.user("bob-token"))
        let his = try await ask(bob, "phone-1")
        let administrators = try await scene.enqueue("tablet-1")
        let nobodys = String(repeating: "0", count: 32)
        let before = try await picture(scene, his)
        for operation in try OpenAPIDocument(named: "user-v1").operations {
            for (device, activity) in [
                ("phone-1", his), ("till-1", administrators), ("tablet-9", nobodys),
            ] {
                let path = operation.path.replacingOccurrences(of: "{device}", with: device)
                    .replacingOccurrences(of: "{activity}", with: activity)
                let body: JSONValue? = operation.example == nil ? nil : ["code": "ring"]
                let answer = try await ann.send(
                    .init(operation.method)!,
                    path,
                    fields: body == nil ? [:] : [.contentType: "application/json"],
                    body: try body?.encoded() ?? []
                )
                XCTAssertEqual(answer.violations, [])
                if operation.id == "listOwnDevices" {
                    XCTAssertEqual(answer.status, 200)
                    XCTAssertFalse(answer.text.contains("phone-1"))
                    XCTAssertFalse(answer.text.contains("till-1"))
                    continue
                }
                XCTAssertEqual(answer.status, 404, "\(operation.id) \(device): \(answer.text)")
                let neutral = answer.json?["detail"]?.stringValue?
                    .replacingOccurrences(of: device, with: "NAME")
                    .replacingOccurrences(of: activity, with: "NAME")
                let expected =
                    operation.path.contains("{device}")
                    ? "There is no device NAME in this tenant."
                    : "There is no activity NAME in this tenant. Use an id that enqueue returned."
                XCTAssertEqual(neutral, expected, operation.id)
            }
        }
        let after = try await picture(scene, his)
        XCTAssertEqual(before, after)
    }

    /// What bob and the administrators see.
    private func picture(_ scene: Scene, _ activity: String) async throws -> [String] {
        let bob = try scene.user("bob-token")
        var result: [String] = []
        for path in ["devices", "devices/phone-1/operations", "activities/\(activity)"] {
            result.append(try await bob.send(.get, "/user/v1/\(path)").text)
        }
        result.append(try await scene.admin.send(.get, "/admin/v1/activities").text)
        return result
    }

    func test_userOfAnotherTenant_withTheSameName_seesNothing() async throws {
        let scene = try await owned()
        scene.tokens.insert(
            TokenDigest(of: "namesake"),
            for: Identity(name: "ann", tenant: Scene.other, permissions: [.own])
        )
        let namesake = try scene.user("namesake")
        let list = try await namesake.send(.get, "/user/v1/devices")
        XCTAssertEqual(list.json?["devices"], [])
        let device = try await namesake.send(.get, "/user/v1/devices/tablet-1")
        XCTAssertEqual(device.status, 404)
    }

    func test_administratorAndWorker_areNoUsers_andUsersNoAdministrators() async throws {
        let scene = try await owned()
        for token in ["admin-token", "powerless-token", "reader-token"] {
            let answer = try await scene.user(token).send(.get, "/user/v1/devices")
            XCTAssertEqual(answer.status, 403, token)
        }
        let names = try await scene.populate()
        for operation in try OpenAPIDocument(named: "admin-v1").operations {
            var path = operation.path
            for (name, value) in names {
                path = path.replacingOccurrences(of: "{\(name)}", with: value)
            }
            let answer = try await scene.admin.with(token: "ann-token")
                .send(.init(operation.method)!, path)
            XCTAssertEqual(answer.status, 403, operation.id)
        }
    }

    func test_deviceGivenToAnother_takesItsPastWithIt() async throws {
        let scene = try Scene()
        let receipt = try await scene.enrol("tablet-1")
        let (ann, bob) = (try scene.user("ann-token"), try scene.user("bob-token"))
        try await scene.administration.setOwner("ann", of: "tablet-1")
        try await scene.report(
            receipt,
            .information(.location, body: Array(#"{"latitude":52.5,"longitude":13.4}"#.utf8))
        )
        let hers = try await ask(ann, "tablet-1")
        scene.time.advance(by: .seconds(60))
        try await scene.administration.setOwner("bob", of: "tablet-1")
        let lost = try await ann.send(.get, "/user/v1/activities/\(hers)")
        XCTAssertEqual(lost.status, 404)
        let cancel = try await ann.send(.post, "/user/v1/activities/\(hers)/cancel")
        XCTAssertEqual(cancel.status, 404)
        let device = try await bob.send(.get, "/user/v1/devices/tablet-1")
        XCTAssertEqual(device.status, 200)
        XCTAssertEqual(device.json?["information"], [:], "where it was is not his to know")
        let asked = try await bob.send(.get, "/user/v1/devices/tablet-1/operations")
        XCTAssertEqual(asked.json?["operations"], [])
        try await scene.enrol("tablet-1")
        let gone = try await bob.send(.get, "/user/v1/devices/tablet-1")
        XCTAssertEqual(gone.status, 404, "a new enrolment inherits no owner")
    }

    func test_idempotencyKey_ofAnotherUser_tellsNothing() async throws {
        let scene = try await owned()
        let path = "/user/v1/devices/tablet-1/operations"
        let key: HTTPFields = [HTTPField.Name("Idempotency-Key")!: "k-1"]
        let first = try await scene.user("ann-token").call(
            .post,
            path,
            ["code": "ring"],
            fields: key
        )
        XCTAssertEqual(first.json?["repeated"], false)
        let again = try await scene.user("ann-token").call(
            .post,
            path,
            ["code": "ring"],
            fields: key
        )
        XCTAssertEqual(again.json?["repeated"], true)
        let bob = try await scene.user("bob-token").call(
            .post,
            "/user/v1/devices/phone-1/operations",
            ["code": "locate"],
            fields: key
        )
        XCTAssertEqual(bob.status, 202, bob.text)
        XCTAssertEqual(bob.json?["repeated"], false)
    }

    func test_userRequests_areOnRecord() async throws {
        let scene = try await owned()
        _ = try await ask(try scene.user("ann-token"), "tablet-1")
        _ = try await scene.user("admin-token").send(.get, "/user/v1/devices")
        let entries = try await scene.audit.entries(after: 0, limit: 1_000).map(\.record)
        let own = entries.filter { $0.operation == "enqueueOwnOperation" }
        XCTAssertEqual(own.map(\.outcome), [.begun, .done])
        XCTAssertEqual(own.map(\.who), ["ann", "ann"])
        XCTAssertEqual(own.map(\.kind), [.user, .user])
        let refused = entries.filter { $0.operation == "listOwnDevices" }
        XCTAssertEqual(refused.map(\.outcome), [.refused])
    }
}
#endif
