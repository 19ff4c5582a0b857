import ClusterRole
import ClusterTestKit
import DeviceGateway
import DeviceRegistry
import FlyingFox
import FlyingSocks
import Foundation
import HTTPHandling
import OperationQueue
import ReeveManager
import XCTest

@testable import Examples

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

final class FlyingFoxTests: XCTestCase {
    private let token = String(repeating: "a", count: 32)
    private let secret = "the shop's secret"

    func test_handlers_onFlyingFox_answerDevicesAndAdministrators() async throws {
        let directory = try TemporaryDirectory()
        var configuration = ManagerConfiguration(node: "shop-1", directory: directory.path)
        configuration.logger = quiet
        configuration.identities[token] = Identity(
            name: "ann",
            permissions: Permission.everything
        )
        let manager = try await ManagerNode.open(configuration)
        let cluster = InMemoryCluster()
        var table = RouteTable()
        try table.mount(manager.adminAPI, at: "/admin/v1")
        try table.mount(deviceAPI(cluster), at: "/device/v1")
        let server = HTTPServer(
            address: try .inet(ip4: "127.0.0.1", port: 0),
            logger: .disabled,
            handler: ReeveOnFlyingFox(handler: BoundedHandler(table))
        )
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await server.run() }
            try await server.waitUntilListening()
            guard case .ip4(_, let port) = await server.listeningAddress else {
                return XCTFail("The server does not listen.")
            }
            let base = "http://127.0.0.1:\(port)"
            try await administer(base)
            try await exchange(base, cluster)
            await server.stop()
            tasks.cancelAll()
        }
        try await manager.close()
    }

    private func deviceAPI(_ cluster: InMemoryCluster) throws -> DeviceEndpoint {
        try DeviceEndpoint(
            exchange: cluster.exchange,
            authenticator: CredentialAuthenticator(reader: cluster.devices),
            enrolment: EnrolmentDesk(
                administration: cluster.administration,
                policy: SharedSecretPolicy(secret: secret)
            )
        )
    }

    private func administer(_ base: String) async throws {
        let url = base + "/admin/v1/devices"
        let refused = try await call("GET", url)
        XCTAssertEqual(refused.status, 401)
        let devices = try await call("GET", url, token: token)
        XCTAssertEqual(devices.status, 200)
        let unknown = try await call("GET", url + "/nobody", token: token)
        XCTAssertEqual(unknown.status, 404)
    }

    private func exchange(_ base: String, _ cluster: InMemoryCluster) async throws {
        let url = base + "/device/v1"
        let enrolment = #"{"device":"phone-1","secret":"\#(secret)"}"#
        let enrolled = try await call("POST", url + "/enrolments", enrolment)
        XCTAssertEqual(enrolled.status, 201)
        let credential = try XCTUnwrap(enrolled.json["credential"] as? String)
        let lock = EnqueueRequest("lock", to: .devices(["phone-1"]))
        let activity = try await cluster.enqueuer.enqueue(lock).activity

        let offer = try await call("POST", url + "/exchange", "{}", token: credential)
        let operations = try XCTUnwrap(offer.json["operations"] as? [[String: Any]])
        let execution = try XCTUnwrap(operations.first?["execution"] as? String)
        let report = #"{"results":[{"execution":"\#(execution)","status":"completed"}]}"#
        let answer = try await call("POST", url + "/exchange", report, token: credential)
        XCTAssertEqual(answer.status, 200)
        let state = try await cluster.browser.activity(activity).state
        XCTAssertEqual(state, .finished)
        let malformed = try await call("POST", url + "/exchange", "{", token: credential)
        XCTAssertEqual(malformed.status, 400)
    }

    private func call(
        _ method: String,
        _ url: String,
        _ body: String? = nil,
        token: String? = nil
    ) async throws -> (status: Int, json: [String: Any]) {
        var request = URLRequest(url: try XCTUnwrap(URL(string: url)))
        request.httpMethod = method
        request.setValue("application/json", forHTTPHeaderField: "Content-Type")
        if let token { request.setValue("Bearer \(token)", forHTTPHeaderField: "Authorization") }
        request.httpBody = body.map { Data($0.utf8) }
        let (data, response) = try await URLSession.shared.data(for: request)
        let status = try XCTUnwrap(response as? HTTPURLResponse).statusCode
        let json = try? JSONSerialization.jsonObject(with: data) as? [String: Any]
        return (status, json ?? [:])
    }
}
