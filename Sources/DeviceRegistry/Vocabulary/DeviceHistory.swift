public import ClusterRole

/// Something that happened to a device. It may grow.
public struct DeviceEvent: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public var description: String { rawValue }

    /// Enrolled for the first time; the detail is the incarnation.
    public static let enrolled = DeviceEvent(rawValue: "enrolled")
    /// Enrolled anew; the detail is the new incarnation.
    public static let reEnrolled = DeviceEvent(rawValue: "re-enrolled")
    /// An enrolment was repeated with its key: the device got another credential.
    public static let credentialReplaced = DeviceEvent(rawValue: "credential-replaced")
    public static let removed = DeviceEvent(rawValue: "removed")
    /// What it had told of itself was deleted.
    public static let erased = DeviceEvent(rawValue: "erased")
    /// It made contact again.
    public static let becameActive = DeviceEvent(rawValue: "became-active")
    public static let becameUnreachable = DeviceEvent(rawValue: "became-unreachable")
    public static let becameInactive = DeviceEvent(rawValue: "became-inactive")
    /// The detail is the new frequency in milliseconds, or `default`.
    public static let pollingChanged = DeviceEvent(rawValue: "polling-changed")
    /// The detail is the new owner, or `none`.
    public static let ownerChanged = DeviceEvent(rawValue: "owner-changed")

    /// The event of a device that became this.
    package static func became(_ liveness: Liveness) -> DeviceEvent {
        switch liveness {
        case .active: .becameActive
        case .unreachable: .becameUnreachable
        case .inactive: .becameInactive
        }
    }
}

/// One entry of a device's history. It belongs to the device's name, across its enrolments.
public struct DeviceHistoryEntry: Hashable, Sendable {
    /// Grows by one with each entry of the device.
    public var number: Int64
    public var at: Timestamp
    /// Who asked for it, as the caller named it; empty if nobody did or it was not said.
    public var who: String
    public var what: DeviceEvent
    public var detail: String

    public init(
        number: Int64,
        at: Timestamp,
        who: String = "",
        what: DeviceEvent,
        detail: String = ""
    ) {
        self.number = number
        self.at = at
        self.who = who
        self.what = what
        self.detail = detail
    }
}

/// What happens to a removed device's information.
public enum Erasure: String, Hashable, Sendable, Codable, CaseIterable {
    /// All is kept, to be looked up later.
    case keepHistory
    /// What it told of itself is deleted in the same transaction: information, properties, locations,
    /// applications, push registration, last contact. Its name, its incarnations and its history
    /// stay.
    case information
}

/// How many enrolled devices of a tenant are how fresh, as last recorded.
public struct LivenessCounts: Hashable, Sendable {
    public var active: Int
    public var unreachable: Int
    public var inactive: Int

    public init(active: Int = 0, unreachable: Int = 0, inactive: Int = 0) {
        self.active = active
        self.unreachable = unreachable
        self.inactive = inactive
    }

    public subscript(liveness: Liveness) -> Int {
        get {
            switch liveness {
            case .active: active
            case .unreachable: unreachable
            case .inactive: inactive
            }
        }
        set {
            switch liveness {
            case .active: active = newValue
            case .unreachable: unreachable = newValue
            case .inactive: inactive = newValue
            }
        }
    }
}

/// What is recorded of an enrolled device's contacts: what ``LivenessTask`` judges by.
public struct RecordedContact: Hashable, Sendable {
    public var identity: DeviceIdentity
    /// The device's own last contact; its enrolment before the first.
    public var lastSeen: Timestamp
    /// What it was last recorded as.
    public var liveness: Liveness

    public init(identity: DeviceIdentity, lastSeen: Timestamp, liveness: Liveness) {
        self.identity = identity
        self.lastSeen = lastSeen
        self.liveness = liveness
    }
}

/// A page of recorded contacts.
public struct RecordedContactPage: Hashable, Sendable {
    public var contacts: [RecordedContact]
    /// Pass it as `after` for the next page; `nil` on the last one.
    public var next: Int64?

    public init(contacts: [RecordedContact], next: Int64?) {
        self.contacts = contacts
        self.next = next
    }
}

/// A judgement to record: that a device which had last been seen then is now this.
public struct LivenessChange: Hashable, Sendable {
    public var identity: DeviceIdentity
    /// What was judged. If the device has made contact since, nothing is recorded.
    public var lastSeen: Timestamp
    public var liveness: Liveness

    public init(identity: DeviceIdentity, lastSeen: Timestamp, liveness: Liveness) {
        self.identity = identity
        self.lastSeen = lastSeen
        self.liveness = liveness
    }
}
