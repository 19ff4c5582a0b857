#if Server
public import ClusterRole
internal import HTTPTypes
public import Logging
public import Metrics
public import Tracing

/// Logs, counts, times and traces every request of a handler.
///
/// - Log: one line a request at `logLevel` with method, path, status and duration. Neither the
///   query nor any header field or body is logged, so no token is.
/// - Metrics: the counter `reeve_http_requests` and the timer `reeve_http_request_duration`, by
///   `handler`, `operation` (the route's id, `none` without a route) and, the counter, `status`.
/// - Trace: a server span named after the operation, continuing the caller's trace if its header
///   fields carry one.
///
/// Time is taken until the response is returned; a body streamed after that is not part of it.
public struct ObservedHandler: HTTPHandler, RouteListing {
    private let handler: any HTTPHandler
    private let name: String
    private let time: any TimeSource
    private let logLevel: Logger.Level
    private let metrics: (any MetricsFactory)?
    private let tracer: (any Tracer)?

    /// Wraps a handler.
    ///
    /// - Parameters:
    ///   - handler: the handler that answers.
    ///   - name: the dimension `handler`, such as `device`.
    ///   - time: times the requests.
    ///   - logLevel: the level at which each request is logged.
    ///   - metrics: the process's own factory if `nil`.
    ///   - tracer: the process's own tracer if `nil`.
    public init(
        _ handler: any HTTPHandler,
        name: String,
        time: any TimeSource = SystemTimeSource(),
        logLevel: Logger.Level = .debug,
        metrics: (any MetricsFactory)? = nil,
        tracer: (any Tracer)? = nil
    ) {
        self.handler = handler
        self.name = name
        self.time = time
        self.logLevel = logLevel
        self.metrics = metrics
        self.tracer = tracer
    }

    public var routes: [RouteDescription] { (handler as? any RouteListing)?.routes ?? [] }

    /// Never throws: a refusal is a response here, so that it is observed like one.
    public func handle(_ request: HandlerRequest) async -> HandlerResponse {
        let tracer = tracer ?? InstrumentationSystem.tracer
        var context = ServiceContext.current ?? .topLevel
        tracer.extract(request.headerFields, into: &context, using: FieldExtractor())
        return await tracer.withAnySpan(
            "\(request.method.rawValue)",
            context: context,
            ofKind: .server
        ) { span in
            var request = request
            request.logger[metadataKey: "handler"] = "\(name)"
            let start = time.monotonic()
            let response = await handler.answer(request)
            let duration = time.monotonic() - start
            record(request, response, duration)
            describe(request, response, in: span)
            return response
        }
    }

    private func record(
        _ request: HandlerRequest,
        _ response: HandlerResponse,
        _ duration: Duration
    ) {
        let factory = metrics ?? MetricsSystem.factory
        let operation = response.operationID ?? "none"
        let status = response.status.code
        Counter(
            label: "reeve_http_requests",
            dimensions: [
                ("handler", name), ("operation", operation), ("status", String(status)),
            ],
            factory: factory
        ).increment()
        Timer(
            label: "reeve_http_request_duration",
            dimensions: [("handler", name), ("operation", operation)],
            factory: factory
        ).record(duration: duration)
        request.logger.log(
            level: logLevel,
            "Request answered",
            metadata: [
                "method": "\(request.method.rawValue)",
                "path": "\(request.target.path)",
                "operation": "\(operation)",
                "status": "\(status)",
                "milliseconds": "\(duration.milliseconds)",
            ]
        )
    }

    private func describe(
        _ request: HandlerRequest,
        _ response: HandlerResponse,
        in span: any Span
    ) {
        span.operationName = response.operationID ?? request.method.rawValue
        span.attributes["http.request.method"] = request.method.rawValue
        span.attributes["url.path"] = request.target.path
        span.attributes["http.response.status_code"] = response.status.code
        if response.status.code >= 500 { span.setStatus(SpanStatus(code: .error)) }
    }
}

/// Reads the caller's trace from header fields.
private struct FieldExtractor: Extractor {
    func extract(key: String, from fields: HTTPFields) -> String? {
        HTTPField.Name(key).flatMap { fields[$0] }
    }
}
#endif
