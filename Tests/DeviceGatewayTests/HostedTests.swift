#if Server
import ClusterRole
import DeviceGateway
import Foundation
#if canImport(FoundationNetworking)
import FoundationNetworking
#endif
import HTTPHandling
import HummingbirdHosting
import OperationQueue
import ServiceLifecycle
import XCTest

/// The same interface over a socket.
final class HostedTests: XCTestCase {
    func test_deviceAPI_overHummingbird_enrolsExchangesAndRefuses() async throws {
        let scene = try Scene()
        try await hosting(scene) { base in try await calls(to: base, scene) }
    }

    /// Serves the scene's endpoint for the length of `body`, then stops gracefully.
    private func hosting(
        _ scene: Scene,
        _ body: (String) async throws -> Void
    ) async throws {
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
                try await body(base)
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    private func calls(to base: String, _ scene: Scene) async throws {
        let enrolled = try await Self.post(
            base + "/enrolments",
            #"{"device":"tablet-17","secret":"\#(Scene.secret)"}"#
        )
        XCTAssertEqual(enrolled.status, 201)
        let token = enrolled.json?["credential"]?.stringValue
        try await scene.enqueue("lock")
        let offer = try await Self.post(base + "/exchange", "{}", token: token)
        XCTAssertEqual(offer.status, 200)
        let execution = try XCTUnwrap(offer.json?["operations"]?[0]?["execution"]?.stringValue)
        let report = #"{"results":[{"execution":"\#(execution)","status":"completed"}]}"#
        let done = try await Self.post(base + "/exchange", report, token: token)
        XCTAssertEqual(done.status, 200)
        XCTAssertEqual(done.json?["operations"], [])
        let deep = String(repeating: "[", count: 10_000)
        for (body, token, status) in [
            ("{}", nil, 401), ("{}", "wrong", 401), ("{", token, 400), (deep, token, 400),
            ("{}", token, 200),
        ] {
            let answer = try await Self.post(base + "/exchange", body, token: token)
            XCTAssertEqual(answer.status, status, body.prefix(10) + (token ?? "-"))
        }
    }

    private func enrolled(_ base: String) async throws -> String? {
        let answer = try await Self.post(
            base + "/enrolments",
            #"{"device":"tablet-17","secret":"\#(Scene.secret)"}"#
        )
        return answer.json?["credential"]?.stringValue
    }

    private func eventually(_ what: String, _ condition: () -> Bool) async throws {
        let end = ContinuousClock.now + .seconds(60)
        while !condition() {
            guard ContinuousClock.now < end else { return XCTFail("It never happened: \(what)") }
            try await ContinuousClock().sleep(for: .milliseconds(5))
        }
    }

    func test_largeResult_streamedOverASocket_isKeptAsItCame() async throws {
        let scene = try Scene()
        try await hosting(scene) { base in
            let token = try await enrolled(base)
            let receipt = try await scene.enqueue("logs")
            let offer = try await Self.post(base + "/exchange", "{}", token: token)
            let execution = try XCTUnwrap(offer.json?["operations"]?[0]?["execution"]?.stringValue)
            let sent = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7 >> 2) }
            var request = URLRequest(
                url: try XCTUnwrap(URL(string: base + "/results/" + execution))
            )
            request.httpMethod = "PUT"
            request.setValue("application/octet-stream", forHTTPHeaderField: "Content-Type")
            request.setValue("Bearer \(token ?? "")", forHTTPHeaderField: "Authorization")
            request.httpBody = Data(sent)
            let (_, response) = try await URLSession.shared.data(for: request)
            XCTAssertEqual((response as? HTTPURLResponse)?.statusCode, 204)
            let content = try await ActivityBrowser(reader: scene.operations).largeResult(
                of: receipt.activity,
                on: "tablet-17"
            )
            var kept: [UInt8] = []
            for try await chunk in content.chunks { kept += chunk }
            XCTAssertEqual(kept, sent)
            XCTAssertEqual(content.result.chunks, 12)
        }
    }

    func test_longPoll_overASocket_isAnsweredByWorkThatArrives() async throws {
        let scene = try Scene(exchangeClock: SystemTimeSource())
        try await hosting(scene) { base in
            let token = try await enrolled(base)
            async let answer = Self.post(base + "/exchange", #"{"wait":55}"#, token: token)
            try await eventually("the device waits") { scene.exchange.waitingCount == 1 }
            try await scene.enqueue("lock")
            let offer = try await answer
            XCTAssertEqual(offer.status, 200)
            XCTAssertEqual(offer.json?["operations"]?[0]?["code"], "lock")
            XCTAssertEqual(offer.json?["operations"]?[0]?["redelivery"], 0)
            XCTAssertEqual(offer.json?["open"], 1)
        }
    }

    func test_longPoll_whoseCallerGoesAway_freesItsPlace() async throws {
        let scene = try Scene(exchangeClock: SystemTimeSource())
        try await hosting(scene) { base in
            let token = try await enrolled(base)
            let session = URLSession(configuration: .ephemeral)
            var request = URLRequest(url: try XCTUnwrap(URL(string: base + "/exchange")))
            request.httpMethod = "POST"
            request.setValue("application/json", forHTTPHeaderField: "Content-Type")
            request.setValue("Bearer \(token ?? "")", forHTTPHeaderField: "Authorization")
            request.httpBody = Data(#"{"wait":55}"#.utf8)
            let call = session.dataTask(with: request) { _, _, _ in }
            call.resume()
            try await eventually("the device waits") { scene.exchange.waitingCount == 1 }
            call.cancel()
            session.invalidateAndCancel()
            try await eventually("its place is free") { scene.exchange.waitingCount == 0 }
        }
    }

    func test_longPoll_serverShutsDown_isAnsweredAtOnce() async throws {
        let scene = try Scene(exchangeClock: SystemTimeSource())
        var token: String?
        let began = ContinuousClock.now
        let waiting = Waiting()
        try await hosting(scene) { base in
            token = try await enrolled(base)
            let url = base + "/exchange"
            let bearer = token
            waiting.task = Task { try await Self.poll(url, bearer) }
            try await eventually("the device waits") { scene.exchange.waitingCount == 1 }
        }
        let status = try await waiting.task?.value
        XCTAssertEqual(status, 200)
        XCTAssertLessThan(ContinuousClock.now - began, .seconds(50), "it did not wait to the end")
    }

    private static func poll(_ url: String, _ token: String?) async throws -> Int? {
        var request = URLRequest(url: try XCTUnwrap(URL(string: url)))
        request.httpMethod = "POST"
        request.setValue("application/json", forHTTPHeaderField: "Content-Type")
        request.setValue("Bearer \(token ?? "")", forHTTPHeaderField: "Authorization")
        request.httpBody = Data(#"{"wait":55}"#.utf8)
        let (_, response) = try await URLSession.shared.data(for: request)
        return (response as? HTTPURLResponse)?.statusCode
    }

    private static func post(
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

/// A call that goes on beside a test.
private final class Waiting {
    var task: Task<Int?, any Error>?
}
#endif
