#if Server && SQLite && Push
import AsyncHTTPClient
import ClusterRole
import Foundation
import HTTPHandling
import Logging
import NIOCore
import NIOHTTP1

/// Calls one of Reeve's JSON interfaces.
struct JSONClient: Sendable {
    /// An answer that is no success: what the problem document said.
    struct Refusal: Error, CustomStringConvertible {
        let status: Int
        let code: String
        let detail: String
        var description: String { "\(status) \(code): \(detail)" }
    }

    let base: String
    let token: String?
    let client: HTTPClient
    let timeout: Duration

    init(
        base: String,
        token: String?,
        client: HTTPClient = .shared,
        timeout: Duration = .seconds(10)
    ) {
        self.base = base.hasSuffix("/") ? String(base.dropLast()) : base
        self.token = token
        self.client = client
        self.timeout = timeout
    }

    /// The largest answer taken: a page of a thousand rows with room to spare.
    static let maximumAnswerBytes = 16 * 1_024 * 1_024

    func get(_ path: String) async throws -> JSONValue { try await call(.GET, path, body: nil) }

    func post(
        _ path: String,
        _ body: JSONValue,
        idempotencyKey: String? = nil
    ) async throws -> JSONValue {
        try await call(.POST, path, body: body, idempotencyKey: idempotencyKey)
    }

    @discardableResult
    func put(_ path: String, _ body: JSONValue) async throws -> JSONValue {
        try await call(.PUT, path, body: body)
    }

    func delete(_ path: String) async throws {
        _ = try await call(.DELETE, path, body: nil)
    }

    /// A `POST` without a body.
    func post(_ path: String) async throws { _ = try await call(.POST, path, body: nil) }

    /// The items of a query that have a value, percent-encoded.
    static func query(_ items: [(String, String?)]) -> String {
        let sent = items.compactMap { name, value in value.map { "\(name)=\(segment($0))" } }
        return sent.isEmpty ? "" : "?" + sent.joined(separator: "&")
    }

    /// Percent-encodes one path segment.
    static func segment(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? text
    }

    private func call(
        _ method: NIOHTTP1.HTTPMethod,
        _ path: String,
        body: JSONValue?,
        idempotencyKey: String? = nil
    ) async throws -> JSONValue {
        var request = HTTPClientRequest(url: base + path)
        request.method = method
        if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        if let idempotencyKey {
            request.headers.add(name: "Idempotency-Key", value: idempotencyKey)
        }
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: try body.encoded()))
        }
        let limit = TimeAmount.milliseconds(timeout.milliseconds)
        let response: HTTPClientResponse = try await client.execute(request, timeout: limit)
        let buffer = try await response.body.collect(upTo: Self.maximumAnswerBytes)
        let bytes = Array(buffer.readableBytesView)
        guard (200..<300).contains(Int(response.status.code)) else {
            let problem = try? JSONValue(parsing: bytes)
            throw Refusal(
                status: Int(response.status.code),
                code: problem?["code"]?.stringValue ?? "http.\(response.status.code)",
                detail: problem?["detail"]?.stringValue ?? response.status.reasonPhrase
            )
        }
        return bytes.isEmpty ? .null : try JSONValue(parsing: bytes)
    }
}

extension JSONValue {
    var elements: [JSONValue] { if case .array(let elements) = self { elements } else { [] } }
    var members: [String: JSONValue] {
        if case .object(let members) = self { members } else { [:] }
    }
    /// An integer, or 0 where there is none.
    var count: Int { Int(integerValue ?? 0) }
    /// A number of either kind.
    var numberValue: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }
}
#endif
