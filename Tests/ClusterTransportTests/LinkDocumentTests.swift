#if Server && SQLite
import ArtifactStore
import ClusterMembership
import ClusterRole
import ClusterTransport
import DeviceRegistry
import Foundation
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import XCTest

/// Holds `Documentation/OpenAPI/link-v1.json` and the link's routes and messages together.
final class LinkDocumentTests: XCTestCase {
    private static let names = [
        "tenant": "default", "device": "tablet-17", "channel": "site",
        "object": String(repeating: "0", count: 64),
    ]

    private func mounted(_ manager: ManagerScene) throws -> RouteTable {
        var table = RouteTable()
        try table.mount(manager.endpoint, at: LinkEndpoint.standardPrefix)
        return table
    }

    func test_document_namesEveryRouteWithItsPermission_andNoOther() throws {
        let document = try OpenAPIDocument(named: "link-v1")
        XCTAssertEqual(document.server, LinkEndpoint.standardPrefix)
        let routes = try mounted(try ManagerScene()).routes
        XCTAssertEqual(
            routes.map { "\($0.method.rawValue) \($0.path) \($0.operationID) \($0.access)" }
                .sorted(),
            document.operations.map {
                "\($0.method) \($0.path) \($0.id) permission:\($0.permission ?? "-")"
            }.sorted()
        )
        XCTAssertEqual(routes.count, 18)
        for operation in document.operations {
            let inPath = operation.path.split(separator: "/").filter { $0.first == "{" }
            let item = document.root["paths"]?[
                String(operation.path.dropFirst(document.server.count))
            ]
            XCTAssertEqual(
                elements(of: item?["parameters"])
                    .compactMap { document.resolved($0)?["name"]?.stringValue },
                inPath.map { String($0.dropFirst().dropLast()) },
                operation.id
            )
        }
    }

    /// Both ways: what Swift encodes fits, with exactly the members the schema names, of which
    /// exactly the required ones are always there.
    func test_messages_haveTheMembersTheirSchemasName() throws {
        let document = try OpenAPIDocument(named: "link-v1")
        for (name, full, bare) in try messages() {
            let schema = document.root["components"]?["schemas"]?[name]
            for message in [full, bare] {
                XCTAssertEqual(document.violations(of: message, against: schema), [], name)
            }
            XCTAssertEqual(
                members(of: full).map(\.0),
                members(of: schema?["properties"]).map(\.0),
                name
            )
            XCTAssertEqual(
                members(of: bare).map(\.0),
                elements(of: schema?["required"]).compactMap(\.stringValue).sorted(),
                name
            )
        }
    }

    func test_examples_fitTheirSchemasAndAreRead() throws {
        let document = try OpenAPIDocument(named: "link-v1")
        for operation in document.operations {
            guard let example = operation.example else { continue }
            XCTAssertEqual(
                document.violations(of: example, against: operation.requestSchema),
                [],
                operation.id
            )
        }
        func read<Message: Decodable>(_ id: String, as type: Message.Type) throws -> Message {
            let example = try XCTUnwrap(document.operation(id)?.example, id)
            return try JSONDecoder().decode(type, from: Data(try example.encoded()))
        }
        XCTAssertEqual(try read("linkHello", as: LinkHello.self).format, LinkFormat.version)
        XCTAssertEqual(try read("linkHeartbeat", as: LinkHeartbeat.self).state, .alive)
        _ = try read("linkEnrol", as: LinkEnrolment.self).request(maximumGroups: 64)
        _ = try read("linkCredential", as: LinkCredentialQuery.self)
        _ = try read("linkAcknowledge", as: LinkAcknowledgement.self).applied()
        _ = try read("linkHealth", as: LinkHealth.self).health()
    }

