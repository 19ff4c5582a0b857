public import ClusterRole
public import DeviceRegistry

/// Names a policy. Unique in its tenant.
public struct PolicyID: NameIdentifier {
    public static let noun = "policy name"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}

extension InformationKind {
    /// What a device says about the policies it was given (``ComplianceReport``).
    public static let compliance = InformationKind(rawValue: "compliance")
}

extension OperationCode {
    /// Hands a device a policy to comply with.
    public static let policy = OperationCode(rawValue: "policy")
    /// Asks a device whether it complies with a policy: `{"policy": name}`.
    public static let complianceReport = OperationCode(rawValue: "compliance-report")
}

/// What the devices of a group are to comply with, and how that is watched.
///
/// The devices get it as one standing operation of type ``OperationType/policy`` that reaches who
/// joins later and replaces the version before. Those that report a violation get it again.
public struct CompliancePolicy: Hashable, Sendable {
    public var id: PolicyID
    public var group: GroupID
    public var code: OperationCode
    /// What devices name when they report; another one means that they have not taken this one yet.
    public var version: String
    public var payload: [UInt8]
    /// How old a device's report may be before it is asked for another.
    public var monitoring: Duration
    /// The wait between the first and the second re-application; each further one doubles it.
    public var backoff: Duration
    /// The longest wait.
    public var longestBackoff: Duration
    /// How often it is re-applied to a device that goes on violating it.
    public var maximumTries: Int32

    /// The longest version, in bytes.
    public static let maximumVersionLength = 128
    /// More policies than this in one tenant are no policy.
    public static let maximumCount = 200

    public init(
        id: PolicyID,
        group: GroupID = .everyone,
        code: OperationCode = .policy,
        version: String,
        payload: [UInt8],
        monitoring: Duration = .seconds(86_400),
        backoff: Duration = .seconds(300),
        longestBackoff: Duration = .seconds(86_400),
        maximumTries: Int32 = 5
    ) {
        self.id = id
        self.group = group
        self.code = code
        self.version = version
        self.payload = payload
        self.monitoring = monitoring
        self.backoff = backoff
        self.longestBackoff = longestBackoff
        self.maximumTries = maximumTries
    }

    /// Older open operations of this key give way to newer ones, device by device.
    public var supersedeKey: String { "policy/\(id)" }
}

/// How a device stands to a policy. The raw values are part of stores.
public enum ComplianceState: UInt8, Hashable, Sendable, CaseIterable {
    case compliant = 1
    /// It is being re-applied.
    case violating = 2
    /// It was re-applied as often as allowed, and the device still violates it.
    case givenUp = 3
}

/// What is known of one device and one policy. A member without it has not reported yet.
public struct DeviceCompliance: Hashable, Sendable {
    public var device: DeviceID
    public var state: ComplianceState
    /// When the device began to comply or to violate.
    public var since: Timestamp
    public var reportedAt: Timestamp
    /// The version the device spoke of.
    public var version: String
    public var violations: [String]
    /// How often the policy was re-applied since the violation began.
    public var tries: Int32
    /// When it is re-applied next; `nil` unless violating.
    public var next: Timestamp?

    public init(
        device: DeviceID,
        state: ComplianceState,
        since: Timestamp,
        reportedAt: Timestamp,
        version: String,
        violations: [String] = [],
        tries: Int32 = 0,
        next: Timestamp? = nil
    ) {
        self.device = device
        self.state = state
        self.since = since
        self.reportedAt = reportedAt
        self.version = version
        self.violations = violations
        self.tries = tries
        self.next = next
    }
}

/// How many devices stand how.
public struct ComplianceCounts: Hashable, Sendable {
    public var compliant = 0
    public var violating = 0
    public var givenUp = 0
    /// Members that have not reported on the present version.
    public var unknown = 0

    public init() {}

    package subscript(state: ComplianceState) -> Int {
        get {
            switch state {
            case .compliant: compliant
            case .violating: violating
            case .givenUp: givenUp
            }
        }
        set {
            switch state {
            case .compliant: compliant = newValue
            case .violating: violating = newValue
            case .givenUp: givenUp = newValue
            }
        }
    }

    package var known: Int { compliant + violating + givenUp }
}

/// A policy as it stands.
public struct PolicyStanding: Hashable, Sendable {
    public var policy: CompliancePolicy
    /// The standing operation that hands it out.
    public var activity: ActivityID
    public var counts: ComplianceCounts

    public init(policy: CompliancePolicy, activity: ActivityID, counts: ComplianceCounts) {
        self.policy = policy
        self.activity = activity
        self.counts = counts
    }
}

/// Devices that are due to get one policy again.
public struct ReapplicationStep: Hashable, Sendable {
    /// A device and how often the policy was re-applied to it before.
    public struct Violator: Hashable, Sendable {
        public var device: DeviceID
        public var tries: Int32

        public init(device: DeviceID, tries: Int32) {
            self.device = device
            self.tries = tries
        }
    }

    public var tenant: TenantID
    public var policy: CompliancePolicy
    /// In order of device id.
    public var violators: [Violator]

    public init(tenant: TenantID, policy: CompliancePolicy, violators: [Violator]) {
        self.tenant = tenant
        self.policy = policy
        self.violators = violators
    }
}
