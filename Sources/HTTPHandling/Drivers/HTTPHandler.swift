#if Server
public import HTTPTypes
internal import Logging

/// Answers requests: the one protocol through which the device gateway, the console, the link and
/// their hosts know each other.
///
/// A host reads a request, calls ``answer(_:)``, and writes the response; it never lets go of the
/// connection before the body is written. Many calls run at once.
public protocol HTTPHandler: Sendable {
    /// Answers one request.
    ///
    /// - Throws: anything; ``answer(_:)`` makes a problem of it.
    func handle(_ request: HandlerRequest) async throws -> HandlerResponse
}

extension HTTPHandler {
    /// Answers one request, always: an error becomes ``ProblemDetails``. Hosts call this.
    public func answer(_ request: HandlerRequest) async -> HandlerResponse {
        do {
            return try await handle(request)
        } catch {
            return request.refusal(error)
        }
    }
}

extension HandlerRequest {
    /// The problem this request is answered with instead.
    ///
    /// A defect (500) is logged as an error with what lies beneath it, other refusals at debug
    /// level.
    public func refusal(_ error: any Error) -> HandlerResponse {
        let problem = ProblemDetails(error, instance: target.path)
        logger.log(
            level: problem.status == 500 ? .error : .debug,
            "Request refused",
            metadata: [
                "method": "\(method.rawValue)",
                "path": "\(target.path)",
                "status": "\(problem.status)",
                "code": "\(problem.code)",
                "error": "\(error)",
            ]
        )
        return problem.response(headerFields: (error as? HTTPHandlingError)?.headerFields ?? [:])
    }
}

/// A handler that can say which routes it has, so that a test can hold a document against them.
public protocol RouteListing: Sendable {
    /// All routes, in order of path and method.
    var routes: [RouteDescription] { get }
}

/// One route, as an OpenAPI document describes it.
public struct RouteDescription: Hashable, Sendable, Comparable, CustomStringConvertible {
    public let method: HTTPRequest.Method
    /// The pattern, such as `/devices/{device}`.
    public let path: String
    /// Unique in its table; also the `operation` of metrics and spans.
    public let operationID: String
    public let access: RouteAccess

    public init(
        method: HTTPRequest.Method,
        path: String,
        operationID: String,
        access: RouteAccess
    ) {
        self.method = method
        self.path = path
        self.operationID = operationID
        self.access = access
    }

    public var description: String { "\(method.rawValue) \(path) (\(operationID), \(access))" }

    public static func < (left: RouteDescription, right: RouteDescription) -> Bool {
        (left.path, left.method.rawValue) < (right.path, right.method.rawValue)
    }
}

/// A handler made of a closure, for a page or a test.
public struct ClosureHandler: HTTPHandler {
    private let body: @Sendable (HandlerRequest) async throws -> HandlerResponse

    public init(_ body: @escaping @Sendable (HandlerRequest) async throws -> HandlerResponse) {
        self.body = body
    }

    public func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
        try await body(request)
    }
}
#endif
