#if Server
import ClusterRole
import Foundation
#if canImport(FoundationNetworking)
import FoundationNetworking
#endif
import HTTPHandling
import HummingbirdHosting
import ManagerConsole
import ServiceLifecycle
import XCTest

/// The same interface over a socket.
final class HostedTests: XCTestCase {
    func test_adminAPIAndPage_overHummingbird_answerAndRefuse() async throws {
        let scene = try Scene()
        _ = try await scene.populate()
        let server = try ReeveServer(
            mounts: [
                HandlerMount(AdminEndpoint.prefix, scene.endpoint),
                HandlerMount(StatusPage.prefix, scene.page),
            ],
            logger: quiet
        )
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: [server], logger: quiet)
        )
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            let base = "http://\(try await server.boundAddress)"
            let findings = try await Self.calls(to: base)
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
            XCTAssertEqual(findings, [])
        }
    }

    private static func calls(to base: String) async throws -> [String] {
        let deep = String(repeating: "[", count: 10_000)
        let rows: [(method: String, path: String, token: String, body: String?, status: Int)] = [
            ("GET", "/admin/v1/status", "admin-token", nil, 200),
            ("GET", "/admin/v1/channels/web%2Fsite/releases", "reader-token", nil, 200),
            ("GET", "/admin/v1/devices/%C3%A9%2F", "admin-token", nil, 400),
            ("GET", "/admin/v1/status", "wrong", nil, 401),
            ("GET", "/", "reader-token", nil, 200),
            ("POST", "/admin/v1/operations", "reader-token", "{}", 403),
            ("POST", "/admin/v1/operations", "admin-token", "{", 400),
            ("POST", "/admin/v1/operations", "admin-token", deep, 400),
            ("GET", "/admin/v1/status", "admin-token", nil, 200),
        ]
        var findings: [String] = []
        for row in rows {
            var request = URLRequest(url: try XCTUnwrap(URL(string: base + row.path)))
            request.httpMethod = row.method
            request.setValue("Bearer \(row.token)", forHTTPHeaderField: "Authorization")
            if let body = row.body {
                request.setValue("application/json", forHTTPHeaderField: "Content-Type")
                request.httpBody = Data(body.utf8)
            }
            let (_, response) = try await URLSession.shared.data(for: request)
            let answer = try XCTUnwrap(response as? HTTPURLResponse)
            let type = answer.value(forHTTPHeaderField: "Content-Type") ?? ""
            if answer.statusCode != row.status {
                findings.append("\(row.method) \(row.path): \(answer.statusCode)")
            }
            if row.status >= 400, type != "application/problem+json" {
                findings.append("\(row.method) \(row.path): \(type)")
            }
        }
        return findings
    }
}
#endif
