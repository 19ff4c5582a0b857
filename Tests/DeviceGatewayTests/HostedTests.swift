#if Server
import DeviceGateway
import Foundation
#if canImport(FoundationNetworking)
import FoundationNetworking
#endif
import HTTPHandling
import HummingbirdHosting
import ServiceLifecycle
import XCTest

/// The same interface over a socket.
final class HostedTests: XCTestCase {
    func test_deviceAPI_overHummingbird_enrolsExchangesAndRefuses() async throws {
        let scene = try Scene()
        let server = try ReeveServer(
            mounts: [HandlerMount(DeviceEndpoint.prefix, scene.endpoint)],
            logger: quiet
        )
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: [server], logger: quiet)
        )
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            let base = "http://\(try await server.boundAddress)/device/v1"
            do {
                try await calls(to: base, scene)
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    private func calls(to base: String, _ scene: Scene) async throws {
        let enrolled = try await post(
            base + "/enrolments",
            #"{"device":"tablet-17","secret":"\#(Scene.secret)"}"#
        )
        XCTAssertEqual(enrolled.status, 201)
        let token = enrolled.json?["credential"]?.stringValue
        try await scene.enqueue("lock")
        let offer = try await post(base + "/exchange", "{}", token: token)
        XCTAssertEqual(offer.status, 200)
        let execution = try XCTUnwrap(offer.json?["operations"]?[0]?["execution"]?.stringValue)
        let report = #"{"results":[{"execution":"\#(execution)","status":"completed"}]}"#
        let done = try await post(base + "/exchange", report, token: token)
        XCTAssertEqual(done.status, 200)
        XCTAssertEqual(done.json?["operations"], [])
        let deep = String(repeating: "[", count: 10_000)
        for (body, token, status) in [
            ("{}", nil, 401), ("{}", "wrong", 401), ("{", token, 400), (deep, token, 400),
            ("{}", token, 200),
        ] {
            let answer = try await post(base + "/exchange", body, token: token)
            XCTAssertEqual(answer.status, status, body.prefix(10) + (token ?? "-"))
        }
    }

    private func post(
        _ url: String,
        _ body: String,
        token: String? = nil
    ) async throws -> (status: Int, json: JSONValue?) {
        var request = URLRequest(url: try XCTUnwrap(URL(string: url)))
        request.httpMethod = "POST"
        request.setValue("application/json", forHTTPHeaderField: "Content-Type")
        if let token { request.setValue("Bearer \(token)", forHTTPHeaderField: "Authorization") }
        request.httpBody = Data(body.utf8)
        let (data, response) = try await URLSession.shared.data(for: request)
        let status = try XCTUnwrap(response as? HTTPURLResponse).statusCode
        return (status, try? JSONValue(parsing: Array(data)))
    }
}
#endif
