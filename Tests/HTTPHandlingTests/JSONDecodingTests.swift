#if Server
import ClusterRole
import HTTPHandling
import HTTPTypes
import XCTest

final class JSONDecodingTests: XCTestCase {
    private struct Report: Codable, Sendable {
        struct Result: Codable, Sendable {
            let state: String
            let attempt: Int
        }
        let results: [Result]
        let revision: HistoryID?
        let extra: JSONValue?
    }

    private func table(limits: HandlerLimits = HandlerLimits()) throws -> RouteTable {
        var table = RouteTable(limits: limits)
        try table.post("/exchange", operationID: "exchange", access: .open) { request in
            let report: Report = try await request.decode()
            return try .json(report)
        }
        try table.post("/large", operationID: "large", access: .open, maximumBodyBytes: 32 << 20) {
            .text(String(try await $0.body.collect(upTo: .max).count))
        }
        return table
    }

    private func refusal(_ json: String) async throws -> ProblemDetails {
        let response = try await table().answer(makeJSONRequest("/exchange", json))
        XCTAssertEqual(response.status, .badRequest, String(json.prefix(80)))
        return try await response.problem()
    }

    func test_wellFormedBody_isDecodedAndWrittenWithSortedKeys() async throws {
        let response = try await table().answer(
            makeJSONRequest(
                "/exchange",
                #"{"results":[{"state":"done","attempt":1}],"extra":{"b":1,"a":[2.5]}}"#
            )
        )
        let text = try await response.bodyText()
        XCTAssertEqual(
            text,
            #"{"extra":{"a":[2.5],"b":1},"results":[{"attempt":1,"state":"done"}]}"#
        )
        XCTAssertEqual(response.headerFields[.contentType], "application/json")
    }

    func test_malformedJSON_is400() async throws {
        for json in ["{", "", "nonsense", #"{"results":[}"#, "\u{0}", "{\"results\":\"\u{1}\"}"] {
            let problem = try await refusal(json)
            XCTAssertEqual(problem.code, "http.invalid-json", json)
        }
    }

