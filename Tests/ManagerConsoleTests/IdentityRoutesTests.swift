#if Server
import ClusterRole
import ClusterTestKit
import Foundation
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import ManagerConsole
import XCTest

final class IdentityRoutesTests: XCTestCase {
    /// What each route needs. **A new route is a new row.**
    private static let needed: [Permission: Set<String>] = [
        .read: [
            "listDevices", "getDevice", "listGroups", "listActivities", "getActivity",
            "listExecutions", "listChannels", "listReleases", "listNodes", "getStatus",
            "listTasks", "getTask", "getQuota", "getInformation", "listLocations",
            "listHistory", "listDeviceExecutions", "listPending", "listEvents",
            "listWebhooks", "getWebhook", "listDeadLetters", "listPolicies", "getPolicy",
            "listDevicesOfPolicy", "getLargeResult", "explainExecution", "getPublishing",
            "listRoots", "listRollouts", "getRollout", "awaitApplied", "listBlocks",
            "getCommand", "getMessages",
        ],
        .operate: [
            "removeDevice", "setPollingFrequency", "changeMembers", "enqueueOperation",
            "cancelActivity", "cancelDeviceOperations", "defineGroup", "undefineGroup",
            "setGroupPollingFrequency", "approveActivity", "rejectActivity", "pauseActivity",
            "resumeActivity", "releaseActivity", "commandExecution", "probeNode",
        ],
        .publish: [
            "publishRelease", "rollBackChannel", "previewRelease", "commitPublishing",
            "startRollout", "pauseRollout", "resumeRollout", "abortRollout", "revertRollout",
            "liftBlock", "setPublishing",
        ],
        .administer: [
            "putTask", "removeTask", "putPolicy", "removePolicy", "takeBackup", "purgeHistory",
            "setQuota", "addWebhook", "commandNode", "commandNodes", "putNodeMode",
            "removeWebhook", "redeliverDeadLetter", "installRoot", "setOwner", "listAudit",
            "verifyAudit", "listIdentities", "createIdentity", "revokeIdentity",
        ],
    ]

    /// Every route, called by an identity with each single permission, and by one with all but the needed.
    func test_everyRoute_isOpenToThePermissionItNeeds_andToNoOther() async throws {
        let scene = try Scene()
        let names = try await scene.populate()
        let all: [Permission] = [.read, .operate, .publish, .administer, .link, .own]
        for permission in all {
            let only = Identity(name: "only", permissions: [permission])
            let others = Identity(
                name: "others",
                permissions: Set(all).subtracting([permission])
            )
            scene.tokens.insert(TokenDigest(of: "only-\(permission)"), for: only)
            scene.tokens.insert(TokenDigest(of: "not-\(permission)"), for: others)
        }
        var missing: [String] = []
        for operation in try OpenAPIDocument(named: "admin-v1").operations {
            guard let need = Self.needed.first(where: { $0.value.contains(operation.id) })?.key
            else {
                missing.append("\(operation.id): \(operation.permission ?? "-")")
                continue
            }
            XCTAssertEqual(operation.permission, need.rawValue, operation.id)
            var path = operation.path
            for (name, value) in names {
                path = path.replacingOccurrences(of: "{\(name)}", with: value)
            }
            for token in all.flatMap({ ["only-\($0)", "not-\($0)"] }) {
                // A body that is no JSON: who may is told so or answered, who may not is told that.
                let answer = try await scene.admin.with(token: token).send(
                    .init(operation.method)!,
                    path,
                    fields: operation.method == "GET" ? [:] : [.contentType: "text/plain"]
                )
                let may =
                    token == "only-\(need)" || (token.hasPrefix("not-") && token != "not-\(need)")
                if may {
                    XCTAssertNotEqual(answer.code, "http.forbidden", "\(operation.id) \(token)")
                } else {
                    XCTAssertEqual(answer.status, 403, "\(operation.id) \(token)")
                    XCTAssertEqual(answer.code, "http.forbidden", "\(operation.id) \(token)")
                }
            }
        }
        XCTAssertEqual(missing, [], "routes that are in no row")
    }

    func test_identity_madeThroughTheAPI_worksUntilItIsRevoked() async throws {
        let scene = try Scene()
        let made = try await scene.admin.call(
            .post,
            "/admin/v1/identities",
            ["name": "night-shift", "permissions": ["read", "operate"], "lifetime": 3_600]
        )
        XCTAssertEqual(made.status, 201, made.text)
        XCTAssertEqual(made.violations, [])
        let token = try XCTUnwrap(made.json?["token"]?.stringValue)
        let shift = scene.admin.with(token: token)
        let read = try await shift.send(.get, "/admin/v1/devices")
        XCTAssertEqual(read.status, 200)
        let administer = try await shift.send(.get, "/admin/v1/identities")
        XCTAssertEqual(administer.status, 403)
        let list = try await scene.admin.send(.get, "/admin/v1/identities")
        XCTAssertEqual(list.violations, [])
        XCTAssertEqual(list.json?["identities"]?[0]?["name"], "night-shift")
        XCTAssertFalse(list.text.contains(token))
        let again = try await scene.admin.call(
            .post,
            "/admin/v1/identities",
            ["name": "night-shift", "permissions": ["read"]]
        )
        XCTAssertEqual(again.status, 409)
        XCTAssertEqual(again.code, "role.identity-exists")
        let revoked = try await scene.admin.send(.delete, "/admin/v1/identities/night-shift")
        XCTAssertEqual(revoked.status, 204)
        let gone = try await shift.send(.get, "/admin/v1/devices")
        XCTAssertEqual(gone.status, 401)
    }

    func test_identity_expires() async throws {
        let scene = try Scene()
        let made = try await scene.admin.call(
            .post,
            "/admin/v1/identities",
            ["name": "temp", "permissions": ["read"], "lifetime": 60]
        )
        let token = try XCTUnwrap(made.json?["token"]?.stringValue)
        scene.time.advance(by: .seconds(60))
        let gone = try await scene.admin.with(token: token).send(.get, "/admin/v1/devices")
        XCTAssertEqual(gone.status, 401)
    }

    func test_nobodyRaisesHimself() async throws {
        let scene = try Scene()
        scene.tokens.insert(
            TokenDigest(of: "steward"),
            for: Identity(name: "steward", permissions: [.administer])
        )
        let steward = scene.admin.with(token: "steward")
        let rows: [(JSONValue, Int, String)] = [
            (["name": "a", "permissions": ["administer", "operate"]], 403, "role.not-grantable"),
            (["name": "a", "permissions": ["link"]], 400, "role.invalid-identity"),
            (["name": "a", "permissions": []], 400, "role.invalid-identity"),
            (["name": "a"], 400, "role.invalid-identity"),
            (["name": "a", "kind": "node"], 400, "console.invalid-field"),
            (["name": "a b", "permissions": ["administer"]], 400, "role.invalid-name"),
            (["name": "a", "kind": "user", "permissions": ["read"]], 400, "role.invalid-identity"),
            (
                ["name": "a", "permissions": ["administer"], "lifetime": 0], 400,
                "console.invalid-field"
            ),
        ]
        for (body, status, code) in rows {
            let answer = try await steward.call(.post, "/admin/v1/identities", body)
            XCTAssertEqual(answer.status, status, "\(body): \(answer.text)")
            XCTAssertEqual(answer.code, code, "\(body)")
        }
        let list = try await steward.send(.get, "/admin/v1/identities")
        XCTAssertEqual(list.json?["identities"], [])
    }
}
#endif
