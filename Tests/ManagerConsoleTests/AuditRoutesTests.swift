#if Server
import ClusterRole
import ClusterTestKit
import Foundation
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import ManagerConsole
import XCTest

final class AuditRoutesTests: XCTestCase {
    private func changes() throws -> [OpenAPIDocument.Operation] {
        try OpenAPIDocument(named: "admin-v1").operations.filter { $0.method != "GET" }
    }

    private func send(
        _ scene: Scene,
        _ operation: OpenAPIDocument.Operation,
        _ names: [String: String],
        token: String
    ) async throws -> HandlerCaller.Answer {
        var path = operation.path
        for (name, value) in names {
            path = path.replacingOccurrences(of: "{\(name)}", with: value)
        }
        var body = operation.example
        if ["publishRelease", "previewRelease"].contains(operation.id) {
            body = ["directory": .string(try scene.tree("again", ["a": "two"]))]
        }
        if operation.id == "takeBackup" { body = ["path": .string(scene.backups + "/copy")] }
        return try await scene.admin.with(token: token).send(
            .init(operation.method)!,
            path,
            fields: body == nil ? [:] : [.contentType: "application/json"],
            body: try body?.encoded() ?? []
        )
    }

    private func entries(_ scene: Scene, of operation: String) async throws -> [AuditEntry] {
        try await scene.audit.entries(after: 0, limit: 10_000)
            .filter { $0.record.operation == operation }
    }

    /// Every route that changes something: an entry before and after a call that is let through, whatever
    /// becomes of it, and one for each that is not. **A new route is in it by itself.**
    func test_everyRouteThatChangesSomething_isRecordedForSuccessAndForRefusal() async throws {
        let changes = try changes()
        XCTAssertGreaterThan(changes.count, 35)
        for operation in changes {
            let scene = try Scene()
            let names = try await scene.populate()
            let before = try await entries(scene, of: operation.id).count
            let answer = try await send(scene, operation, names, token: "admin-token")
            let known = try await entries(scene, of: operation.id).dropFirst(before).map(\.record)
            XCTAssertEqual(known.count, 2, operation.id)
            XCTAssertEqual(known.first?.outcome, .begun, operation.id)
            XCTAssertEqual(
                known.last?.outcome,
                AuditOutcome(status: answer.status),
                "\(operation.id): \(answer.text)"
            )
            XCTAssertEqual(known.last?.status, answer.status, operation.id)
            XCTAssertEqual(known.last?.code, answer.status < 400 ? "" : answer.code, operation.id)
            for record in known {
                XCTAssertEqual(record.who, "alice", operation.id)
                XCTAssertEqual(record.kind, .administrator, operation.id)
                XCTAssertEqual(record.tenant, .standard, operation.id)
                XCTAssertTrue(record.target.hasPrefix("/admin/v1/"), operation.id)
            }
            for (token, status, who) in [("wrong", 401, ""), ("powerless-token", 403, "pia")] {
                let refused = try await send(scene, operation, names, token: token)
                XCTAssertEqual(refused.status, status, operation.id)
                let last = try await entries(scene, of: operation.id).last?.record
                XCTAssertEqual(last?.outcome, .refused, operation.id)
                XCTAssertEqual(last?.code, refused.code, operation.id)
                XCTAssertEqual(last?.who, who, operation.id)
            }
        }
    }

    func test_everyRouteThatChangesSomething_whileNothingCanBeRecorded_changesNothing()
        async throws
    {
        for operation in try changes() {
            let scene = try Scene()
            let names = try await scene.populate()
            // Another holder's epoch: neither the log nor the store takes what this node writes.
            let revision = scene.ledger.revision
            _ = scene.ledger.raiseEpoch()
            let answer = try await send(scene, operation, names, token: "admin-token")
            XCTAssertEqual(answer.status, 503, "\(operation.id): \(answer.text)")
            XCTAssertEqual(answer.code, "role.fenced", operation.id)
            XCTAssertEqual(scene.ledger.revision, revision, operation.id)
        }
    }

