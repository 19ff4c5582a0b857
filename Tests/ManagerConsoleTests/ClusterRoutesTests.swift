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

final class ClusterRoutesTests: XCTestCase {
    private func join(_ scene: Scene, _ node: String, behind: Int64) async throws {
        let newest = scene.ledger.revision
        let member = Member(
            node: NodeID(rawValue: node),
            role: .worker,
            domain: .standard(for: .worker),
            address: "10.0.0.4:80",
            version: "1.0",
            properties: ["zone": "b"],
            applied: Revision(history: newest.history, number: newest.number + 1 - behind),
            joinedAt: scene.time.now(),
            lastHeard: scene.time.now()
        )
        _ = try await scene.members.put(member, epoch: scene.capability.epoch)
    }

    func test_nodesAndStatus_tellHowFarEachIsBehind() async throws {
        let scene = try Scene()
        _ = try await scene.populate()
        try await join(scene, "worker-1", behind: 3)
        let nodes = try await scene.admin.send(.get, "/admin/v1/nodes")
        XCTAssertEqual(nodes.status, 200, nodes.text)
        XCTAssertEqual(nodes.violations, [])
        XCTAssertEqual(nodes.json?["nodes"]?[0]?["lag"], 3)
        XCTAssertEqual(nodes.json?["nodes"]?[0]?["domain"], "reeve/worker")
        let status = try await scene.admin.send(.get, "/admin/v1/status")
        XCTAssertEqual(status.violations, [])
        XCTAssertEqual(status.json?["node"], "manager-1")
        XCTAssertEqual(status.json?["epoch"], 1)
        XCTAssertEqual(status.json?["devices"], 1)
        XCTAssertEqual(status.json?["revision"], .string("\(scene.ledger.revision)"))
        XCTAssertEqual(status.json?["nodes"]?[0]?["lag"], 3)
        XCTAssertEqual(status.json?["wakes"]?["sent"], 0)
    }

    /// Its row is written every few seconds; what it reads is the store itself.
    func test_theManagerItself_isNeverBehind() async throws {
        let scene = try Scene()
        _ = try await scene.populate()
        try await join(scene, "manager-1", behind: 3)
        for (path, node) in [("nodes", "manager-1"), ("status", "manager-1")] {
            let answer = try await scene.admin.send(.get, "/admin/v1/\(path)")
            XCTAssertEqual(answer.violations, [])
            XCTAssertEqual(answer.json?["nodes"]?[0]?["node"], .string(node))
            XCTAssertEqual(answer.json?["nodes"]?[0]?["lag"], 0)
        }
    }

    func test_aNode_isAskedToDrain_andEverybodySeesIt() async throws {
        let scene = try Scene()
        try await join(scene, "worker-1", behind: 0)
        let path = "/admin/v1/nodes/worker-1/mode"
        let answer = try await scene.admin.call(.put, path, ["mode": "draining"])
        XCTAssertEqual(answer.status, 200, answer.text)
        XCTAssertEqual(answer.violations, [])
        XCTAssertEqual(answer.json?["mode"], "draining")
        let stored = try await scene.members.members().first
        XCTAssertEqual(stored?.askedMode, .draining)
        XCTAssertEqual(stored?.mode, .active, "what the node says of itself stays its own")
        let nodes = try await scene.admin.send(.get, "/admin/v1/nodes")
        XCTAssertEqual(nodes.json?["nodes"]?[0]?["askedMode"], "draining")

        let wrong = try await scene.admin.call(.put, path, ["mode": "asleep"])
        XCTAssertEqual(wrong.status, 400)
        XCTAssertEqual(wrong.code, "console.invalid-field")
        let unknown = try await scene.admin.call(
            .put,
            "/admin/v1/nodes/nobody/mode",
            ["mode": "active"]
        )
        XCTAssertEqual(unknown.status, 404)
        XCTAssertEqual(unknown.code, "console.unknown-node")
        XCTAssertEqual(unknown.violations, [])
    }

    func test_aNode_isProbedInEveryWayThereIs() async throws {
        let scene = try Scene(waitsForProbes: true)
        try await join(scene, "worker-1", behind: 0)
        let time = scene.time
        let caller = scene.admin
        async let asked = caller.send(.post, "/admin/v1/nodes/worker-1/probe")
        // Its link stays silent for as long as it is waited for.
        try await time.waitForSleepers(1)
        for _ in 0..<200 { await Task.yield() }
        time.advance(by: MemberProbe.standardLimit)
        let answer = try await asked
        XCTAssertEqual(answer.status, 200, answer.text)
        XCTAssertEqual(answer.violations, [])
        XCTAssertEqual(answer.json?["isThere"], true)
        XCTAssertEqual(answer.json?["answers"]?[0]?["outcome"], "silent")
        XCTAssertEqual(answer.json?["answers"]?[1]?["way"], "direct")
        XCTAssertEqual(answer.json?["answers"]?[1]?["outcome"], "answered")
        let wrong = try await caller.send(.post, "/admin/v1/nodes/worker-1/probe?others=perhaps")
        XCTAssertEqual(wrong.status, 400)
    }

