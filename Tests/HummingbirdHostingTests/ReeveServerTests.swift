#if Server
import ClusterRole
import Foundation
import HTTPHandling
import HTTPTypes
import HummingbirdHosting
import Logging
import ServiceLifecycle
import XCTest

final class ReeveServerTests: XCTestCase {
    private struct Enrolment: Codable {
        let device: String
        let platform: String
    }

    private func device() throws -> RouteTable {
        let holder = Identity(name: "a", permissions: [.operate])
        var table = RouteTable(authenticator: InMemoryTokens(["good": holder]))
        try table.post("/enrolments", operationID: "enrol", access: .open) { request in
            let enrolment: Enrolment = try await request.decode()
            return try .json(enrolment, status: .created)
        }
        try table.get("/address", operationID: "address", access: .open) {
            .text($0.remoteAddress ?? "unknown")
        }
        try table.delete(
            "/enrolment",
            operationID: "unenrol",
            access: .permission(.administer)
        ) { _ in .empty() }
        try table.put(
            "/upload",
            operationID: "upload",
            access: .open,
            maximumBodyBytes: 64 << 20
        ) { request in
            var sum = 0
            for try await chunk in request.body { sum += chunk.count }
            return .text("\(sum)")
        }
        return table
    }

    private func mounts() throws -> [HandlerMount] {
        [HandlerMount("/device/v1", try device()), HandlerMount("/", HealthRoutes())]
    }

