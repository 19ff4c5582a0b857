import FlyingFox
import Foundation
import HTTPHandling
import HTTPTypes
import Logging

// begin: flyingfox
/// Hosts a handler of Reeve's on another server. Answers go through memory here.
struct ReeveOnFlyingFox: FlyingFox.HTTPHandler {
    let handler: BoundedHandler
    let logger = Logger(label: "flyingfox")

    func handleRequest(_ request: FlyingFox.HTTPRequest) async throws -> FlyingFox.HTTPResponse {
        let method = HTTPTypes.HTTPRequest.Method(request.method.rawValue) ?? .get
        let path = request.target.rawValue
        var head = HTTPTypes.HTTPRequest(method: method, scheme: nil, authority: nil, path: path)
        for (header, value) in request.headers {
            if let name = HTTPField.Name(header.rawValue) { head.headerFields[name] = value }
        }
        let sent = request.bodySequence
        let body = HandlerBody(sent.map { Array($0) }, declaredLength: sent.count)
        let answer = await handler.answer(HandlerRequest(head: head, body: body, logger: logger))
        var headers = HTTPHeaders()
        for field in answer.headerFields {
            headers.addValue(field.value, for: HTTPHeader(field.name.rawName))
        }
        return try await FlyingFox.HTTPResponse(
            statusCode: HTTPStatusCode(answer.status.code, phrase: answer.status.reasonPhrase),
            headers: headers,
            body: Data(HandlerBody(answer.body.chunks).collect(upTo: .max))
        )
    }
}
// end: flyingfox
