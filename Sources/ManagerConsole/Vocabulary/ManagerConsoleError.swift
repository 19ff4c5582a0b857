#if Server
public import ClusterRole

/// What can go wrong in the console itself. What a façade throws passes through with its own code.
public struct ManagerConsoleError: CodedError {
    /// The reason; it may grow.
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        /// The directory to publish lies under none of the ``PublishRoots``.
        public static let outsidePublishRoots = Code(rawValue: "console.outside-publish-roots")
        /// A publish root is no absolute path of an existing directory; met at start only.
        public static let invalidPublishRoot = Code(rawValue: "console.invalid-publish-root")
        /// The backup's path lies under none of the backup roots.
        public static let outsideBackupRoots = Code(rawValue: "console.outside-backup-roots")
        /// The route is for administrators of the operators' tenant.
        public static let operatorsOnly = Code(rawValue: "console.operators-only")
        /// The operation is not on the list of those that end users may ask for.
        public static let codeNotAllowed = Code(rawValue: "console.code-not-allowed")
        /// The tenant has no periodic task of that name.
        public static let unknownTask = Code(rawValue: "console.unknown-task")
        /// The cluster has no node of that name.
        public static let unknownNode = Code(rawValue: "console.unknown-node")
        /// A member of the body has a value that is out of its range.
        public static let invalidField = Code(rawValue: "console.invalid-field")
    }

    public let code: Code
    public let message: String
    public let cause: (any Error)?

    /// Makes an error; `message` says what the caller must do.
    public init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    public var codeName: String { code.rawValue }

    public var category: ErrorCategory {
        switch code {
        case .outsidePublishRoots, .outsideBackupRoots, .operatorsOnly, .codeNotAllowed: .forbidden
        case .unknownTask, .unknownNode: .notFound
        default: .invalid
        }
    }
}
#endif