    func test_server_onAnyPort_tellsItAndRoutesByPrefix() async throws {
        try await withServer(mounts()) { address, _ in
            XCTAssertNotEqual(address.port, 0)
            let connection = try RawConnection(to: address)
            let health = try await connection.ask("GET", "/healthz")
            XCTAssertEqual(health.status, 200)
            XCTAssertEqual(health.text, #"{"status":"ok"}"#)
            let remote = try await connection.ask("GET", "/device/v1/address")
            XCTAssertEqual(remote.text, "127.0.0.1")
            let none = try await connection.ask("GET", "/device/v2/address")
            XCTAssertEqual(none.status, 404)
            XCTAssertEqual(none.fields["content-type"], "application/problem+json")
            XCTAssertEqual(try json(none.body).code, "http.no-route")
            let method = try await connection.ask("PATCH", "/device/v1/address")
            XCTAssertEqual(method.status, 405)
            XCTAssertEqual(method.fields["allow"], "GET, HEAD")
        }
    }

    func test_badInput_getsItsStatusOnOneConnection_andTheServerGoesOn() async throws {
        let type = "Content-Type: application/json"
        let deep = String(repeating: "[", count: 10_000)
        try await withServer(mounts()) { address, _ in
            let connection = try RawConnection(to: address)
            for (fields, body, status, code) in [
                ([type], "{", 400, "http.invalid-json"),
                ([type], #"{"device":1,"platform":"x"}"#, 400, "http.invalid-json"),
                ([type], deep, 400, "http.too-deep"), ([], "{}", 415, "http.wrong-content-type"),
            ] {
                let answer = try await connection.ask(
                    "POST",
                    "/device/v1/enrolments",
                    fields: fields,
                    body: Array(body.utf8)
                )
                XCTAssertEqual(answer.status, status)
                let problem = try json(answer.body)
                XCTAssertEqual(problem.code, code)
                if body.contains("device") {
                    XCTAssertEqual(problem.detail, "The field device must be a string.")
                }
            }
            for (token, status) in [("bad", 401), ("good", 403)] {
                let answer = try await connection.ask(
                    "DELETE",
                    "/device/v1/enrolment",
                    fields: ["Authorization: Bearer \(token)"]
                )
                XCTAssertEqual(answer.status, status)
            }
            let good = try await connection.ask(
                "POST",
                "/device/v1/enrolments",
                fields: [type],
                body: Array(#"{"device":"a","platform":"x"}"#.utf8)
            )
            XCTAssertEqual(good.status, 201)
        }
    }

    func test_tenMegabytes_is413_declaredOrChunked_andTheConnectionGoesOn() async throws {
        try await withServer(mounts()) { address, _ in
            let head =
                "POST /device/v1/enrolments HTTP/1.1\r\nHost: x\r\n"
                + "Content-Type: application/json\r\n"
            let megabyte = [UInt8](repeating: UInt8(ascii: " "), count: 1 << 20)

            let early = try RawConnection(to: address)
            try await early.send(head + "Content-Length: \(10 << 20)\r\n\r\n")
            let refused = try await early.receiveAnswer()
            XCTAssertEqual(refused.status, 413, "answered before a byte of the body is sent")
            for _ in 0..<10 { try await early.send(megabyte) }
            let next = try await early.ask("GET", "/healthz")
            XCTAssertEqual(next.status, 200)

            let chunked = try RawConnection(to: address)
            try await chunked.send(head + "Transfer-Encoding: chunked\r\n\r\n")
            for _ in 0..<10 {
                try await chunked.send("100000\r\n")
                try await chunked.send(megabyte)
                try await chunked.send("\r\n")
            }
            try await chunked.send("0\r\n\r\n")
            let late = try await chunked.receiveAnswer()
            XCTAssertEqual(late.status, 413)
            XCTAssertEqual(try json(late.body).code, "http.body-too-large")
            let again = try await chunked.ask("GET", "/healthz")
            XCTAssertEqual(again.status, 200)
        }
    }

    func test_brokenHTTP_andHugeHeads_areRefused_andOthersServed() async throws {
        try await withServer(mounts()) { address, _ in
            let field = "X-Large: " + String(repeating: "x", count: 60_000)
            for text in [
                "nonsense\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n",
                "GET /healthz HTTP/1.1\r\nHost: x\r\n\(field)\r\n\r\n",
            ] {
                let connection = try RawConnection(to: address)
                try await connection.send(text)
                let answer = try await connection.receiveAnswer()
                XCTAssertEqual(answer.status, 400)
                let rest = try await connection.receive()
                XCTAssertEqual(rest, [], "closed after it")
            }
            let health = try await RawConnection(to: address).ask("GET", "/healthz")
            XCTAssertEqual(health.status, 200)
        }
    }

    func test_upload_isStreamed() async throws {
        try await withServer(mounts()) { address, _ in
            let body = [UInt8](repeating: 7, count: 20 << 20)
            let answer = try await RawConnection(to: address)
                .ask("PUT", "/device/v1/upload", body: body)
            XCTAssertEqual(answer.text, "\(20 << 20)")
        }
    }

    func test_upload_brokenOff_reachesTheHandlerAsItsEnd_andOthersAreServed() async throws {
        try await withServer(mounts()) { address, _ in
            try await RawConnection(to: address).send(
                "PUT /device/v1/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"
            )
            let health = try await RawConnection(to: address).ask("GET", "/healthz")
            XCTAssertEqual(health.status, 200)
        }
    }

    func test_run_secondTime_orOnATakenPort_throwsNotListening() async throws {
        try await withServer(mounts()) { address, _ in
            let configuration = ReeveServerConfiguration(address: address)
            let second = try ReeveServer(
                configuration: configuration,
                mounts: mounts(),
                logger: quiet
            )
            do {
                try await second.run()
                XCTFail("bound twice")
            } catch let error as HTTPHandlingError {
                XCTAssertEqual(error.code, .notListening)
                XCTAssertTrue(error.message.contains(address.description))
            }
            do {
                _ = try await second.boundAddress
                XCTFail("listens")
            } catch let error as HTTPHandlingError {
                XCTAssertEqual(error.code, .notListening)
            }
            do {
                try await second.run()
                XCTFail("ran twice")
            } catch let error as HTTPHandlingError {
                XCTAssertEqual(error.code, .notListening)
            }
        }
    }

    func test_boundAddress_callerCancelled_throws() async throws {
        let server = try ReeveServer(mounts: mounts(), logger: quiet)
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                do {
                    _ = try await server.boundAddress
                    XCTFail("listens")
                } catch {
                    XCTAssertTrue(error is CancellationError)
                }
            }
            group.cancelAll()
        }
    }

    func test_mounts_samePrefixTwice_throws() throws {
        XCTAssertThrowsError(
            try ReeveServer(
                mounts: [HandlerMount("/a", HealthRoutes()), HandlerMount("/a", HealthRoutes())],
                logger: quiet
            )
        )
        let server = try ReeveServer(mounts: mounts(), logger: quiet)
        XCTAssertTrue(server.routes.map(\.path).contains("/device/v1/enrolments"))
    }

    func test_gracefulShutdown_requestUnderWayFinishes_andNewConnectionsAreRefused() async throws {
        let (started, finish) = (Gate(), Gate())
        let slow = ClosureHandler { _ in
            started.open()
            await finish.wait()
            return .text("finished")
        }
        let server = try ReeveServer(
            mounts: [HandlerMount("/slow", slow), HandlerMount("/", HealthRoutes())],
            logger: quiet
        )
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: [server], logger: quiet)
        )
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            let address = try await server.boundAddress
            let idle = try RawConnection(to: address)
            _ = try await idle.ask("GET", "/healthz")
            let busy = try RawConnection(to: address)
            try await busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            await started.wait()
            await group.triggerGracefulShutdown()
            let end = try await idle.receive()
            XCTAssertEqual(end, [], "an idle connection is closed")
            var isRefused = false
            for _ in 0..<100_000 where !isRefused {
                isRefused = (try? RawConnection(to: address)) == nil
                await Task.yield()
            }
            XCTAssertTrue(isRefused)
            finish.open()
            let answer = try await busy.receiveAnswer()
            XCTAssertEqual(answer.status, 200)
            XCTAssertEqual(answer.text, "finished")
            let closed = try await busy.receive()
            XCTAssertEqual(closed, [])
            try await tasks.waitForAll()
        }
    }

    func test_cancellation_endsTheServer_alsoWithARequestUnderWay() async throws {
        let started = Gate()
        let endless = ClosureHandler { _ in
            started.open()
            await Gate().wait()
            return .text("cancelled")
        }
        let server = try ReeveServer(mounts: [HandlerMount("/", endless)], logger: quiet)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try? await server.run() }
            let address = try await server.boundAddress
            let connection = try RawConnection(to: address)
            try await connection.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await started.wait()
            tasks.cancelAll()
            try await tasks.waitForAll()
            XCTAssertNil(try? RawConnection(to: address))
        }
    }

    func test_manyConnections_moreRequestsThanTheLimit_are503AndTheRestServed() async throws {
        let (full, finish) = (Gate(), Gate())
        let waiting = ClosureHandler { request in
            if request.target.path == "/last" { full.open() }
            await finish.wait()
            return .text("served")
        }
        let configuration = ReeveServerConfiguration(
            limits: HandlerLimits(maximumConcurrentRequests: 1)
        )
        try await withServer([HandlerMount("/", waiting)], configuration: configuration) {
            address,
            _ in
            let first = try RawConnection(to: address)
            try await first.send("GET /last HTTP/1.1\r\nHost: x\r\n\r\n")
            await full.wait()
            for _ in 0..<20 {
                let answer = try await RawConnection(to: address).ask("GET", "/")
                XCTAssertEqual(answer.status, 503)
                XCTAssertEqual(answer.fields["retry-after"], "1")
                XCTAssertEqual(try json(answer.body).code, "http.overloaded")
            }
            finish.open()
            let answer = try await first.receiveAnswer()
            XCTAssertEqual(answer.text, "served")
        }
    }
}
#endif