    func test_identityOfTheHost_needsNoToken() async throws {
        let scene = try Scene()
        let handler = ClosureHandler { request in
            var request = request
            request.identity = Identity(name: "sso", permissions: [.read])
            return try await scene.endpoint.handle(request)
        }
        let caller = HandlerCaller(handler, scene.admin.document)
        let read = try await caller.send(.get, "/status")
        XCTAssertEqual(read.status, 200)
        let write = try await caller.send(.delete, "/tasks/x")
        XCTAssertEqual(write.status, 403)
    }

    // MARK: - The page

    func test_page_showsEverything_andEscapesAll() async throws {
        let scene = try Scene()
        let names = try await scene.populate()
        XCTAssertEqual(names["channel"], "web%2Fsite")
        // The quotation mark and the combining mark are one character, but two scalars.
        let nasty = "<script>alert('1')</script>&\"\u{301}x"
        try await join(scene, nasty, behind: 0)
        let page = try await scene.admin.send(.get, "/")
        XCTAssertEqual(page.status, 200)
        XCTAssertEqual(page.response.headerFields[.contentType], "text/html; charset=utf-8")
        for shown in ["manager-1", "web/site", "lock", "1 pending", "epoch 1", "2026-01-01"] {
            XCTAssertTrue(page.text.contains(shown), shown)
        }
        XCTAssertFalse(page.text.contains("<script"))
        XCTAssertFalse(page.text.unicodeScalars.contains(["\"", "\u{301}"]))
        XCTAssertTrue(
            page.text.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot")
        )
        XCTAssertFalse(page.text.contains("{{"))
    }

    func test_page_allowsNothingButItsStyle() async throws {
        let scene = try Scene()
        let page = try await scene.admin.send(.get, "/")
        let fields = page.response.headerFields
        let policy = try XCTUnwrap(fields[.contentSecurityPolicy])
        let style = try XCTUnwrap(page.text.firstMatch(of: /<style>([\s\S]*)<\/style>/)?.output.1)
        let digest = Data(TokenDigest(of: String(style)).bytes).base64EncodedString()
        XCTAssertTrue(
            policy.hasPrefix("default-src 'none'; style-src 'sha256-\(digest)'; "),
            policy
        )
        XCTAssertTrue(policy.contains("frame-ancestors 'none'"))
        XCTAssertEqual(fields[.xContentTypeOptions], "nosniff")
        XCTAssertEqual(fields[.cacheControl], "no-store")
        XCTAssertNil(page.text.firstMatch(of: /(?i)<(script|img|link|form|iframe|a )|src=|href=/))
    }

    func test_page_takesBasicWithTheTokenAsPassword_theAPIDoesNot() async throws {
        let scene = try Scene()
        let stranger = scene.admin.with(token: nil)
        func basic(_ pair: String) -> HTTPFields {
            [.authorization: "Basic " + Data(pair.utf8).base64EncodedString()]
        }
        let rows: [(HTTPFields, Int)] = [
            ([:], 401), (basic("anybody:reader-token"), 200), (basic(":reader-token"), 200),
            (basic("reader-token"), 401), (basic("reader-token:"), 401), (basic("a:wrong"), 401),
            (basic("a:powerless-token"), 403), ([.authorization: "Basic"], 401),
            ([.authorization: "Basic %%%"], 401), ([.authorization: "Basic /////w=="], 401),
        ]
        for (fields, status) in rows {
            let page = try await stranger.send(.get, "/", fields: fields)
            XCTAssertEqual(page.status, status, "\(fields)")
            if status == 401 {
                XCTAssertEqual(
                    page.response.headerFields[.wwwAuthenticate],
                    #"Basic realm="reeve", charset="UTF-8""#
                )
            }
        }
        let api = try await stranger.send(
            .get,
            "/admin/v1/status",
            fields: basic("a:admin-token")
        )
        XCTAssertEqual(api.status, 401)
        let post = try await stranger.send(.post, "/", fields: basic("a:admin-token"))
        XCTAssertEqual(post.status, 405)
    }
}
#endif