    func test_examples_sentToTheEndpoint_areAnsweredAsDocumented() async throws {
        let document = try OpenAPIDocument(named: "link-v1")
        let manager = try ManagerScene(epochs: 3)
        let caller = HandlerCaller(try mounted(manager), document, token: "worker-1")
        let calls = [
            ("linkHeartbeat", 409), ("linkHello", 200), ("linkHeartbeat", 200), ("linkEnrol", 201),
            ("linkCredential", 404), ("linkAcknowledge", 204),
            ("linkHealth", 204),
        ]
        var incarnation = ""
        for (id, status) in calls {
            let operation = try XCTUnwrap(document.operation(id))
            guard case .object(var body) = operation.example else { return XCTFail(id) }
            if id == "linkEnrol" { body["token"] = "secret" }
            let answer = try await caller.call(.post, operation.path, .object(body))
            XCTAssertEqual(answer.status, status, "\(id): \(answer.text)")
            XCTAssertEqual(answer.violations, [])
            incarnation = answer.json?["incarnation"]?.stringValue ?? incarnation
        }
        let gone = "/link/v1/enrolments/default/tablet-17?incarnation=\(incarnation)"
        for status in [204, 404] {
            let answer = try await caller.send(.delete, gone)
            XCTAssertEqual(answer.status, status, answer.text)
            XCTAssertEqual(answer.violations, [])
        }
        let empty = try await caller.send(.get, "/link/v1/channels/default/site")
        XCTAssertEqual(empty.status, 204)
        XCTAssertEqual(empty.violations, [])
        let page = try await manager.answer(.get, "/replica")
        let content = document.operation("linkReplica")?.responses["200"]?["content"]
        XCTAssertEqual(members(of: content).map(\.0), [page.fields[.contentType]])
        XCTAssertEqual(page.body.first, 2, "the version byte the document names")
    }

    /// Every row: no token, wrong token, wrong role, malformed, wrong types, 10 MB, nesting, paths.
    func test_badInput_toEveryRoute_isAnsweredAsDocumented() async throws {
        let manager = try ManagerScene(limits: LinkLimits(maximumPageRows: 1_000))
        let routes = try mounted(manager)
        let table = BadInputTable(
            HandlerCaller(routes, try OpenAPIDocument(named: "link-v1"), token: "worker-1"),
            routes: routes.routes,
            names: Self.names,
            powerlessToken: "admin"
        )
        let (findings, rows) = try await table.run()
        XCTAssertEqual(findings, [])
        XCTAssertGreaterThan(rows, 200)
    }

    // MARK: - Messages

    /// Each message by the name of its schema: with all it can say, and with what it must.
    private func messages() throws -> [(name: String, full: JSONValue, bare: JSONValue)] {
        func value(_ message: some Encodable) throws -> JSONValue {
            try JSONValue(parsing: Array(try JSONEncoder().encode(message)))
        }
        let revision = Revision(history: HistoryID(bits: 7), number: 9)
        let epoch = Epoch(rawValue: 3)
        let node = NodeID(rawValue: "worker-1")
        func hello(_ applied: Revision?, _ properties: [String: String]) -> LinkHello {
            let isFull = applied != nil
            var hello = LinkHello(
                node: node,
                applied: applied,
                highestEpoch: epoch,
                properties: properties,
                mode: isFull ? .draining : nil,
                codecs: isFull ? ["plain"] : nil,
                capabilities: isFull ? ["gpu"] : nil,
                digest: isFull ? "0a" : nil,
                nonce: isFull ? LinkNonce(bits: 1) : nil,
                tenant: isFull ? .standard : nil
            )
            if isFull { hello.oldestFormat = LinkFormat.version }
            return hello
        }
        func heartbeat(_ applied: Revision?, _ properties: [String: String]) -> LinkHeartbeat {
            LinkHeartbeat(
                state: .alive,
                applied: applied,
                highestEpoch: epoch,
                properties: properties,
                mode: properties.isEmpty ? nil : .active
            )
        }
        let welcome = try value(LinkWelcome(epoch: epoch, revision: revision))
        let answered = try value(
            LinkWelcome(
                epoch: epoch,
                revision: revision,
                nonce: LinkNonce(bits: 1),
                mode: .active,
                heartbeatEvery: .milliseconds(500)
            )
        )
        let mark = try value(LinkMark(mark: 4, revision: revision, epoch: epoch))
        let query = try value(LinkCredentialQuery(CredentialDigest(of: "credential")))
        let zone = ["zone": "a"]
        return [
            ("LinkHello", try value(hello(revision, zone)), try value(hello(nil, [:]))),
            ("LinkHeartbeat", try value(heartbeat(revision, zone)), try value(heartbeat(nil, [:]))),
            ("LinkWelcome", answered, welcome),
            ("LinkMark", mark, mark),
            ("LinkCredentialQuery", query, query),
            ("Revision", try value(revision), try value(revision)),
            ("LinkDeviceRow", try value(row(.seconds(60))), try value(row(nil))),
            (
                "LinkEnrolment", try value(enrolment(.seconds(60), "key")),
                try value(enrolment(nil, nil))
            ),
            ("LinkEnrolmentReceipt", try value(receipt(.seconds(60))), try value(receipt(nil))),
            (
                "LinkAcknowledgement", try value(try acknowledgement(refused: true)),
                try value(try acknowledgement(refused: false))
            ),
            (
                "LinkHealth", try value(try health(isHealthy: false)),
                try value(try health(isHealthy: true))
            ),
        ]
    }

