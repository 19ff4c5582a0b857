#if Server
public import ClusterRole

/// What can go wrong with certificates: those of peers, and one's own.
public struct NodeCertificateError: CodedError {
    /// The reason; it may grow.
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        /// The peer presented no certificate (401).
        public static let missing = Code(rawValue: "certificate.missing")
        /// The certificate's last day is over (403).
        public static let expired = Code(rawValue: "certificate.expired")
        /// The certificate's first day has not come: a clock is wrong (403).
        public static let notYetValid = Code(rawValue: "certificate.not-yet-valid")
        /// No authority of this cluster signed it, or not in a way that counts (403).
        public static let wrongAuthority = Code(rawValue: "certificate.wrong-authority")
        /// It names no node of a cluster (403).
        public static let noIdentity = Code(rawValue: "certificate.no-identity")
        /// It is of another cluster, although the authority is known (403).
        public static let wrongDomain = Code(rawValue: "certificate.wrong-domain")
        /// It was not made for this end of a connection (403).
        public static let wrongUse = Code(rawValue: "certificate.wrong-use")
        /// Its node may not play the part it plays here: a worker's presented as a manager's (403).
        public static let wrongRole = Code(rawValue: "certificate.wrong-role")
        /// The authority took it back (403).
        public static let revoked = Code(rawValue: "certificate.revoked")
        /// A file cannot be read, or holds something else than it should.
        public static let unreadable = Code(rawValue: "certificate.unreadable")
        /// A file cannot be written, or is there already.
        public static let unwritable = Code(rawValue: "certificate.unwritable")
        /// What was asked for cannot be made.
        public static let invalid = Code(rawValue: "certificate.invalid")
    }

    public let code: Code
    public let message: String
    public let cause: (any Error)?

    /// Makes an error; `message` says what to do.
    public init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    public var codeName: String { code.rawValue }

    public var category: ErrorCategory {
        switch code {
        case .missing: .unauthenticated
        case .unreadable, .unwritable, .invalid: .invalid
        default: .forbidden
        }
    }
}
#endif
