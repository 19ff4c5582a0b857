#if Server
internal import ClusterRole
internal import HTTPTypes

/// Tells a ``RefusalSink`` of each request a handler turned away because of its caller: those answered
/// 401 or 403, and those whose code its owner named besides.
public struct RefusalObserver: HTTPHandler, RouteListing {
    private let handler: any HTTPHandler
    private let sink: any RefusalSink
    private let codes: Set<String>

    /// Wraps a handler.
    ///
    /// - Parameters:
    ///   - handler: the handler that answers.
    ///   - sink: told of refusals.
    ///   - codes: problems that are told of whatever their status, such as a stale epoch.
    public init(_ handler: any HTTPHandler, sink: any RefusalSink, codes: Set<String> = []) {
        self.handler = handler
        self.sink = sink
        self.codes = codes
    }

    public var routes: [RouteDescription] { (handler as? any RouteListing)?.routes ?? [] }

    /// Never throws: a refusal is a response here.
    public func handle(_ request: HandlerRequest) async -> HandlerResponse {
        let response = await handler.answer(request)
        guard let code = response.problemCode else { return response }
        let status = response.status.code
        guard status == 401 || status == 403 || codes.contains(code) else { return response }
        sink.refused(
            PeerRefusal(
                peer: request.peerCertificate,
                identity: request.identity?.name,
                remoteAddress: request.remoteAddress,
                verb: response.operationID
                    ?? "\(request.method.rawValue) \(request.target.path.prefix(255))",
                code: code,
                status: status
            )
        )
        return response
    }
}
#endif
