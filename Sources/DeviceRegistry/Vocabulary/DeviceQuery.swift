internal import ClusterRole

/// What devices are asked for: a small, typed predicate over what is known of one device.
///
/// ```swift
/// let query = try DeviceQuery(parsing: #"os.version >= "17" and installed "com.example.till""#)
/// ```
///
/// A comparison with a property the device never told is false, `!=` included; put `not` before a
/// comparison to find those too. ``init(parsing:)`` documents the text form, which is also how a query is
/// encoded.
public indirect enum DeviceQuery: Hashable, Sendable {
    /// A property compared with a value. See ``Comparison`` for what compares with what.
    case property(String, Comparison, PropertyValue)
    /// The device told this property, whatever it is.
    case exists(String)
    /// The application with this identifier is installed, in a version that compares so.
    case installed(String, VersionBound?)
    /// The device is in this group now. A group that is defined by a query itself cannot be named in the
    /// definition of another.
    case member(of: GroupID)
    /// The polling frequency the device was given; false for one with the product's default.
    case polling(Comparison, Duration)
    /// As last recorded. It cannot define a group: members would come and go with each contact.
    case liveness(Liveness)
    /// All of them; true if there are none.
    case and([DeviceQuery])
    /// One of them at least; false if there are none.
    case or([DeviceQuery])
    case not(DeviceQuery)

    /// How two values compare.
    ///
    /// Numbers compare with numbers, texts with texts, and yes or no only for equality; a pair of
    /// different types is different and neither less nor greater. Two texts that are dotted numbers
    /// compare number by number, so that `"9.1"` is less than `"17"`, and `"17"` neither less nor
    /// greater than `"17.0"`; others compare by their bytes of UTF-8. Equality is exact.
    public enum Comparison: String, Hashable, Sendable, CaseIterable {
        case equals = "="
        case notEquals = "!="
        case less = "<"
        case lessOrEqual = "<="
        case greater = ">"
        case greaterOrEqual = ">="
        /// Texts only.
        case hasPrefix = "prefix"
    }

    /// A comparison with a version.
    public struct VersionBound: Hashable, Sendable {
        public var comparison: Comparison
        public var version: String

        public init(_ comparison: Comparison, _ version: String) {
            self.comparison = comparison
            self.version = version
        }
    }

    /// Something a query looks at. When it changes, so may the answer.
    public enum Subject: Hashable, Sendable {
        case property(String)
        case application(String)
        case group(GroupID)
        case polling
        case liveness
    }

    /// The longest text form, in bytes: it stands in a row.
    public static let maximumTextBytes = 4_096
    /// The deepest nesting of `and`, `or`, `not` and parentheses.
    public static let maximumDepth = 16
    /// The most comparisons and connectives: evaluating one device reads a row for each.
    public static let maximumNodes = 64
}

/// What a query looks at in one device. Only what the query's ``DeviceQuery/subjects`` name needs to be
/// there.
public struct DeviceFacts: Hashable, Sendable {
    public var properties: [String: PropertyValue]
    /// Versions by identifier.
    public var applications: [String: String]
    /// Groups it is in now.
    public var groups: Set<GroupID>
    public var pollingFrequency: Duration?
    public var liveness: Liveness

    public init(
        properties: [String: PropertyValue] = [:],
        applications: [String: String] = [:],
        groups: Set<GroupID> = [],
        pollingFrequency: Duration? = nil,
        liveness: Liveness = .active
    ) {
        self.properties = properties
        self.applications = applications
        self.groups = groups
        self.pollingFrequency = pollingFrequency
        self.liveness = liveness
    }
}
