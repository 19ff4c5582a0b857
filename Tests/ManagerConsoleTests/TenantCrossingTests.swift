#if Server
import ClusterRole
import ClusterTestKit
import Foundation
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import NotificationDispatch
import XCTest

/// Tries to cross from one tenant into another through every route. **A new route is a new row.**
final class TenantCrossingTests: XCTestCase {
    private enum Expectation {
        /// 404, word for word as for a name that nobody has.
        case unknown
        /// A success that shows nothing of the other tenant.
        case empty
        /// 403: it is not for administrators of this tenant.
        case forbidden
        /// The cluster's, not a tenant's.
        case shared
    }

    private static let routes: [String: Expectation] = [
        "listDevices": .empty, "getDevice": .unknown, "removeDevice": .unknown,
        "setPollingFrequency": .unknown, "listGroups": .empty, "changeMembers": .empty,
        "enqueueOperation": .unknown, "listActivities": .empty, "getActivity": .unknown,
        "listExecutions": .unknown, "cancelActivity": .unknown, "listChannels": .empty,
        "listReleases": .unknown, "publishRelease": .empty, "rollBackChannel": .unknown,
        "listNodes": .shared, "getStatus": .empty, "listTasks": .empty, "getTask": .unknown,
        "putTask": .empty, "removeTask": .unknown, "takeBackup": .forbidden,
        "purgeHistory": .forbidden, "getQuota": .empty, "setQuota": .forbidden,
        "getInformation": .unknown, "listLocations": .unknown, "listHistory": .unknown,
        "listDeviceExecutions": .unknown, "listPending": .unknown,
        "cancelDeviceOperations": .unknown, "defineGroup": .empty, "undefineGroup": .unknown,
        "setGroupPollingFrequency": .unknown, "listEvents": .empty, "listWebhooks": .empty,
        "addWebhook": .empty, "getWebhook": .unknown, "removeWebhook": .unknown,
        "listDeadLetters": .unknown, "redeliverDeadLetter": .unknown, "listPolicies": .empty,
        "getPolicy": .unknown, "putPolicy": .empty, "removePolicy": .unknown,
        "listDevicesOfPolicy": .unknown, "getLargeResult": .unknown,
        "approveActivity": .unknown, "rejectActivity": .unknown, "pauseActivity": .unknown,
        "resumeActivity": .unknown, "releaseActivity": .unknown, "commandExecution": .unknown,
        "explainExecution": .unknown, "previewRelease": .empty, "getPublishing": .unknown,
        "setPublishing": .unknown, "commitPublishing": .unknown, "listRoots": .shared,
        "installRoot": .forbidden, "listRollouts": .empty, "startRollout": .empty,
        "getRollout": .unknown, "pauseRollout": .unknown, "resumeRollout": .unknown,
        "abortRollout": .unknown, "revertRollout": .unknown, "awaitApplied": .unknown,
        "listBlocks": .unknown, "liftBlock": .unknown, "setOwner": .unknown, "listAudit": .empty,
        "verifyAudit": .forbidden, "listIdentities": .empty, "createIdentity": .empty,
        "revokeIdentity": .unknown, "commandNodes": .forbidden, "commandNode": .forbidden,
        "getCommand": .forbidden, "getMessages": .forbidden, "putNodeMode": .forbidden,
        "probeNode": .forbidden,
    ]

    /// Bodies that name what the victim has, for routes whose example does not.
    private static let bodies: [String: JSONValue] = [
        "enqueueOperation": ["target": ["group": "shop-3"], "code": "lock"],
        "changeMembers": ["join": ["tablet-17"]],
        "rollBackChannel": ["to": 1],
    ]

    /// What is asked for, for routes that show nothing of the past without it.
    private static let queries = ["listEvents": "?since=0"]

    func test_theTable_hasEveryRoute() throws {
        let document = try OpenAPIDocument(named: "admin-v1")
        XCTAssertEqual(document.operations.map(\.id).sorted(), Self.routes.keys.sorted())
    }

