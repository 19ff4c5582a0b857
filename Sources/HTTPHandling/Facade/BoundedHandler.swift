#if Server
internal import HTTPTypes
internal import Synchronization

/// Holds a handler to ``HandlerLimits``: size of the head, and requests at once.
///
/// A request counts until its response is returned; a streamed body after that is the host's to
/// bound. What is refused never reaches the handler.
public final class BoundedHandler: HTTPHandler, RouteListing {
    private let handler: any HTTPHandler
    private let limits: HandlerLimits
    private let running = Atomic<Int>(0)

    public init(_ handler: any HTTPHandler, limits: HandlerLimits = HandlerLimits()) {
        self.handler = handler
        self.limits = limits
    }

    public var routes: [RouteDescription] { (handler as? any RouteListing)?.routes ?? [] }

    /// How many requests are under way now.
    public var requestsUnderWay: Int { running.load(ordering: .relaxed) }

    public func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
        guard Self.headBytes(of: request) <= limits.maximumHeaderBytes else {
            throw HTTPHandlingError(
                .headersTooLarge,
                "The request head is larger than \(limits.maximumHeaderBytes) bytes. Send less."
            )
        }
        let count = running.add(1, ordering: .relaxed).newValue
        defer { running.subtract(1, ordering: .relaxed) }
        guard count <= limits.maximumConcurrentRequests else {
            throw HTTPHandlingError(
                .overloaded,
                "This node has all the requests it takes at once. Repeat the call.",
                retryAfter: limits.retryAfter
            )
        }
        var request = request
        request.limits = limits
        return try await handler.handle(request)
    }

    private static func headBytes(of request: HandlerRequest) -> Int {
        request.headerFields.reduce(request.target.path.utf8.count) {
            $0 + $1.name.rawName.utf8.count + $1.value.utf8.count + 4
        }
    }
}
#endif
