#if Server
public import ClusterRole
public import DeviceRegistry

/// A device asks a worker to be enrolled, and the worker asks the manager.
public struct LinkEnrolment: Sendable, Codable {
    public var tenant: String
    public var device: String
    /// What the device showed. A secret; never logged.
    public var token: String
    public var groups: [String]
    public var pollingMilliseconds: Int64?
    public var idempotencyKey: String?

    public init(_ request: EnrolmentRequest) {
        tenant = request.tenant.rawValue
        device = request.device.rawValue
        token = request.token
        groups = request.groups.map(\.rawValue)
        pollingMilliseconds = request.pollingFrequency?.milliseconds
        idempotencyKey = request.idempotencyKey
    }

    /// The request.
    ///
    /// - Throws: ``ClusterTransportError`` with code `tooLarge`; `ClusterRoleError` with `invalidName`.
    public func request(maximumGroups: Int) throws -> EnrolmentRequest {
        guard groups.count <= maximumGroups else {
            throw ClusterTransportError(
                .tooLarge,
                "An enrolment names at most \(maximumGroups) groups."
            )
        }
        return EnrolmentRequest(
            tenant: try TenantID(validating: tenant),
            device: try DeviceID(validating: device),
            token: token,
            groups: try groups.map { try GroupID(validating: $0) },
            pollingFrequency: pollingMilliseconds.map { .milliseconds($0) },
            idempotencyKey: idempotencyKey
        )
    }
}

/// A device is enrolled: the answer to ``LinkEnrolment``.
public struct LinkEnrolmentReceipt: Sendable, Codable {
    public var tenant: String
    public var device: String
    public var incarnation: IncarnationID
    /// The device's credential, shown this once. A secret; never logged.
    public var credential: String
    public var pollingMilliseconds: Int64?
    public var revision: Revision

    public init(_ receipt: EnrolmentReceipt) {
        tenant = receipt.identity.tenant.rawValue
        device = receipt.identity.device.rawValue
        incarnation = receipt.identity.incarnation
        credential = receipt.credential.token
        pollingMilliseconds = receipt.pollingFrequency?.milliseconds
        revision = receipt.revision
    }

    /// The receipt.
    public func receipt() throws -> EnrolmentReceipt {
        EnrolmentReceipt(
            identity: DeviceIdentity(
                tenant: try TenantID(validating: tenant),
                device: try DeviceID(validating: device),
                incarnation: incarnation
            ),
            credential: DeviceCredential(presented: credential),
            pollingFrequency: pollingMilliseconds.map { .milliseconds($0) },
            revision: revision
        )
    }
}
#endif