    func test_everyRoute_calledByAnotherTenantsAdministrator_behavesAsIfNothingWereThere()
        async throws
    {
        for operation in try OpenAPIDocument(named: "admin-v1").operations {
            let scene = try Scene()
            let names = try await scene.populate()
            try await addDeadLetter(scene, names)
            let before = try await picture(scene, names)
            let thief = scene.admin.with(token: "other-token")
            var body = Self.bodies[operation.id] ?? operation.example
            if ["publishRelease", "previewRelease"].contains(operation.id) {
                body = ["directory": .string(try scene.tree("thief", ["a": "x"]))]
            }
            let answer = try await call(thief, operation, names, body)
            let text = answer.text
            switch Self.routes[operation.id] {
            case .unknown:
                XCTAssertEqual(answer.status, 404, "\(operation.id): \(text)")
                let nobody = names.mapValues {
                    // A number is nobody's name: the dead letter's stays.
                    $0 == "1"
                        ? $0
                        : $0.allSatisfy(\.isHexDigit)
                            ? String(repeating: "0", count: $0.count) : "nobody"
                }
                var unknownBody = body
                if operation.id == "enqueueOperation" {
                    unknownBody = ["target": ["group": "nobody"], "code": "lock"]
                }
                let unknown = try await call(thief, operation, nobody, unknownBody)
                XCTAssertEqual(answer.code, unknown.code, operation.id)
                XCTAssertEqual(
                    neutral(answer.json?["detail"]?.stringValue, names),
                    neutral(unknown.json?["detail"]?.stringValue, nobody),
                    operation.id
                )
            case .forbidden:
                XCTAssertEqual(answer.status, 403, "\(operation.id): \(text)")
                XCTAssertEqual(answer.code, "console.operators-only", operation.id)
            case .empty:
                XCTAssertTrue((200..<300).contains(answer.status), "\(operation.id): \(text)")
                for secret in ["tablet-17", names["activity"] ?? "-"] {
                    XCTAssertFalse(text.contains(secret), "\(operation.id) shows \(secret)")
                }
                if operation.method == "GET" {
                    for secret in ["shop-3", "web/site", "hourly", "passcode", "hooks."] {
                        XCTAssertFalse(text.contains(secret), "\(operation.id) shows \(secret)")
                    }
                }
            case .shared: XCTAssertEqual(answer.status, 200, "\(operation.id): \(text)")
            case nil: XCTFail("\(operation.id) is not in the table")
            }
            let after = try await picture(scene, names)
            XCTAssertEqual(before, after, "\(operation.id) changed another tenant")
        }
    }

    func test_aNextTokenOfAnotherTenant_continuesTheCallersOwnListOnly() async throws {
        let scene = try Scene()
        _ = try await scene.populate()
        for index in 0..<4 { try await scene.enrol("victim-\(index)") }
        for _ in 0..<3 { _ = try await scene.enqueue("tablet-17") }
        let thief = scene.admin.with(token: "other-token")
        for (list, item) in [("devices", "after"), ("activities", "before")] {
            let page = try await scene.admin.send(.get, "/admin/v1/\(list)?limit=2")
            let next = try XCTUnwrap(page.json?["next"]?.stringValue, page.text)
            let answer = try await thief.send(.get, "/admin/v1/\(list)?limit=2&\(item)=\(next)")
            XCTAssertEqual(answer.status, 200)
            XCTAssertEqual(answer.json?[list], .array([]), "\(list): \(answer.text)")
        }
    }

    /// A message without the caller's own names.
    private func neutral(_ text: String?, _ names: [String: String]) -> String? {
        names.values.sorted { $0.count > $1.count }.reduce(text) { text, name in
            text?.replacingOccurrences(of: name.removingPercentEncoding ?? name, with: "NAME")
        }?.replacingOccurrences(of: "nobody", with: "NAME")
    }

    /// A dead letter of the victim's webhook.
    private func addDeadLetter(_ scene: Scene, _ names: [String: String]) async throws {
        let id = try WebhookID(parsing: names["webhook"] ?? "")
        let found = try await scene.webhooks.webhook(id)
        let (webhook, _) = try XCTUnwrap(found)
        let letter = WebhookDeadLetter(
            number: 1,
            message: "msg-1",
            body: [1],
            events: 1,
            failure: "refused",
            at: scene.time.now()
        )
        try await scene.webhooks.settle(
            WebhookSettlement(progress: webhook.progress, deadLetter: letter),
            of: id,
            from: webhook.progress.cursor,
            epoch: scene.capability.epoch
        )
    }

    private func call(
        _ caller: HandlerCaller,
        _ operation: OpenAPIDocument.Operation,
        _ names: [String: String],
        _ body: JSONValue?
    ) async throws -> HandlerCaller.Answer {
        var path = operation.path
        for (name, value) in names {
            path = path.replacingOccurrences(of: "{\(name)}", with: value)
        }
        return try await caller.send(
            .init(operation.method)!,
            path + (Self.queries[operation.id] ?? ""),
            fields: body == nil ? [:] : [.contentType: "application/json"],
            body: try body?.encoded() ?? []
        )
    }

    /// Everything the victim sees.
    private func picture(_ scene: Scene, _ names: [String: String]) async throws -> [String] {
        var result: [String] = []
        for path in [
            "devices", "devices/tablet-17", "groups", "activities",
            "activities/\(names["activity"] ?? "")/executions", "channels",
            "channels/web%2Fsite/releases", "tasks", "quota", "policies", "webhooks",
            "webhooks/\(names["webhook"] ?? "")/dead-letters", "events?since=0",
            "devices/tablet-17/information", "devices/tablet-17/pending", "rollouts",
            "rollouts/\(names["rollout"] ?? "")", "channels/web%2Fsite/blocks", "identities",
        ] {
            let text = try await scene.admin.send(.get, "/admin/v1/\(path)").text
            // Revisions are the cluster's: every commit moves them.
            result.append(
                text.replacingOccurrences(
                    of: #""[0-9a-f]{32}:[0-9]+""#,
                    with: "REVISION",
                    options: .regularExpression
                )
            )
        }
        return result
    }
}
#endif
