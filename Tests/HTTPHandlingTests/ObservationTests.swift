#if Server
import ClusterRole
import HTTPHandling
import HTTPTypes
import InMemoryTracing
import Logging
import Metrics
import MetricsTestKit
import Synchronization
import Tracing
import XCTest

final class ObservationTests: XCTestCase {
    private struct StoreError: Error {}

    private struct DiskError: CodedError {
        let codeName = "store.broken-page"
        let message = "Page 7 of /var/lib/store is damaged."
        let category = ErrorCategory.internalFailure
        var cause: (any Error)? { StoreError() }
    }

    private func table() throws -> RouteTable {
        var table = RouteTable(authenticator: InMemoryTokens())
        try table.get("/devices/{device}", operationID: "device", access: .open) { _ in .text("x") }
        try table.get("/secret", operationID: "secret", access: .authenticated) { _ in .text("x") }
        try table.get("/unknown", operationID: "unknown", access: .open) { _ in throw StoreError() }
        try table.get("/disk", operationID: "disk", access: .open) { _ in throw DiskError() }
        try table.get("/stop", operationID: "stop", access: .open) { _ in throw CancellationError()
        }
        try table.get("/busy", operationID: "busy", access: .open) { _ in
            throw HTTPHandlingError(
                .overloaded,
                "Come back.",
                retryAfter: .milliseconds(2_001)
            )
        }
        return table
    }

    func test_unknownError_is500InGeneralWords_andItsCauseIsLogged() async throws {
        for (path, code) in [("/unknown", "http.internal"), ("/disk", "store.broken-page")] {
            let log = RecordingLog()
            let response = try await table().answer(makeRequest(.get, path, logger: log.logger))
            XCTAssertEqual(response.status, .internalServerError)
            let problem = try await response.problem()
            XCTAssertEqual(problem.code, code)
            XCTAssertEqual(problem.type, "urn:reeve:problem:\(code)")
            let text = try await response.bodyText()
            XCTAssertFalse(text.contains("StoreError") || text.contains("/var/lib"))
            XCTAssertTrue(
                log.lines.contains { $0.level == .error && $0.text.contains("StoreError") }
            )
        }
    }

    func test_stoppingAndBusy_are503WithRetryAfterRoundedUp() async throws {
        for (path, seconds, code) in [
            ("/stop", "1", "http.stopping"), ("/busy", "3", "http.overloaded"),
        ] {
            let response = try await table().answer(makeRequest(.get, path))
            XCTAssertEqual(response.status, .serviceUnavailable)
            XCTAssertEqual(response.headerFields[.retryAfter], seconds)
            let problem = try await response.problem()
            XCTAssertEqual(problem.code, code)
            XCTAssertEqual(problem.retryAfter.map(String.init), seconds)
        }
    }

    func test_category_decidesStatus() {
        struct Plain: CodedError {
            let category: ErrorCategory
            var codeName: String { "x.y" }
            var message: String { "m" }
        }
        for (category, status) in [
            (ErrorCategory.invalid, 400), (.unauthenticated, 401), (.forbidden, 403),
            (.notFound, 404), (.conflict, 409), (.tooLarge, 413), (.overloaded, 429),
            (.unavailable, 503), (.internalFailure, 500),
        ] {
            XCTAssertEqual(ProblemDetails(Plain(category: category)).status, status)
        }
    }

    func test_observedHandler_countsTimesAndTracesByOperation() async throws {
        let metrics = TestMetrics()
        let tracer = InMemoryTracer()
        let handler = ObservedHandler(
            try table(),
            name: "device",
            metrics: metrics,
            tracer: tracer
        )
        for path in ["/devices/a", "/devices/b", "/none", "/unknown"] {
            _ = await handler.answer(makeRequest(.get, path))
        }
        let good = try metrics.expectCounter(
            "reeve_http_requests",
            [("handler", "device"), ("operation", "device"), ("status", "200")]
        )
        XCTAssertEqual(good.totalValue, 2)
        let missing = try metrics.expectCounter(
            "reeve_http_requests",
            [("handler", "device"), ("operation", "none"), ("status", "404")]
        )
        XCTAssertEqual(missing.totalValue, 1)
        let timer = try metrics.expectTimer(
            "reeve_http_request_duration",
            [("handler", "device"), ("operation", "device")]
        )
        XCTAssertEqual(timer.values.count, 2)
        XCTAssertEqual(
            tracer.finishedSpans.map(\.operationName),
            ["device", "device", "GET", "unknown"]
        )
        XCTAssertEqual(
            tracer.finishedSpans.map { $0.status?.code == .error },
            [
                false, false, false, true,
            ]
        )
        XCTAssertTrue(tracer.activeSpans.isEmpty)
    }