    func test_wrongType_is400NamingTheField() async throws {
        for (json, path, word) in [
            (
                #"{"results":[{"state":"x","attempt":1},{"state":7,"attempt":1}]}"#,
                "results[1].state", "a string"
            ),
            (#"{"results":[{"state":"x","attempt":"1"}]}"#, "results[0].attempt", "a whole number"),
            (#"{"results":{}}"#, "results", "an array"),
            (#"{"results":[{"state":"x"}]}"#, "results[0].attempt", "missing"),
            (#"{"results":[{"state":null,"attempt":1}]}"#, "results[0].state", "a string"),
            ("{}", "results", "missing"),
            ("[]", "$", "an object"),
        ] {
            let problem = try await refusal(json)
            XCTAssertEqual(problem.code, "http.invalid-json", json)
            let detail = problem.detail ?? ""
            XCTAssertTrue(detail.contains(" \(path) "), "\(json): \(detail)")
            XCTAssertTrue(detail.contains(word), "\(json): \(detail)")
        }
    }

    func test_codedErrorOfAType_keepsItsCode() async throws {
        let problem = try await refusal(#"{"results":[],"revision":"not one"}"#)
        XCTAssertEqual(problem.code, "role.invalid-identifier")
    }

    func test_nestingOfTenThousand_is400_andTheProcessGoesOn() async throws {
        for (open, close) in [("[", "]"), (#"{"a":"#, "}")] {
            let deep =
                #"{"results":[],"extra":"# + String(repeating: open, count: 10_000) + "1"
                + String(repeating: close, count: 10_000) + "}"
            let problem = try await refusal(deep)
            XCTAssertEqual(problem.code, "http.too-deep")
            let unclosed = try await refusal(String(repeating: open, count: 150_000))
            XCTAssertEqual(unclosed.code, "http.too-deep")
        }
    }

    func test_nestingAtTheLimit_isTaken_andBracketsInStringsDoNotCount() async throws {
        let limits = HandlerLimits(maximumJSONDepth: 6)
        let brackets = String(repeating: #"[{\"\\"#, count: 100)
        for (json, status) in [
            (#"{"results":[],"extra":[[[[[1]]]]]}"#, HTTPResponse.Status.ok),
            (#"{"results":[],"extra":[[[[[[1]]]]]]}"#, .badRequest),
            (#"{"results":[],"extra":"\#(brackets)"}"#, .ok),
        ] {
            let response = try await table(limits: limits).answer(
                makeJSONRequest("/exchange", json)
            )
            XCTAssertEqual(response.status, status, json)
        }
    }

    func test_utf16_is400_becauseTheScanCountsUTF8() async throws {
        let bytes = #"{"results":[]}"#.utf16.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] }
        for prefix in [[], [0xFF, 0xFE]] as [[UInt8]] {
            let request = makeRequest(
                .post,
                "/exchange",
                fields: [.contentType: "application/json"],
                body: HandlerBody(prefix + bytes)
            )
            let response = try await table().answer(request)
            XCTAssertEqual(response.status, .badRequest)
        }
    }

    func test_contentType_otherThanJSON_is415() async throws {
        for (type, status) in [
            (nil, HTTPResponse.Status.unsupportedMediaType), ("text/plain", .unsupportedMediaType),
            ("application/json; charset=utf-8", .ok), ("Application/JSON", .ok),
            ("application/merge-patch+json", .ok), ("application/jsonx", .unsupportedMediaType),
        ] {
            var fields: HTTPFields = [:]
            fields[.contentType] = type
            let body = HandlerBody(Array(#"{"results":[]}"#.utf8))
            let response = try await table().answer(
                makeRequest(.post, "/exchange", fields: fields, body: body)
            )
            XCTAssertEqual(response.status, status, type ?? "none")
        }
    }

    func test_tenMegabytes_is413_withoutReadingThemAll() async throws {
        let chunk = [UInt8](repeating: UInt8(ascii: " "), count: 64 << 10)
        let fields: HTTPFields = [.contentType: "application/json"]
        let chunks = ListedChunks(chunks: Array(repeating: chunk, count: 160))
        let response = try await table().answer(
            makeRequest(.post, "/exchange", fields: fields, body: HandlerBody(chunks))
        )
        XCTAssertEqual(response.status, .contentTooLarge)
        let problem = try await response.problem()
        XCTAssertEqual(problem.code, "http.body-too-large")
        XCTAssertEqual(chunks.taken.value, 17)

        let declared = ListedChunks(chunks: Array(repeating: chunk, count: 160))
        let refused = try await table().answer(
            makeRequest(
                .post,
                "/exchange",
                fields: fields,
                body: HandlerBody(declared, declaredLength: 10 << 20)
            )
        )
        XCTAssertEqual(refused.status, .contentTooLarge)
        XCTAssertEqual(declared.taken.value, 0)

        let taken = try await table().answer(
            makeRequest(
                .post,
                "/large",
                body: HandlerBody(ListedChunks(chunks: Array(repeating: chunk, count: 160)))
            )
        ).bodyText()
        XCTAssertEqual(taken, "\(10 << 20)")
    }

    func test_body_readTwice_throwsInsteadOfGivingNothing() async throws {
        let body = HandlerBody([1, 2, 3])
        let first = try await body.collect(upTo: 3)
        XCTAssertEqual(first, [1, 2, 3])
        _ = await assertThrowsCode(.bodyConsumed) { _ = try await body.collect(upTo: 3) }
    }

    func test_value_literalsAndBytes_areEqualAfterARoundTrip() throws {
        let value: JSONValue = [
            "null": .null, "yes": true, "int": 9_007_199_254_740_993, "number": 1.5,
            "list": ["a", [:], []],
        ]
        XCTAssertEqual(try JSONValue(parsing: value.encoded()), value)
        XCTAssertEqual(value["list"]?[0]?.stringValue, "a")
        XCTAssertEqual(value["int"]?.integerValue, 9_007_199_254_740_993)
        XCTAssertNil(value["list"]?[3])
        XCTAssertThrowsError(try JSONValue(parsing: Array("[[[1]]]".utf8), maximumDepth: 2))
    }
}
#endif
