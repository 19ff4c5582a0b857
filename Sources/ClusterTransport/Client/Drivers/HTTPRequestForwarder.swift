#if Server
public import AsyncHTTPClient
public import ClusterTransport
public import HTTPHandling
internal import HTTPTypes
internal import NIOCore
internal import NIOHTTP1

/// Hands requests on over HTTP.
public struct HTTPRequestForwarder: RequestForwarding {
    private let client: HTTPClient
    private let timeout: Duration

    /// - Parameters:
    ///   - client: shared with others or one's own; whoever made it shuts it down.
    ///   - timeout: how long the coordinator has to begin its answer. 30 s: longer than the admin API's
    ///     longest wait for events.
    public init(
        client: HTTPClient = LinkClient.standardHTTP,
        timeout: Duration = .seconds(30)
    ) {
        self.client = client
        self.timeout = timeout
    }

    public func forward(
        _ request: HandlerRequest,
        to address: String
    ) async throws -> HandlerResponse {
        let base = address.contains("://") ? address : "http://" + address
        let path = request.head.path ?? "/"
        var outgoing = HTTPClientRequest(
            url: (base.hasSuffix("/") ? String(base.dropLast()) : base) + path
        )
        outgoing.method = NIOHTTP1.HTTPMethod(rawValue: request.method.rawValue)
        for field in request.headerFields where field.name != .contentLength {
            outgoing.headers.add(name: field.name.rawName, value: field.value)
        }
        let declared = request.body.declaredLength
        if declared.map({ $0 > 0 }) ?? ![.get, .head, .delete].contains(request.method) {
            outgoing.body = .stream(
                request.body.map { ByteBuffer(bytes: $0) },
                length: declared.map { .known(Int64($0)) } ?? .unknown
            )
        }
        let response = try await client.execute(
            outgoing,
            timeout: .milliseconds(Int64(timeout.components.seconds) * 1_000),
            logger: nil
        )
        var fields = HTTPFields()
        for (name, value) in response.headers {
            guard let name = HTTPField.Name(name) else { continue }
            fields.append(HTTPField(name: name, value: value))
        }
        let length = fields[.contentLength].flatMap { Int64($0) }
        let isEmpty =
            request.method == .head || response.status == .noContent
            || response.status == .notModified
        return HandlerResponse(
            status: .init(
                code: Int(response.status.code),
                reasonPhrase: response.status.reasonPhrase
            ),
            headerFields: fields,
            body: isEmpty
                ? .none
                : .stream(
                    response.body.map { Array($0.readableBytesView) },
                    length: length
                )
        )
    }
}
#endif