    private func row(_ frequency: Duration?) -> LinkDeviceRow {
        LinkDeviceRow(
            DeviceRow(
                tenant: .standard,
                id: DeviceID(rawValue: "tablet-17"),
                incarnation: IncarnationID(bits: 1),
                state: .enrolled,
                credential: CredentialDigest(of: "credential"),
                pollingFrequency: frequency
            )
        )
    }

    private func enrolment(_ frequency: Duration?, _ key: String?) -> LinkEnrolment {
        LinkEnrolment(
            EnrolmentRequest(
                device: DeviceID(rawValue: "tablet-17"),
                token: "secret",
                groups: [GroupID(rawValue: "shop-3")],
                pollingFrequency: frequency,
                idempotencyKey: key
            )
        )
    }

    private func receipt(_ frequency: Duration?) -> LinkEnrolmentReceipt {
        LinkEnrolmentReceipt(
            EnrolmentReceipt(
                identity: DeviceIdentity(
                    tenant: .standard,
                    device: DeviceID(rawValue: "tablet-17"),
                    incarnation: IncarnationID(bits: 1)
                ),
                credential: DeviceCredential(presented: "credential"),
                pollingFrequency: frequency,
                revision: Revision(history: HistoryID(bits: 7), number: 9)
            )
        )
    }

    private func health(isHealthy: Bool) throws -> LinkHealth {
        LinkHealth(
            tenant: .standard,
            health: ReleaseHealth(
                node: "worker-1",
                channel: "web/site",
                number: ReleaseNumber(7),
                root: try TreeID(parsing: String(repeating: "0a", count: 32)),
                state: isHealthy ? .healthy : .unhealthy,
                message: isHealthy ? "" : "It answers 500.",
                at: Timestamp(milliseconds: 1)
            )
        )
    }

    private func acknowledgement(refused: Bool) throws -> LinkAcknowledgement {
        LinkAcknowledgement(
            tenant: .standard,
            applied: AppliedRelease(
                node: NodeID(rawValue: "worker-1"),
                channel: try ChannelName(validating: "web/site"),
                number: ReleaseNumber(7),
                root: try TreeID(parsing: String(repeating: "0a", count: 32)),
                state: refused ? .refused : .applied,
                errorCode: refused ? "artifacts.below-floor" : nil,
                errorMessage: refused ? "It is older." : nil,
                at: Timestamp(milliseconds: 1),
                floorRecord: refused ? [1, 255] : nil,
                incarnation: refused ? 1_767_225_600_000 : 0,
                attempt: refused ? 3 : 0
            )
        )
    }
}
#endif
