public import ClusterRole

/// What one property of a device is: text, a number, or yes and no.
public enum PropertyValue: Hashable, Sendable {
    case text(String)
    /// Always finite.
    case number(Double)
    case flag(Bool)
}

/// One property a device told of itself, such as `os.version`.
public struct DeviceProperty: Hashable, Sendable {
    /// Flat; what the device nested is joined with dots.
    public var name: String
    public var value: PropertyValue

    public init(name: String, value: PropertyValue) {
        self.name = name
        self.value = value
    }
}

/// Where a device was.
public struct DeviceLocation: Hashable, Sendable {
    /// Degrees, -90 to 90.
    public var latitude: Double
    /// Degrees, -180 to 180.
    public var longitude: Double
    /// Metres around the point, if the device said so.
    public var accuracy: Double?
    /// Metres above the sea, if the device said so.
    public var altitude: Double?
    /// By the device's own clock; when it was received, if the device did not say.
    public var recordedAt: Timestamp
    /// When a worker received it. History is in this order.
    public var receivedAt: Timestamp

    public init(
        latitude: Double,
        longitude: Double,
        accuracy: Double? = nil,
        altitude: Double? = nil,
        recordedAt: Timestamp,
        receivedAt: Timestamp
    ) {
        self.latitude = latitude
        self.longitude = longitude
        self.accuracy = accuracy
        self.altitude = altitude
        self.recordedAt = recordedAt
        self.receivedAt = receivedAt
    }
}

/// An application on a device.
public struct InstalledApplication: Hashable, Sendable {
    /// As its platform names it: `com.example.till`. Unique on a device.
    public var identifier: String
    /// Empty if the device did not say.
    public var version: String
    /// What people call it; empty if the device did not say.
    public var name: String

    public init(identifier: String, version: String = "", name: String = "") {
        self.identifier = identifier
        self.version = version
        self.name = name
    }
}

/// The typed form of one ``DeviceInformation``.
public enum TypedInformation: Hashable, Sendable {
    /// In order of name, each name once.
    case properties([DeviceProperty])
    case location(DeviceLocation)
    /// In order of identifier, each once.
    case applications([InstalledApplication])
}

/// What is known of a device in typed form.
public struct DeviceProfile: Hashable, Sendable {
    /// In order of name.
    public var properties: [DeviceProperty]
    /// The newest one; ``DeviceFactsReader/locations(of:before:limit:tenant:)`` gives those before it.
    public var location: DeviceLocation?
    /// In order of identifier.
    public var applications: [InstalledApplication]

    public init(
        properties: [DeviceProperty] = [],
        location: DeviceLocation? = nil,
        applications: [InstalledApplication] = []
    ) {
        self.properties = properties
        self.location = location
        self.applications = applications
    }
}

/// Bounds of typed information. A document beyond them is kept as JSON only.
public enum InformationLimits: Sendable {
    /// Properties of one device: each is a row, and a query looks at few.
    public static let properties = 256
    /// Bytes of a property's name, as of every name in an index.
    public static let nameBytes = maximumNameLength
    /// Bytes of a property's text: it stands in an index.
    public static let textBytes = 1_024
    /// Applications of one device: more than a phone holds.
    public static let applications = 2_000
    /// Bytes of an application's identifier, version or name.
    public static let applicationBytes = maximumNameLength
    /// Locations kept of one device: a day at four an hour.
    public static let locationHistory = 100
    /// Entries of history kept of one device: years of re-enrolments, or a week of a flapping link.
    public static let history = 200
}