    func test_observedHandler_logsNeitherTokenNorQuery() async throws {
        let log = RecordingLog()
        let handler = ObservedHandler(
            try table(),
            name: "device",
            logLevel: .info,
            metrics: TestMetrics(),
            tracer: InMemoryTracer()
        )
        _ = await handler.answer(
            makeRequest(
                .get,
                "/secret?key=hidden-query",
                fields: [.authorization: "Bearer hidden-token"],
                logger: log.logger
            )
        )
        XCTAssertTrue(log.lines.contains { $0.text.contains("/secret") && $0.text.contains("401") })
        XCTAssertFalse(log.lines.contains { $0.text.contains("hidden") })
    }

    func test_observedHandler_listsTheRoutesItWraps() throws {
        let bounded = BoundedHandler(try table())
        XCTAssertEqual(ObservedHandler(bounded, name: "x").routes, try table().routes)
    }

    func test_boundedHandler_full_is503WithRetryAfter_andFreeAgainAfterwards() async throws {
        let (started, start) = AsyncStream<Void>.makeStream()
        let (gate, open) = AsyncStream<Void>.makeStream()
        let bounded = BoundedHandler(
            ClosureHandler { request in
                start.yield()
                for await _ in gate { break }
                return .text("done")
            },
            limits: HandlerLimits(maximumConcurrentRequests: 1, retryAfter: .seconds(7))
        )
        async let first = bounded.answer(makeRequest(.get, "/"))
        for await _ in started { break }
        let second = await bounded.answer(makeRequest(.get, "/"))
        XCTAssertEqual(second.status, .serviceUnavailable)
        XCTAssertEqual(second.headerFields[.retryAfter], "7")
        open.finish()
        let answered = await first
        XCTAssertEqual(answered.status, .ok)
        XCTAssertEqual(bounded.requestsUnderWay, 0)
        let third = await bounded.answer(makeRequest(.get, "/"))
        XCTAssertEqual(third.status, .ok)
    }

    func test_boundedHandler_largeHead_is431() async throws {
        let bounded = BoundedHandler(ClosureHandler { _ in .empty() })
        let request = makeRequest(
            .get,
            "/",
            fields: [.cookie: String(repeating: "x", count: 40_000)]
        )
        let response = await bounded.answer(request)
        XCTAssertEqual(response.status, .requestHeaderFieldsTooLarge)
    }

    func test_health_isAlwaysOk_andReadinessNamesWhatIsMissing() async throws {
        final class Box: Sendable {
            let reason = Mutex<String?>("no snapshot yet")
        }
        let box = Box()
        let health = HealthRoutes(checks: [
            ReadinessCheck("spool") { nil },
            ReadinessCheck("replica") { box.reason.withLock { $0 } },
        ])
        let live = await health.answer(makeRequest(.get, "/healthz"))
        XCTAssertEqual(live.status, .ok)
        let waiting = await health.answer(makeRequest(.get, "/readyz"))
        XCTAssertEqual(waiting.status, .serviceUnavailable)
        let text = try await waiting.bodyText()
        XCTAssertEqual(
            text,
            #"{"checks":[{"name":"spool","ready":true},"#
                + #"{"name":"replica","ready":false,"reason":"no snapshot yet"}],"#
                + #""status":"notReady"}"#
        )
        box.reason.withLock { $0 = nil }
        let ready = await health.answer(makeRequest(.get, "/readyz"))
        XCTAssertEqual(ready.status, .ok)
        let wrong = await health.answer(makeRequest(.post, "/readyz"))
        XCTAssertEqual(wrong.status, .methodNotAllowed)
        var table = RouteTable()
        try health.add(to: &table)
        XCTAssertEqual(table.routes, health.routes)
    }
}
#endif
