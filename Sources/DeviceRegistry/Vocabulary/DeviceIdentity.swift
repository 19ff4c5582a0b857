public import ClusterRole

/// The name a product gives a device: a serial number, a UDID. Unique in its tenant.
public struct DeviceID: NameIdentifier {
    public static let noun = "device id"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}

/// The name of a group of devices. Unique in its tenant.
public struct GroupID: NameIdentifier {
    public static let noun = "group name"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }

    /// The group every device joins when it enrols and leaves when it is removed. It cannot be
    /// changed by hand.
    public static let everyone = GroupID(rawValue: "everyone")
}

/// Whether a device belongs to the fleet.
public enum EnrolmentState: UInt8, Hashable, Sendable, Codable, CaseIterable {
    /// It may exchange and is addressed by operations.
    case enrolled = 1
    /// It has left. Its credential is refused; its history is kept.
    case removed = 2
}

/// How fresh a device's last contact is. Only the device's own contact counts.
public enum Liveness: String, Hashable, Sendable, Codable, CaseIterable {
    case active, unreachable, inactive
}

/// A device that has proved who it is: what an authenticator returns and every later call takes.
public struct DeviceIdentity: Hashable, Sendable {
    public let tenant: TenantID
    public let device: DeviceID
    /// The enrolment it speaks for. Work of another enrolment is not its own.
    public let incarnation: IncarnationID

    public init(tenant: TenantID, device: DeviceID, incarnation: IncarnationID) {
        self.tenant = tenant
        self.device = device
        self.incarnation = incarnation
    }
}

/// What a replica holds of a device, and all that a worker needs to serve it.
public struct DeviceRow: Hashable, Sendable {
    public var tenant: TenantID
    public var id: DeviceID
    public var incarnation: IncarnationID
    public var state: EnrolmentState
    public var credential: CredentialDigest
    /// How often the device polls by itself; `nil` for the product's default.
    public var pollingFrequency: Duration?

    public init(
        tenant: TenantID,
        id: DeviceID,
        incarnation: IncarnationID,
        state: EnrolmentState,
        credential: CredentialDigest,
        pollingFrequency: Duration? = nil
    ) {
        self.tenant = tenant
        self.id = id
        self.incarnation = incarnation
        self.state = state
        self.credential = credential
        self.pollingFrequency = pollingFrequency
    }

    public var identity: DeviceIdentity {
        DeviceIdentity(tenant: tenant, device: id, incarnation: incarnation)
    }

    /// What is said of a device that is known no more: it is removed.
    package static func forgotten(_ id: DeviceID, tenant: TenantID) -> DeviceRow {
        DeviceRow(
            tenant: tenant,
            id: id,
            incarnation: IncarnationID(bits: 0),
            state: .removed,
            credential: CredentialDigest(high: 0, low: 0)
        )
    }
}

/// A device as managers see it.
public struct Device: Hashable, Sendable {
    public var row: DeviceRow
    public var enrolledAt: Timestamp
    public var removedAt: Timestamp?
    /// The device's own last contact; `nil` before the first.
    public var lastSeen: Timestamp?
    public var push: PushRegistration?
    /// The end user it belongs to, if any.
    public var owner: OwnerID?
    /// Since when it belongs to its owner.
    public var ownedSince: Timestamp?

    public init(
        row: DeviceRow,
        enrolledAt: Timestamp,
        removedAt: Timestamp? = nil,
        lastSeen: Timestamp? = nil,
        push: PushRegistration? = nil,
        owner: OwnerID? = nil,
        ownedSince: Timestamp? = nil
    ) {
        self.row = row
        self.enrolledAt = enrolledAt
        self.removedAt = removedAt
        self.lastSeen = lastSeen
        self.push = push
        self.owner = owner
        self.ownedSince = ownedSince
    }

    public var id: DeviceID { row.id }
}

/// A device's stay in a group, from one revision up to, not including, another.
///
/// An operation as of now addresses a member when `joined <= number < left`.
public struct Membership: Hashable, Sendable {
    public var group: GroupID
    public var device: DeviceID
    public var incarnation: IncarnationID
    /// The revision number that began it.
    public var joined: Int64
    /// The revision number that ended it; `nil` while it lasts.
    public var left: Int64?

    public init(
        group: GroupID,
        device: DeviceID,
        incarnation: IncarnationID,
        joined: Int64,
        left: Int64? = nil
    ) {
        self.group = group
        self.device = device
        self.incarnation = incarnation
        self.joined = joined
        self.left = left
    }

    public func contains(_ number: Int64) -> Bool {
        joined <= number && left.map { number < $0 } ?? true
    }
}

/// Where to reach a device with a wake-up. A secret: encrypted at rest, never logged.
public struct PushRegistration: Hashable, Sendable, CustomStringConvertible {
    /// The transport that understands `address`: `http`, `apns`, …
    public var transport: String
    /// A token or URL, as the transport defines it. At most ``maximumAddressBytes`` of UTF-8.
    public var address: String
    /// When the device gave it. A newer one replaces an older one.
    public var registeredAt: Timestamp

    public static let maximumAddressBytes = 4_096

    public init(transport: String, address: String, registeredAt: Timestamp) {
        self.transport = transport
        self.address = address
        self.registeredAt = registeredAt
    }

    /// Names the transport only.
    public var description: String { "PushRegistration(\(transport))" }
}

/// A kind of information a device gives about itself.
public struct InformationKind: NameIdentifier {
    public static let noun = "information kind"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }

    public static let properties = InformationKind(rawValue: "properties")
    public static let location = InformationKind(rawValue: "location")
    public static let applications = InformationKind(rawValue: "applications")
}

/// What a device last said about itself, by kind.
public struct DeviceInformation: Hashable, Sendable {
    public var kind: InformationKind
    /// A JSON document, as the device sent it.
    public var body: [UInt8]
    public var receivedAt: Timestamp

    public init(kind: InformationKind, body: [UInt8], receivedAt: Timestamp) {
        self.kind = kind
        self.body = body
        self.receivedAt = receivedAt
    }
}
