public import ClusterRole

/// Enrols devices: in process on a manager, over the link on a worker.
public protocol EnrolmentService: Sendable {
    /// Enrols a device, once its request has been admitted.
    ///
    /// - Throws: ``DeviceRegistryError`` with code `enrolmentRefused`, or what the administration
    ///   refuses.
    func enrol(_ request: EnrolmentRequest) async throws -> EnrolmentReceipt

    /// Ends the enrolment a device speaks for. Doing it again throws `unknownDevice`.
    func unenrol(_ device: DeviceIdentity) async throws
}

/// A device asks to be enrolled.
public struct EnrolmentRequest: Hashable, Sendable, CustomStringConvertible {
    public var tenant: TenantID
    public var device: DeviceID
    /// What the device shows to be admitted; the policy decides what it means.
    public var token: String
    /// Groups it wishes to join.
    public var groups: [GroupID]
    public var pollingFrequency: Duration?
    /// Repeat it when the answer was lost: the device then gets a new credential of the same
    /// enrolment.
    public var idempotencyKey: String?

    public init(
        tenant: TenantID = .standard,
        device: DeviceID,
        token: String,
        groups: [GroupID] = [],
        pollingFrequency: Duration? = nil,
        idempotencyKey: String? = nil
    ) {
        self.tenant = tenant
        self.device = device
        self.token = token
        self.groups = groups
        self.pollingFrequency = pollingFrequency
        self.idempotencyKey = idempotencyKey
    }

    /// Never the token.
    public var description: String { "EnrolmentRequest(\(tenant), \(device))" }
}

/// A device is enrolled.
public struct EnrolmentReceipt: Sendable {
    public var identity: DeviceIdentity
    /// Shown this once; only its digest is kept.
    public var credential: DeviceCredential
    public var pollingFrequency: Duration?
    /// The revision that contains the enrolment. A replica that covers it knows the credential.
    public var revision: Revision

    public init(
        identity: DeviceIdentity,
        credential: DeviceCredential,
        pollingFrequency: Duration?,
        revision: Revision
    ) {
        self.identity = identity
        self.credential = credential
        self.pollingFrequency = pollingFrequency
        self.revision = revision
    }
}

/// Decides who may enrol.
public protocol EnrolmentPolicy: Sendable {
    /// Called once a request, before anything is stored.
    func decide(on request: EnrolmentRequest) async throws -> EnrolmentDecision
}

/// What an ``EnrolmentPolicy`` says.
public enum EnrolmentDecision: Hashable, Sendable {
    /// Enrol it, into these groups, polling this often, for this end user if there is one.
    case admit(groups: [GroupID], pollingFrequency: Duration?, owner: OwnerID? = nil)
    case refuse(reason: String)
}

/// Admits whoever shows one secret.
public struct SharedSecretPolicy: EnrolmentPolicy, CustomStringConvertible {
    private let secret: CredentialDigest
    private let groups: Set<GroupID>?

    /// - Parameters:
    ///   - secret: what devices show.
    ///   - groups: the groups a device may wish for; `nil` for any.
    public init(secret: String, groups: Set<GroupID>? = nil) {
        self.secret = CredentialDigest(of: secret)
        self.groups = groups
    }

    public func decide(on request: EnrolmentRequest) async throws -> EnrolmentDecision {
        guard CredentialDigest(of: request.token) == secret else {
            return .refuse(reason: "The enrolment token is not valid.")
        }
        if let groups, let other = request.groups.first(where: { !groups.contains($0) }) {
            return .refuse(reason: "A device may not enrol itself into the group \(other).")
        }
        return .admit(groups: request.groups, pollingFrequency: request.pollingFrequency)
    }

    /// Never the secret.
    public var description: String { "SharedSecretPolicy(…)" }
}

/// Enrols devices that a policy admits, in process with the store.
public struct EnrolmentDesk: EnrolmentService {
    private let administration: DeviceAdministration
    private let policy: any EnrolmentPolicy
    private let initiator: String

    /// - Parameters:
    ///   - administration: what enrols.
    ///   - policy: asked about each request.
    ///   - initiator: who the devices' histories name for enrolments and removals through this desk.
    public init(
        administration: DeviceAdministration,
        policy: any EnrolmentPolicy,
        initiator: String = ""
    ) {
        self.administration = administration
        self.policy = policy
        self.initiator = initiator
    }

    public func enrol(_ request: EnrolmentRequest) async throws -> EnrolmentReceipt {
        switch try await policy.decide(on: request) {
        case .refuse(let reason):
            throw DeviceRegistryError(.enrolmentRefused, reason)
        case .admit(let groups, let frequency, let owner):
            return try await administration.enrol(
                request.device,
                groups: groups,
                pollingFrequency: frequency,
                owner: owner,
                key: request.idempotencyKey,
                by: initiator,
                tenant: request.tenant
            )
        }
    }

    public func unenrol(_ device: DeviceIdentity) async throws {
        try await administration.remove(
            device.device,
            incarnation: device.incarnation,
            by: initiator,
            tenant: device.tenant
        )
    }
}
