#if Server
public import ClusterRole
public import HTTPTypes

/// What can go wrong between the wire and a route.
///
/// A handler throws it, or any other `CodedError`; ``ProblemDetails`` makes the answer from either.
public struct HTTPHandlingError: CodedError {
    /// The reason; it may grow.
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        /// Nothing answers at this path (404).
        public static let noRoute = Code(rawValue: "http.no-route")
        /// The path exists, the method does not (405, with `Allow`).
        public static let methodNotAllowed = Code(rawValue: "http.method-not-allowed")
        /// The path holds a broken percent-escape or bytes that are not UTF-8 (400).
        public static let invalidPath = Code(rawValue: "http.invalid-path")
        /// A parameter of the path or the query is missing or wrong (400).
        public static let invalidParameter = Code(rawValue: "http.invalid-parameter")
        /// The body is not JSON, or not of the shape the route takes (400).
        public static let invalidJSON = Code(rawValue: "http.invalid-json")
        /// The body nests deeper than ``HandlerLimits/maximumJSONDepth`` (400).
        public static let tooDeep = Code(rawValue: "http.too-deep")
        /// The body ended before it was whole (400).
        public static let bodyInterrupted = Code(rawValue: "http.body-interrupted")
        /// The body is larger than the route takes (413).
        public static let bodyTooLarge = Code(rawValue: "http.body-too-large")
        /// The route takes another media type (415).
        public static let wrongContentType = Code(rawValue: "http.wrong-content-type")
        /// The request head is larger than ``HandlerLimits/maximumHeaderBytes`` (431).
        public static let headersTooLarge = Code(rawValue: "http.headers-too-large")
        /// No token, or one nobody knows (401, with `WWW-Authenticate`).
        public static let unauthenticated = Code(rawValue: "http.unauthenticated")
        /// A known caller without the permission the route asks for (403).
        public static let forbidden = Code(rawValue: "http.forbidden")
        /// Nothing of the file lies in the range asked for (416).
        public static let unsatisfiableRange = Code(rawValue: "http.unsatisfiable-range")
        /// As many requests as ``HandlerLimits/maximumConcurrentRequests`` are under way (503).
        public static let overloaded = Code(rawValue: "http.overloaded")
        /// The file to be served does not exist (404).
        public static let noFile = Code(rawValue: "http.no-file")
        /// The file to be served cannot be read (500).
        public static let unreadableFile = Code(rawValue: "http.unreadable-file")
        /// A body was iterated a second time: a defect of the handler (500).
        public static let bodyConsumed = Code(rawValue: "http.body-consumed")
        /// A response body was not as long as its handler had said (500).
        public static let wrongLength = Code(rawValue: "http.wrong-length")
        /// A route or mount that cannot be added to its table (500; met at start only).
        public static let invalidRoute = Code(rawValue: "http.invalid-route")
        /// The server has ended, or was run twice (503).
        public static let notListening = Code(rawValue: "http.not-listening")
    }

    public let code: Code
    public let message: String
    public let cause: (any Error)?
    public let retryAfter: Duration?
    /// Header fields the answer carries, such as `Allow` and `WWW-Authenticate`.
    public let headerFields: HTTPFields

    /// Makes an error; `message` says what the caller must do.
    public init(
        _ code: Code,
        _ message: String,
        retryAfter: Duration? = nil,
        headerFields: HTTPFields = [:],
        cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.retryAfter = retryAfter
        self.headerFields = headerFields
        self.cause = cause
    }

    public var codeName: String { code.rawValue }

    public var category: ErrorCategory {
        switch code {
        case .noRoute, .noFile: .notFound
        case .bodyTooLarge: .tooLarge
        case .unauthenticated: .unauthenticated
        case .forbidden: .forbidden
        case .overloaded, .notListening: .unavailable
        case .unreadableFile, .bodyConsumed, .wrongLength, .invalidRoute: .internalFailure
        default: .invalid
        }
    }

    /// The status of the answer: finer than the one of ``category`` where HTTP has its own.
    public var status: HTTPResponse.Status {
        switch code {
        case .methodNotAllowed: .methodNotAllowed
        case .wrongContentType: .unsupportedMediaType
        case .unsatisfiableRange: .rangeNotSatisfiable
        case .headersTooLarge: .requestHeaderFieldsTooLarge
        default: category.status
        }
    }
}

extension ErrorCategory {
    /// The HTTP status an error of this category is answered with.
    public var status: HTTPResponse.Status {
        switch self {
        case .invalid: .badRequest
        case .unauthenticated: .unauthorized
        case .forbidden: .forbidden
        case .notFound: .notFound
        case .conflict: .conflict
        case .tooLarge: .contentTooLarge
        case .overloaded: .tooManyRequests
        case .unavailable: .serviceUnavailable
        case .internalFailure: .internalServerError
        }
    }
}
#endif
