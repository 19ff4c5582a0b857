#if Server
internal import ClusterRole
public import HTTPTypes

/// The body of every answer that is not a success: problem details (RFC 9457) with a stable `code`.
///
/// Callers act on ``code``; the other members are for people. An error that is not a `CodedError`,
/// and one of category `internalFailure`, is told in general words: what lies beneath is logged and
/// never sent.
public struct ProblemDetails: Hashable, Sendable, Codable {
    /// `urn:reeve:problem:` and the code.
    public var type: String
    /// The status in words.
    public var title: String
    /// The HTTP status, repeated for those who keep only the body.
    public var status: Int
    /// What happened and what to do.
    public var detail: String?
    /// The path that was asked for.
    public var instance: String?
    /// The code of the `CodedError`, such as `operations.unknown-device`.
    public var code: String
    /// Whole seconds to wait, rounded up; also the header field `Retry-After`.
    public var retryAfter: Int?
    /// What this kind of problem says beside (RFC 9457, section 3.2), by name.
    public var members: [String: JSONValue] = [:]

    /// The code of errors nobody gave one.
    public static let internalCode = "http.internal"
    /// The code of work that was cancelled because the node is stopping.
    public static let stoppingCode = "http.stopping"

    public init(
        status: HTTPResponse.Status,
        code: String,
        detail: String? = nil,
        instance: String? = nil,
        retryAfter: Duration? = nil
    ) {
        type = "urn:reeve:problem:\(code)"
        title = status.reasonPhrase
        self.status = status.code
        self.detail = detail
        self.instance = instance
        self.code = code
        self.retryAfter = retryAfter.map { Self.wholeSeconds($0) }
    }

    /// The problem an error is answered with.
    public init(_ error: any Error, instance: String? = nil) {
        self.init(general: error, instance: instance)
        if let error = error as? any ProblemMembers { members = error.problemMembers }
    }

    private init(general error: any Error, instance: String?) {
        switch error {
        case let error as any CodedError where error.category == .internalFailure:
            self.init(
                status: .internalServerError,
                code: error.codeName,
                detail: Self.generalDetail,
                instance: instance,
                retryAfter: error.retryAfter
            )
        case let error as any CodedError:
            self.init(
                status: (error as? HTTPHandlingError)?.status ?? error.category.status,
                code: error.codeName,
                detail: error.message,
                instance: instance,
                retryAfter: error.retryAfter ?? Self.defaultRetryAfter(error.category)
            )
        case is CancellationError:
            self.init(
                status: .serviceUnavailable,
                code: Self.stoppingCode,
                detail: "This node is stopping. Repeat the call at another node, or later.",
                instance: instance,
                retryAfter: .seconds(1)
            )
        default:
            self.init(
                status: .internalServerError,
                code: Self.internalCode,
                detail: Self.generalDetail,
                instance: instance
            )
        }
    }

    private static let generalDetail =
        "The node failed to answer; its log says why. Repeat the call once, then report it."

    private static func defaultRetryAfter(_ category: ErrorCategory) -> Duration? {
        switch category {
        case .overloaded, .unavailable: .seconds(1)
        default: nil
        }
    }

    /// At least 1: zero would ask for the repetition that the field is there to delay.
    private static func wholeSeconds(_ duration: Duration) -> Int {
        Int(max(1, (duration.milliseconds + 999) / 1_000))
    }

    /// The answer: `application/problem+json`, with `Retry-After` where there is something to wait
    /// for.
    public func response(headerFields: HTTPFields = [:]) -> HandlerResponse {
        var fields = headerFields
        if let retryAfter { fields[.retryAfter] = String(retryAfter) }
        fields[.cacheControl] = "no-store"
        var response = HandlerResponse.bytes(
            (try? encodedJSON(self)) ?? [],
            contentType: MediaType.problem,
            status: HTTPResponse.Status(code: status, reasonPhrase: title),
            headerFields: fields
        )
        response.problemCode = code
        return response
    }
}
#endif
