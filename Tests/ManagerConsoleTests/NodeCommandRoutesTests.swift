#if Server
import ClusterMembership
import ClusterRole
import ClusterTestKit
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import ManagerConsole
import XCTest

final class NodeCommandRoutesTests: XCTestCase {
    private func join(_ scene: Scene, _ name: String, zone: String) async throws {
        let member = Member(
            node: NodeID(rawValue: name),
            role: .worker,
            domain: .standard(for: .worker),
            properties: ["zone": zone],
            joinedAt: scene.time.now(),
            lastHeard: scene.time.now()
        )
        _ = try await scene.members.put(member, epoch: scene.capability.epoch)
    }

    private func nodes(_ answer: HandlerCaller.Answer) -> [String] {
        guard case .array(let nodes) = answer.json?["nodes"] else { return [] }
        return nodes.map {
            "\($0["node"]?.stringValue ?? "-") \($0["state"]?.stringValue ?? "-")"
        }
    }

    func test_command_isForThoseItsTargetNames_andShowsWhatBecameOfIt() async throws {
        let scene = try Scene()
        try await join(scene, "w-1", zone: "a")
        try await join(scene, "w-2", zone: "b")
        let targets: [(JSONValue, [String])] = [
            (["everybody": true], ["manager-1 waiting", "w-1 waiting", "w-2 waiting"]),
            (["role": "worker"], ["w-1 waiting", "w-2 waiting"]),
            (["domain": "reeve/mgt"], ["manager-1 waiting"]),
            (["property": ["name": "zone", "value": "b"]], ["w-2 waiting"]),
            (["nodes": ["w-1"]], ["w-1 waiting"]),
        ]
        for (target, expected) in targets {
            let answer = try await scene.admin.call(
                .post,
                "/admin/v1/commands",
                ["command": "maintenance-on", "target": target]
            )
            XCTAssertEqual(answer.status, 202, answer.text)
            XCTAssertEqual(answer.violations, [])
            XCTAssertEqual(nodes(answer), expected)
        }
        let one = try await scene.admin.call(
            .post,
            "/admin/v1/nodes/w-2/commands",
            ["command": "graceful-restart", "lifetime": 30]
        )
        XCTAssertEqual(nodes(one), ["w-2 waiting"])
        let id = try XCTUnwrap(one.json?["id"]?.stringValue)
        try await scene.messenger.take([
            MessageAcknowledgement(
                message: try MessageID(parsing: id),
                node: "w-2",
                outcome: .handled,
                at: scene.time.now()
            )
        ])
        let shown = try await scene.admin.send(.get, "/admin/v1/commands/\(id)")
        XCTAssertEqual(shown.violations, [])
        XCTAssertEqual(nodes(shown), ["w-2 handled"])
        XCTAssertEqual(shown.json?["command"], "graceful-restart")
        let counts = try await scene.admin.send(.get, "/admin/v1/messages")
        XCTAssertEqual(counts.violations, [])
        XCTAssertEqual(counts.json?["kept"], 6)
    }

    func test_commandUnderOneKey_isGivenOnce_andAnotherUnderItIsAConflict() async throws {
        let scene = try Scene()
        try await join(scene, "w-1", zone: "a")
        let body: JSONValue = ["command": "graceful-shutdown", "target": ["nodes": ["w-1"]]]
        func give(
            _ body: JSONValue,
            _ path: String = "commands",
            key: String = "night-1"
        ) async throws -> HandlerCaller.Answer {
            try await scene.admin.call(
                .post,
                "/admin/v1/\(path)",
                body,
                fields: [.init("Idempotency-Key")!: key]
            )
        }
        let first = try await give(body)
        XCTAssertEqual(first.status, 202, first.text)
        XCTAssertEqual(first.json?["repeated"], false)
        let id = try XCTUnwrap(first.json?["id"]?.stringValue)
        try await scene.messenger.take([
            MessageAcknowledgement(
                message: try MessageID(parsing: id),
                node: "w-1",
                outcome: .handled,
                at: scene.time.now()
            )
        ])
        // It has done so: the node is gone when the caller, who heard no answer, repeats the call.
        _ = try await scene.members.remove("w-1", epoch: scene.capability.epoch)
        for (path, body) in [
            ("commands", body), ("nodes/w-1/commands", ["command": "graceful-shutdown"]),
        ] {
            let again = try await give(body, path)
            XCTAssertEqual(again.status, 202, again.text)
            XCTAssertEqual(again.violations, [])
            XCTAssertEqual(again.json?["id"]?.stringValue, id)
            XCTAssertEqual(again.json?["repeated"], true)
            XCTAssertEqual(nodes(again), ["w-1 handled"])
        }
        XCTAssertEqual(scene.messenger.counts.kept, 1)

        let others: [JSONValue] = [
            ["command": "graceful-shutdown", "target": ["everybody": true]],
            ["command": "shutdown", "target": ["nodes": ["w-1"]]],
        ]
        for other in others {
            let answer = try await give(other)
            XCTAssertEqual(answer.status, 409, answer.text)
            XCTAssertEqual(answer.code, "cluster.message-conflict")
            XCTAssertEqual(answer.violations, [])
        }
        let bad = try await give(body, key: "two words")
        XCTAssertEqual(bad.status, 400)
        let everybody = try XCTUnwrap(others.first)
        let second = try await give(everybody, key: "night-2")
        XCTAssertNotEqual(second.json?["id"]?.stringValue, id)
        let keyless = try await scene.admin.call(.post, "/admin/v1/commands", everybody)
        XCTAssertNotEqual(keyless.json?["id"]?.stringValue, second.json?["id"]?.stringValue)
        XCTAssertEqual(scene.messenger.counts.kept, 3)
    }

    func test_command_withABadNameTargetOrLifetime_isRefused() async throws {
        let scene = try Scene()
        let bodies: [JSONValue] = [
            ["command": "explode", "target": ["everybody": true]],
            ["command": "drain", "target": [:]],
            ["command": "drain", "target": ["everybody": true, "role": "worker"]],
            ["command": "drain", "target": ["role": "king"]],
            ["command": "drain", "target": ["everybody": true], "lifetime": 0],
            ["command": "drain", "target": ["everybody": true], "lifetime": 1e9],
        ]
        for body in bodies {
            let answer = try await scene.admin.call(.post, "/admin/v1/commands", body)
            XCTAssertEqual(answer.status, 400, answer.text)
            XCTAssertEqual(answer.code, "console.invalid-field", answer.text)
        }
        XCTAssertEqual(scene.messenger.counts.kept, 0)
    }

    func test_command_ofAnotherTenantsAdministrator_orOfAReader_isRefused() async throws {
        let scene = try Scene()
        let body: JSONValue = ["command": "drain", "target": ["everybody": true]]
        let rows = [("other-token", "console.operators-only"), ("reader-token", "http.forbidden")]
        for (token, code) in rows {
            let caller = scene.admin.with(token: token)
            let answer = try await caller.call(.post, "/admin/v1/commands", body)
            XCTAssertEqual(answer.status, 403, answer.text)
            XCTAssertEqual(answer.code, code)
        }
        let counts = try await scene.admin.with(token: "other-token")
            .send(.get, "/admin/v1/messages")
        XCTAssertEqual(counts.code, "console.operators-only")
    }
}
#endif