    func test_audit_showsWhoDidWhat_inPagesAndByFilter() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        _ = try await scene.enqueue("tablet-17")
        _ = try await scene.admin.with(token: "reader-token")
            .call(.put, "/admin/v1/devices/tablet-17/polling", ["frequency": 9])
        let all = try await scene.admin.send(.get, "/admin/v1/audit")
        XCTAssertEqual(all.violations, [])
        let shown = elements(of: all.json?["entries"])
        XCTAssertEqual(
            shown.map { $0["outcome"]?.stringValue },
            ["refused", "done", "begun"]
        )
        XCTAssertEqual(shown[0]["who"], "rita")
        XCTAssertEqual(shown[0]["code"], "http.forbidden")
        XCTAssertEqual(shown[1]["operation"], "enqueueOperation")
        XCTAssertEqual(shown[1]["status"], 202)
        XCTAssertEqual(shown[1]["revision"]?.stringValue, scene.ledger.revision.description)
        XCTAssertEqual(shown[1]["begun"], shown[2]["number"])
        let rows: [(String, Int)] = [
            ("who=rita", 1), ("outcome=done", 1), ("operation=enqueueOperation", 2),
            ("since=\(scene.time.now().milliseconds)", 3),
            ("since=\(scene.time.now().milliseconds + 1)", 0), ("who=nobody", 0),
        ]
        for (query, count) in rows {
            let page = try await scene.admin.send(.get, "/admin/v1/audit?\(query)")
            XCTAssertEqual(elements(of: page.json?["entries"]).count, count, query)
        }
        let first = try await scene.admin.send(.get, "/admin/v1/audit?limit=2")
        let next = try XCTUnwrap(first.json?["next"]?.stringValue)
        let second = try await scene.admin.send(.get, "/admin/v1/audit?limit=2&before=\(next)")
        XCTAssertEqual(elements(of: second.json?["entries"]).count, 1)
        for bad in ["outcome=well", "since=x", "before=x"] {
            let answer = try await scene.admin.send(.get, "/admin/v1/audit?\(bad)")
            XCTAssertEqual(answer.status, 400, bad)
        }
    }

    func test_audit_ofAnotherTenant_isSeenByTheOperatorsOnly() async throws {
        let scene = try Scene()
        let other = scene.admin.with(token: "other-token")
        _ = try await other.call(.put, "/admin/v1/tasks/theirs", ["frequency": 60])
        _ = try await scene.admin.call(.put, "/admin/v1/tasks/ours", ["frequency": 60])
        _ = try await scene.admin.with(token: "wrong").send(.get, "/admin/v1/status")
        let theirs = try await other.send(.get, "/admin/v1/audit")
        XCTAssertEqual(elements(of: theirs.json?["entries"]).count, 2)
        XCTAssertFalse(theirs.text.contains("ours"))
        XCTAssertFalse(theirs.text.contains("alice"))
        let all = try await scene.admin.send(.get, "/admin/v1/audit")
        XCTAssertEqual(elements(of: all.json?["entries"]).count, 5)
    }

    func test_verification_ofAChangedLog_saysWhereItIsBroken() async throws {
        let scene = try Scene()
        for _ in 0..<3 { _ = try await scene.admin.send(.post, "/admin/v1/purge") }
        let whole = try await scene.admin.send(.get, "/admin/v1/audit/verification")
        XCTAssertEqual(whole.json?["isWhole"], true, whole.text)
        XCTAssertEqual(whole.violations, [])
        scene.audit.tamper { $0.remove(at: 2) }
        let broken = try await scene.admin.send(.get, "/admin/v1/audit/verification")
        XCTAssertEqual(broken.json?["isWhole"], false)
        XCTAssertEqual(broken.json?["brokenAt"], 3)
        XCTAssertEqual(broken.violations, [])
    }

    func test_status_tellsTheHeadOfTheLog() async throws {
        let scene = try Scene()
        _ = try await scene.admin.call(.put, "/admin/v1/tasks/ours", ["frequency": 60])
        let status = try await scene.admin.send(.get, "/admin/v1/status")
        let head = try await scene.audit.auditBounds().head
        XCTAssertEqual(status.json?["audit"]?["head"]?.stringValue, head.description)
        XCTAssertEqual(head.number, 2)
    }

    func test_entries_holdNoTokenAndNoBody() async throws {
        let scene = try Scene()
        let made = try await scene.admin.call(
            .post,
            "/admin/v1/identities",
            ["name": "day-shift", "permissions": ["read"]]
        )
        let token = try XCTUnwrap(made.json?["token"]?.stringValue)
        let audit = try await scene.admin.send(.get, "/admin/v1/audit")
        for secret in [token, "admin-token", "day-shift"] {
            XCTAssertFalse(audit.text.contains(secret), secret)
        }
    }
}
#endif
