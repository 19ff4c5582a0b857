#if Server
package import HTTPHandling
package import HTTPTypes
import Logging

/// Calls a handler without a socket and holds every answer against its document.
package struct HandlerCaller: Sendable {
    package let handler: any HTTPHandler
    package let document: OpenAPIDocument
    /// The bearer token to send, if any.
    package var token: String?

    package init(_ handler: any HTTPHandler, _ document: OpenAPIDocument, token: String? = nil) {
        self.handler = handler
        self.document = document
        self.token = token
    }

    /// The same caller with another token.
    package func with(token: String?) -> HandlerCaller {
        HandlerCaller(handler, document, token: token)
    }

    /// One answer.
    package struct Answer: Sendable {
        package let response: HandlerResponse
        package let body: [UInt8]
        /// How it differs from what the document says; empty if it does not.
        package let violations: [String]

        package var status: Int { response.status.code }
        package var json: JSONValue? { try? JSONValue(parsing: body, maximumDepth: 500) }
        /// The code of a problem.
        package var code: String? { json?["code"]?.stringValue }
        package var text: String { String(decoding: body, as: UTF8.self) }

        package init(_ response: HandlerResponse, _ body: [UInt8], violations: [String] = []) {
            self.response = response
            self.body = body
            self.violations = violations
        }
    }

    /// Calls with a JSON body.
    package func call(
        _ method: HTTPRequest.Method,
        _ path: String,
        _ body: JSONValue,
        fields: HTTPFields = [:]
    ) async throws -> Answer {
        var fields = fields
        fields[.contentType] = "application/json"
        return try await send(method, path, fields: fields, body: try body.encoded())
    }

    /// Calls without a body, or with these bytes.
    package func send(
        _ method: HTTPRequest.Method,
        _ path: String,
        fields: HTTPFields = [:],
        body: [UInt8] = []
    ) async throws -> Answer {
        var fields = fields
        if let token { fields[.authorization] = "Bearer \(token)" }
        let request = HandlerRequest(
            head: HTTPRequest(
                method: method,
                scheme: "http",
                authority: "localhost",
                path: path,
                headerFields: fields
            ),
            body: HandlerBody(body),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        let response = await handler.answer(request)
        let bytes = try await Self.bytes(of: response)
        let operation = response.operationID.flatMap { document.operation($0) }
        let violations = operation.map {
            document.violations(of: response, body: bytes, to: $0)
        }
        return Answer(response, bytes, violations: violations ?? [])
    }

    private static func bytes(of response: HandlerResponse) async throws -> [UInt8] {
        switch response.body {
        case .none: []
        case .bytes(let bytes): bytes
        case .stream(let chunks, _): try await HandlerBody(chunks).collect(upTo: .max)
        case .file(let region): try await HandlerBody(region.chunks()).collect(upTo: .max)
        }
    }
}
#endif
