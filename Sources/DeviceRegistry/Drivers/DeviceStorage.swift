public import ClusterRole

/// Reads devices and groups. Managers and in-process workers hold one.
public protocol DeviceReader: DeviceFactsReader {
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
    /// What defines its members; `nil` for a group that is kept by list.
    public var query: DeviceQuery?
    /// Whether every device has been compared with the query. Until then members of before may be
    /// left, and others missing.
    public var isSettled: Bool
    /// How often its members poll by themselves, unless their own row or a shorter frequency of another
    /// group says otherwise; `nil` for no wish.
    public var pollingFrequency: Duration?

    public init(
        group: GroupID,
        members: Int,
        query: DeviceQuery? = nil,
        isSettled: Bool = true,
        pollingFrequency: Duration? = nil
    ) {
        self.group = group
        self.members = members
        self.query = query
        self.isSettled = isSettled
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
    /// Ends a device's enrolment and its memberships. A removed device can still be erased; the
    /// receipt counts it as changed if there was something to erase.
    case remove(DeviceID, erase: Erasure = .keepHistory, by: String = "")
    /// Adds devices to a group, making the group if it is new. Unknown and removed devices are
    /// skipped and counted; members are left as they are.
    ///
    /// It throws ``DeviceRegistryError`` with code `dynamicGroup` for a group defined by a query, as
    /// ``leave(_:_:)`` and an enrolment into one do.
    case join(GroupID, [DeviceID])
    /// Takes devices out of a group. Devices that are not in it are skipped.
    case leave(GroupID, [DeviceID])
    /// How often the device polls; `nil` for the product's default.
    case setPollingFrequency(DeviceID, Duration?, by: String = "")
    /// Who owns an enrolled device; `nil` for nobody. It takes no revision: no replica holds owners. Removing
    /// a device and enrolling it anew end it.
    case setOwner(DeviceID, OwnerID?, by: String = "")
    /// How often a group's members poll that have no frequency of their own; `nil` for no wish of the
    /// group's. A group nobody ever made is counted as unknown; ``GroupID/everyone`` always exists. It
    /// logs `ChangeKey.group(tenant:name:)` and touches no device's row.
    case setGroupPollingFrequency(GroupID, Duration?)
    /// Defines a group's members by a valid query, making the group if it is new; with `nil` it is kept
    /// by list again and its members stay. From here on each change to a device decides on it at once;
    /// devices that do not change wait for ``evaluate(_:limit:)``.
    ///
    /// It throws ``DeviceRegistryError`` with code `dynamicGroup` if the query names a group that is
    /// defined by one, if another group's query names this one, or beyond
    /// ``maximumDynamicGroups``.
    case define(GroupID, as: DeviceQuery?)
    /// Compares the next devices, at most `limit`, with a group's query and moves its cursor. The
    /// receipt counts them.
    case evaluate(GroupID, limit: Int)
    /// Records how fresh devices are, unless they have made contact since that was judged.
    case recordLiveness([LivenessChange])
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
    /// Who asked for it, for the device's history.
    public var initiator: String
    /// The end user it belongs to from the start. A repetition with the key leaves the owner alone.
    public var owner: OwnerID?

    public init(
        device: DeviceID,
        incarnation: IncarnationID,
        credential: CredentialDigest,
        groups: [GroupID] = [],
        pollingFrequency: Duration? = nil,
        key: String? = nil,
        initiator: String = "",
        owner: OwnerID? = nil
    ) {
        self.device = device
        self.incarnation = incarnation
        self.credential = credential
        self.groups = groups
        self.pollingFrequency = pollingFrequency
        self.key = key
        self.initiator = initiator
        self.owner = owner
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
    /// How many devices `evaluate` compared.
    public var evaluated: Int
    /// After `define` and `evaluate`: whether the group has been compared with every device.
    public var isSettled: Bool

    public init(
        revision: Revision,
        row: DeviceRow? = nil,
        changed: Int,
        unknown: Int = 0,
        evaluated: Int = 0,
        isSettled: Bool = true
    ) {
        self.revision = revision
        self.row = row
        self.changed = changed
        self.unknown = unknown
        self.evaluated = evaluated
        self.isSettled = isSettled
    }
}
