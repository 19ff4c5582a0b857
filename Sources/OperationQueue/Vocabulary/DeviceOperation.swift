public import ClusterRole
public import DeviceRegistry

/// All executions of one request.
public struct ActivityID: RandomIdentifier {
    private let stored: IdentifierBits
    public init(bits: UInt128) { stored = IdentifierBits(bits) }
    public var bits: UInt128 { stored.value }
}

/// One operation: what is asked.
public struct OperationID: RandomIdentifier {
    private let stored: IdentifierBits
    public init(bits: UInt128) { stored = IdentifierBits(bits) }
    public var bits: UInt128 { stored.value }
}

/// One handing-out of an operation to a device.
public struct AttemptID: RandomIdentifier {
    private let stored: IdentifierBits
    public init(bits: UInt128) { stored = IdentifierBits(bits) }
    public var bits: UInt128 { stored.value }
}

/// What a device is asked to do, by name: `lock`, `install`, `device-information`.
public struct OperationCode: NameIdentifier {
    public static let noun = "operation code"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }

    /// Asks the device to report its information (`InformationKind`).
    public static let deviceInformation = OperationCode(rawValue: "device-information")
}

/// The kind of an operation.
public enum OperationType: String, Hashable, Sendable, Codable, CaseIterable {
    /// Do something now.
    case command
    /// Take these settings.
    case config
    /// Install this profile.
    case profile
    /// Comply with this policy.
    case policy
    /// Bytes the library does not interpret.
    case opaque
}

/// What is asked of a device. It does not change once enqueued.
public struct DeviceOperation: Hashable, Sendable {
    public var id: OperationID
    public var activity: ActivityID
    /// Given when it commits; it grows. Order means (priority descending, number).
    public var number: Int64
    public var code: OperationCode
    public var type: OperationType
    /// What the device gets, as the enqueuer gave it.
    public var payload: [UInt8]
    /// Higher is offered first; 0 unless said.
    public var priority: Int32
    /// Whether open work of any state ahead of it blocks it.
    public var order: OrderRule
    /// After this nothing is handed out any more; the activity closes as expired.
    public var expiresAt: Timestamp?
    /// How long a handed-out operation is withheld from plain polls.
    public var deliveryLease: Duration
    public var createdAt: Timestamp
    public var terms: OperationTerms {
        get { boxed.terms }
        set { boxed = TermsBox(newValue) }
    }
    /// Terms are large, and the same for all copies of an operation, of which an exchange makes many.
    private var boxed: TermsBox

    public init(
        id: OperationID,
        activity: ActivityID,
        number: Int64,
        code: OperationCode,
        type: OperationType = .command,
        payload: [UInt8] = [],
        priority: Int32 = 0,
        order: OrderRule = .skipsWaiting,
        expiresAt: Timestamp? = nil,
        deliveryLease: Duration = .seconds(60),
        createdAt: Timestamp,
        terms: OperationTerms = .standard
    ) {
        self.id = id
        self.activity = activity
        self.number = number
        self.code = code
        self.type = type
        self.payload = payload
        self.priority = priority
        self.order = order
        self.expiresAt = expiresAt
        self.deliveryLease = deliveryLease
        self.createdAt = createdAt
        boxed = TermsBox(terms)
    }

    /// Whether `self` is offered before `other`.
    public func precedes(_ other: DeviceOperation) -> Bool {
        priority != other.priority ? priority > other.priority : number < other.number
    }
}

/// Terms that copies of an operation share.
private final class TermsBox: Hashable, Sendable {
    let terms: OperationTerms

    init(_ terms: OperationTerms) { self.terms = terms }

    static func == (left: TermsBox, right: TermsBox) -> Bool {
        left === right || left.terms == right.terms
    }

    func hash(into hasher: inout Hasher) { hasher.combine(terms) }
}

/// Whether work ahead that only waits (deferred, awaiting confirmation, outside its time) is passed by.
public enum OrderRule: UInt8, Hashable, Sendable, Codable {
    /// Waiting work ahead is passed by; delivered and running work blocks.
    case skipsWaiting = 0
    /// While this operation waits, nothing behind it is offered.
    case strict = 1
}

/// Whom an operation addresses.
public enum OperationTarget: Hashable, Sendable {
    /// Devices by name, as enrolled at commit. Unknown and removed ones are counted, not addressed.
    case devices([DeviceID])
    /// The members of a group, by ``OperationTerms/scope``: those of now, or also those who join. One
    /// row, whatever the group's size.
    case group(GroupID)

    /// The group, if it is one.
    public var group: GroupID? {
        if case .group(let group) = self { group } else { nil }
    }
}

extension ActivityID {
    /// The place of a device in the order in which this activity is rolled out: 0…9,999, evenly spread,
    /// and the same on every node.
    ///
    /// The 64-bit FNV-1a hash (draft-eastlake-fnv) of the id's 16 big-endian bytes and the device id,
    /// finished by the mixing step of MurmurHash3, scaled to the range.
    public func rank(of device: DeviceID) -> Int32 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        func add(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        withUnsafeBytes(of: bits.bigEndian) { $0.forEach(add) }
        device.rawValue.utf8.forEach(add)
        hash ^= hash >> 33
        hash &*= 0xff51_afd7_ed55_8ccd
        hash ^= hash >> 33
        return Int32(hash.multipliedFullWidth(by: UInt64(RolloutPlan.everyone)).high)
    }
}
