#if Server
public import ClusterRole

/// What can go wrong at the manager's end of the link.
public struct ClusterTransportError: CodedError {
    /// The reason; it may grow.
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        /// A body of the link's binary formats is damaged, cut short or of an unknown version (400).
        public static let malformed = Code(rawValue: "link.malformed")
        /// This end of the link is for nodes with certificates, and the caller has none (401).
        public static let noCertificate = Code(rawValue: "link.no-certificate")
        /// A hello that was said before (409): somebody repeats what a worker said. A worker draws a new
        /// nonce for each hello.
        public static let replayed = Code(rawValue: "link.replayed")
        /// A worker spoke for another node than its certificate or token names (403).
        public static let wrongNode = Code(rawValue: "link.wrong-node")
        /// The caller's role has no business on the link (403).
        public static let wrongRole = Code(rawValue: "link.wrong-role")
        /// The worker and this manager differ in something they must share (409): versions of the link,
        /// cluster, codecs, tenant. The message names each.
        public static let incompatible = Code(rawValue: "link.incompatible")
        /// The worker has seen a newer coordinator than this manager (409): this manager stands on a
        /// restored or forgotten store, and an operator decides.
        public static let epochBehind = Code(rawValue: "link.epoch-behind")
        /// The spool was written against another history (409): take a snapshot, then send again
        /// from the mark it carries.
        public static let historyChanged = Code(rawValue: "link.history-changed")
        /// No enrolled device has this credential (404).
        public static let unknownCredential = Code(rawValue: "link.unknown-credential")
        /// More entries, bytes or properties than ``LinkLimits`` allows (413).
        public static let tooLarge = Code(rawValue: "link.too-large")
        /// This manager is not the coordinator now (503).
        public static let notCoordinator = Code(rawValue: "link.not-coordinator")
        /// No manager is the coordinator now (503).
        public static let noCoordinator = Code(rawValue: "link.no-coordinator")
        /// The coordinator did not answer a request that was handed on to it (503).
        public static let coordinatorUnreachable = Code(
            rawValue: "link.coordinator-unreachable"
        )
    }

    public let code: Code
    public let message: String
    public let retryAfter: Duration?
    public let cause: (any Error)?

    /// Makes an error; `message` says what the caller must do.
    public init(
        _ code: Code,
        _ message: String,
        retryAfter: Duration? = nil,
        cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.retryAfter = retryAfter
        self.cause = cause
    }

    public var codeName: String { code.rawValue }

    public var category: ErrorCategory {
        switch code {
        case .noCertificate: .unauthenticated
        case .wrongNode, .wrongRole: .forbidden
        case .epochBehind, .historyChanged, .replayed, .incompatible: .conflict
        case .unknownCredential: .notFound
        case .tooLarge: .tooLarge
        case .notCoordinator, .noCoordinator, .coordinatorUnreachable: .unavailable
        default: .invalid
        }
    }
}
#endif
