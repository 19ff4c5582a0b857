#if Server
import ClusterRole
import HTTPHandling
import HTTPTypes
import Logging
import XCTest

/// What a caller's certificate gives it, and takes from its token.
final class PeerCertificateTests: XCTestCase {
    private func certificate(_ role: NodeRole) throws -> PeerCertificate {
        PeerCertificate(
            subject: try CertifiedNode(trustDomain: "d", role: role, node: "node-1"),
            serial: "01",
            validFrom: Timestamp(milliseconds: 0),
            expires: Timestamp(milliseconds: 1)
        )
    }

    private func table() throws -> RouteTable {
        var table = RouteTable(
            authenticator: InMemoryTokens([
                "all": Identity(
                    name: "admin",
                    permissions: Permission.everything.union([.link])
                )
            ])
        )
        for permission in [Permission.link, .publish, .operate] {
            try table.get(
                "/\(permission)",
                operationID: "\(permission)",
                access: .permission(permission)
            ) { .text(try $0.requireIdentity().name) }
        }
        return table
    }

    private func status(
        _ path: String,
        _ role: NodeRole?,
        token: String? = nil,
        sink: RecordingRefusals = RecordingRefusals()
    ) async throws -> Int {
        var fields: HTTPFields = [:]
        if let token { fields[.authorization] = "Bearer \(token)" }
        var request = HandlerRequest(
            head: HTTPRequest(
                method: .get,
                scheme: nil,
                authority: nil,
                path: path,
                headerFields: fields
            ),
            remoteAddress: "10.0.0.9",
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        request.peerCertificate = try role.map(certificate)
        return await RefusalObserver(try table(), sink: sink).handle(request).status.code
    }

    func test_certificate_withoutAToken_givesWhatItsRoleMay() async throws {
        let rows: [(String, NodeRole?, Int)] = [
            ("/link", nil, 401), ("/link", .worker, 200), ("/publish", .worker, 403),
            ("/operate", .worker, 403), ("/link", .manager, 200), ("/publish", .manager, 200),
            ("/operate", .manager, 403),
        ]
        for (path, role, expected) in rows {
            let status = try await status(path, role)
            XCTAssertEqual(status, expected, "\(path) \(String(describing: role))")
        }
    }

    func test_token_presentedWithAWorkersCertificate_isWorthTheLinkAndNoMore() async throws {
        let rows: [(String, NodeRole?, Int)] = [
            ("/operate", nil, 200), ("/operate", .worker, 403), ("/publish", .worker, 403),
            ("/link", .worker, 200), ("/operate", .manager, 200),
        ]
        for (path, role, expected) in rows {
            let status = try await status(path, role, token: "all")
            XCTAssertEqual(status, expected, "\(path) \(String(describing: role))")
        }
    }

    func test_refusals_areTold_withWhoWhatAndWhy() async throws {
        let sink = RecordingRefusals(capacity: 2)
        _ = try await status("/operate", .worker, sink: sink)
        _ = try await status("/link", .worker, sink: sink)
        _ = try await status("/nowhere", .worker, sink: sink)
        XCTAssertEqual(
            sink.refusals,
            [
                PeerRefusal(
                    peer: try certificate(.worker),
                    remoteAddress: "10.0.0.9",
                    verb: "operate",
                    code: "http.forbidden",
                    status: 403
                )
            ]
        )
        for _ in 0..<5 { _ = try await status("/link", nil, sink: sink) }
        XCTAssertEqual(
            sink.refusals.map(\.code),
            Array(repeating: "http.unauthenticated", count: 2)
        )
    }
}
#endif
