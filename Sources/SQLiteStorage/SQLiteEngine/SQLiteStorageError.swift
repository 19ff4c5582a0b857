#if SQLite
public import ClusterRole

/// What can go wrong with a store, replica or spool kept in a SQLite file.
public struct SQLiteStorageError: CodedError {
    /// The reason; it may grow.
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        /// Another process has the file; the message names it.
        public static let locked = Code(rawValue: "storage.locked")
        /// An I/O error struck a commit: nothing is known of the file until it is opened again.
        public static let poisoned = Code(rawValue: "storage.poisoned")
        /// The store was closed.
        public static let closed = Code(rawValue: "storage.closed")
        /// More calls wait for the writer than its limit.
        public static let overloaded = Code(rawValue: "storage.overloaded")
        /// A row's checksum does not match its columns.
        public static let corruptRow = Code(rawValue: "storage.corrupt-row")
        /// SQLite found the file damaged, or it is no database.
        public static let corruptFile = Code(rawValue: "storage.corrupt-file")
        /// The file was written by a newer version.
        public static let newerSchema = Code(rawValue: "storage.newer-schema")
        /// A migration the file has applied differs from the one in this build.
        public static let foreignSchema = Code(rawValue: "storage.foreign-schema")
        /// The disk is full; nothing of the call was stored.
        public static let full = Code(rawValue: "storage.full")
        /// The operating system failed to read or write.
        public static let io = Code(rawValue: "storage.io")
        /// A statement failed: a defect of this module.
        public static let statement = Code(rawValue: "storage.statement")
        /// A key needed to open the file's secrets is missing or wrong.
        public static let secrets = Code(rawValue: "storage.secrets")
        /// A file of that name exists already and nothing said that it may be replaced.
        public static let exists = Code(rawValue: "storage.exists")
        /// A name or option that cannot be used.
        public static let invalid = Code(rawValue: "storage.invalid")
    }

    public let code: Code
    public let message: String
    public let retryAfter: Duration?
    public let cause: (any Error)?

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
        case .locked, .exists: .conflict
        case .overloaded: .overloaded
        case .poisoned, .closed, .full: .unavailable
        case .invalid: .invalid
        default: .internalFailure
        }
    }
}
#endif
