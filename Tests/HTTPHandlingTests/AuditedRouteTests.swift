#if Server
import ClusterRole
import HTTPHandling
import HTTPTypes
import XCTest

final class AuditedRouteTests: XCTestCase {
    private static let alice = Identity(name: "alice", permissions: [.operate])

    private func table(
        auditor: RecordingAuditor? = nil,
        recorder: RecordingAuditor? = nil,
        _ action: @escaping RouteTable.Action
    ) throws -> RouteTable {
        var table = RouteTable(
            authenticator: InMemoryTokens([
                "good": Self.alice, "weak": Identity(name: "rita", permissions: [.read]),
            ]),
            auditor: auditor,
            recorder: recorder
        )
        try table.on(
            .put,
            "/things/{thing}",
            operationID: "putThing",
            access: .permission(.operate),
            perform: action
        )
        try table.get(
            "/things/{thing}",
            operationID: "getThing",
            access: .permission(.operate),
            perform: action
        )
        return table
    }

    private func send(
        _ table: RouteTable,
        _ method: HTTPRequest.Method,
        token: String? = "good"
    ) async -> Int {
        var fields: HTTPFields = [:]
        if let token { fields[.authorization] = "Bearer \(token)" }
        return await table.answer(makeRequest(method, "/things/a", fields: fields)).status.code
    }

    func test_aChange_isRecordedBeforeAndAfter_withItsAnswer() async throws {
        let auditor = RecordingAuditor()
        let table = try table(auditor: auditor) { _ in
            XCTAssertEqual(auditor.kinds, ["begun"])
            var response = HandlerResponse.empty()
            response.revision = "h:7"
            return response
        }
        let status = await send(table, .put)
        XCTAssertEqual(status, 204)
        XCTAssertEqual(auditor.kinds, ["begun", "done"])
        let record = try XCTUnwrap(auditor.events.last?.record)
        XCTAssertEqual(record.identity, Self.alice)
        XCTAssertEqual(record.operation, "putThing")
        XCTAssertEqual(record.target, "/things/a")
        XCTAssertEqual(record.status, 204)
        XCTAssertEqual(record.revision, "h:7")
    }

    func test_aChangeThatIsRefused_isRecordedByItsCode() async throws {
        let auditor = RecordingAuditor()
        let table = try table(auditor: auditor) { _ in
            throw ClusterRoleError(.invalidName, "no")
        }
        let status = await send(table, .put)
        XCTAssertEqual(status, 400)
        XCTAssertEqual(auditor.events.last?.record.code, "role.invalid-name")
        XCTAssertEqual(auditor.events.last?.record.status, 400)
    }

    func test_aChangeThatCannotBeRecorded_isNotDone_andAnswered503() async throws {
        let auditor = RecordingAuditor()
        auditor.fail()
        let table = try table(auditor: auditor) { _ in
            XCTFail("it was done")
            return .empty()
        }
        let status = await send(table, .put)
        XCTAssertEqual(status, 503)
    }

    func test_aRead_isNotRecorded_andARefusedOneIs_withWhoWasRefused() async throws {
        let auditor = RecordingAuditor()
        let table = try table(auditor: auditor) { _ in .empty() }
        for method in [HTTPRequest.Method.get, .head] {
            let status = await send(table, method)
            XCTAssertEqual(status, 204)
        }
        XCTAssertEqual(auditor.kinds, [])
        for (token, expected, who) in [
            (nil, 401, nil), ("bad", 401, nil), ("weak", 403, "rita"),
        ] as [(String?, Int, String?)] {
            let status = await send(table, .get, token: token)
            XCTAssertEqual(status, expected)
            XCTAssertEqual(auditor.events.last?.record.status, expected)
            XCTAssertEqual(auditor.events.last?.record.identity?.name, who)
        }
        XCTAssertEqual(auditor.kinds, ["refused", "refused", "refused"])
    }

    func test_recorder_ofMachines_isToldOfRefusalsOnly() async throws {
        let recorder = RecordingAuditor()
        let good = try table(recorder: recorder) { _ in .empty() }
        _ = await send(good, .put)
        XCTAssertEqual(recorder.kinds, [])
        let refusing = try table(recorder: recorder) { _ in
            throw ClusterRoleError(.wrongRole, "no")
        }
        _ = await send(refusing, .put)
        _ = await send(refusing, .put, token: nil)
        XCTAssertEqual(
            recorder.events.map(\.record.code),
            ["role.wrong-role", "http.unauthenticated"]
        )
    }
}
#endif
