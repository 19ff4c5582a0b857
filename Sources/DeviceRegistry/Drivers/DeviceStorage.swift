public import ClusterRole

/// Reads devices and groups. Managers and in-process workers hold one.
public protocol DeviceReader: Sendable {
    /// One device with what is known of it, or `nil`.
    func device(_ id: DeviceID, tenant: TenantID) async throws -> Device?

    /// The enrolled device whose credential has this digest, or `nil`.
    func device(credential: CredentialDigest) async throws -> DeviceRow?

    /// Devices in order of id, after `after`. With a group: its present members only.
    ///
    /// - Parameters:
    ///   - group: present members of this group only; `nil` for all devices.
    ///   - after: only ids behind it; `nil` begins at the first.
    ///   - limit: at most ``maximumPageSize``.
    ///   - tenant: the tenant whose devices are listed.
    func devices(
        in group: GroupID?,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Device]

    /// Groups with the number of their present members, in order of name.
    func groups(tenant: TenantID) async throws -> [GroupSummary]

    /// What a device last said, by kind, in order of kind.
    func information(of device: DeviceID, tenant: TenantID) async throws -> [DeviceInformation]
}

/// The most rows a page of any query holds, so that no answer grows with the fleet.
public let maximumPageSize = 1_000

/// A group and how many devices are in it now.
public struct GroupSummary: Hashable, Sendable {
    public var group: GroupID
    public var members: Int
    /// How often its members poll by themselves, unless their own row or a shorter frequency of another
    /// group says otherwise; `nil` for no wish.
    public var pollingFrequency: Duration?

    public init(group: GroupID, members: Int, pollingFrequency: Duration? = nil) {
        self.group = group
        self.members = members
        self.pollingFrequency = pollingFrequency
    }
}

/// Stores devices and groups: the driver protocol.
///
/// Drivers are dumb: policy, validation and randomness live in the façades. Every guarded write
/// compares `epoch` inside its own transaction and throws `ClusterRoleError.fenced(current:)`.
public protocol DeviceStorage: DeviceReader {
    /// Applies one change in one transaction; returns what it did and the revision that contains it.
    ///
    /// Each change logs the keys of the rows it touched (`ChangeKey.device(tenant:id:)`,
    /// `ChangeKey.membership(tenant:group:device:)`).
    func commit(
        _ change: DeviceChange,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> DeviceChangeReceipt
}

/// One guarded change to devices or groups.
public enum DeviceChange: Hashable, Sendable {
    /// Enrols a device, or re-enrols it as a new incarnation. A repeated `key` of the present
    /// incarnation only replaces the credential: the caller did not get the first answer.
    case enrol(EnrolmentRecord)
    /// Ends a device's enrolment and its memberships.
    case remove(DeviceID)
    /// Adds devices to a group, making the group if it is new. Unknown and removed devices are
    /// skipped and counted; members are left as they are.
    case join(GroupID, [DeviceID])
    /// Takes devices out of a group. Devices that are not in it are skipped.
    case leave(GroupID, [DeviceID])
    /// How often the device polls; `nil` for the product's default.
    case setPollingFrequency(DeviceID, Duration?)
    /// How often a group's members poll that have no frequency of their own; `nil` for no wish of the
    /// group's. A group nobody ever made is counted as unknown; ``GroupID/everyone`` always exists. It
    /// logs `ChangeKey.group(tenant:name:)` and touches no device's row.
    case setGroupPollingFrequency(GroupID, Duration?)
}

/// What ``DeviceChange/enrol(_:)`` stores.
public struct EnrolmentRecord: Hashable, Sendable {
    public var device: DeviceID
    /// The incarnation to use if this is a new enrolment.
    public var incarnation: IncarnationID
    public var credential: CredentialDigest
    /// Groups joined at once, beside ``GroupID/everyone``.
    public var groups: [GroupID]
    public var pollingFrequency: Duration?
    /// The caller's idempotency key.
    public var key: String?

    public init(
        device: DeviceID,
        incarnation: IncarnationID,
        credential: CredentialDigest,
        groups: [GroupID] = [],
        pollingFrequency: Duration? = nil,
        key: String? = nil
    ) {
        self.device = device
        self.incarnation = incarnation
        self.credential = credential
        self.groups = groups
        self.pollingFrequency = pollingFrequency
        self.key = key
    }
}

/// What a ``DeviceChange`` did.
public struct DeviceChangeReceipt: Hashable, Sendable {
    public var revision: Revision
    /// The device's row after `enrol` and `setPollingFrequency`.
    public var row: DeviceRow?
    /// How many devices the change touched; 0 means that nothing was there to change.
    public var changed: Int
    /// How many named devices are not enrolled.
    public var unknown: Int

    public init(revision: Revision, row: DeviceRow? = nil, changed: Int, unknown: Int = 0) {
        self.revision = revision
        self.row = row
        self.changed = changed
        self.unknown = unknown
    }
}
