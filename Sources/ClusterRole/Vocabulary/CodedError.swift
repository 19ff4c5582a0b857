/// An error a caller acts on by its code.
///
/// Each module has one growable error type: a code, a message that says what to do, and the cause.
/// Interfaces (HTTP, command line) need nothing but this protocol to answer.
public protocol CodedError: Error, Sendable, CustomStringConvertible {
    /// A stable, dotted code such as `operations.unknown-device`. It is part of the API.
    var codeName: String { get }
    /// One or two sentences for the person who must act.
    var message: String { get }
    /// What kind of answer an interface gives.
    var category: ErrorCategory { get }
    /// How long to wait before the same call may succeed.
    var retryAfter: Duration? { get }
    /// The error beneath, if any. It is logged, never sent to a peer.
    var cause: (any Error)? { get }
}

/// How an interface answers a ``CodedError``; the HTTP status follows from it.
public enum ErrorCategory: String, Hashable, Sendable, Codable {
    /// The input is wrong; the same call never succeeds (400).
    case invalid
    /// Who is calling is not known (401).
    case unauthenticated
    /// Who is calling may not do this (403).
    case forbidden
    /// What is named does not exist in this tenant (404).
    case notFound
    /// The state of things does not allow it now (409).
    case conflict
    /// Larger than a limit allows (413).
    case tooLarge
    /// Too much asked for; wait and repeat (429).
    case overloaded
    /// This node cannot do it now, another or a later one can (503).
    case unavailable
    /// A defect or a broken disk (500).
    case internalFailure
}

extension CodedError {
    public var retryAfter: Duration? { nil }
    public var cause: (any Error)? { nil }
    public var description: String {
        cause.map { "\(codeName): \(message) (cause: \($0))" } ?? "\(codeName): \(message)"
    }
}

/// What can go wrong in roles, names and guarded writes.
public struct ClusterRoleError: CodedError {
    /// The reason; it may grow.
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        public static let invalidName = Code(rawValue: "role.invalid-name")
        public static let invalidIdentifier = Code(rawValue: "role.invalid-identifier")
        public static let invalidProfile = Code(rawValue: "role.invalid-profile")
        /// The capability this writer was minted from has been revoked.
        public static let revoked = Code(rawValue: "role.revoked")
        /// A newer coordinator exists; ``ClusterRoleError/currentEpoch`` names its epoch.
        public static let fenced = Code(rawValue: "role.fenced")
        /// The component may not run in this role.
        public static let wrongRole = Code(rawValue: "role.wrong-role")
        /// A format is of an unknown version, cut short or damaged.
        public static let malformed = Code(rawValue: "role.malformed")
        /// An entry of the audit log could not be written, so nothing was done.
        public static let auditUnavailable = Code(rawValue: "role.audit-unavailable")
        /// The kind, permissions or lifetime an identity cannot have.
        public static let invalidIdentity = Code(rawValue: "role.invalid-identity")
        /// Somebody grants what he does not hold.
        public static let notGrantable = Code(rawValue: "role.not-grantable")
        /// The tenant has an identity of that name.
        public static let identityExists = Code(rawValue: "role.identity-exists")
        /// The tenant has no stored identity of that name.
        public static let unknownIdentity = Code(rawValue: "role.unknown-identity")
        /// The tenant has ``maximumIdentities`` already.
        public static let tooManyIdentities = Code(rawValue: "role.too-many-identities")
        /// The node is changing its role already, or has the role it was asked to take.
        public static let wrongTransition = Code(rawValue: "role.wrong-transition")
    }

    public let code: Code
    public let message: String
    /// For `fenced`: the epoch the store knows.
    public let currentEpoch: Epoch?
    public let cause: (any Error)?

    public init(
        _ code: Code,
        _ message: String,
        currentEpoch: Epoch? = nil,
        cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.currentEpoch = currentEpoch
        self.cause = cause
    }

    public var codeName: String { code.rawValue }

    public var category: ErrorCategory {
        switch code {
        case .fenced, .revoked, .auditUnavailable: .unavailable
        case .wrongRole, .notGrantable: .forbidden
        case .identityExists, .tooManyIdentities, .wrongTransition: .conflict
        case .unknownIdentity: .notFound
        default: .invalid
        }
    }

    /// The tenant has an identity of that name.
    public static func identityExists(_ name: IdentityName) -> ClusterRoleError {
        ClusterRoleError(
            .identityExists,
            "There is an identity \(name) in this tenant. Revoke it first, or choose another name."
        )
    }

    /// The tenant has ``maximumIdentities`` already.
    public static let tooManyIdentities = ClusterRoleError(
        .tooManyIdentities,
        "A tenant stores at most \(maximumIdentities) identities. Revoke some, or bring your own identities."
    )

    /// A write with an epoch older than the store's.
    public static func fenced(current: Epoch) -> ClusterRoleError {
        ClusterRoleError(
            .fenced,
            "This node is no longer the coordinator (the store is at \(current)). Send the write to the "
                + "coordinator, or wait until this node has the lease again.",
            currentEpoch: current
        )
    }
}
