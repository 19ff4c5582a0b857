/// How much a tenant may have at once; `nil` sets no bound.
///
/// A bound that is lowered below what the tenant has takes nothing away: it stops more.
public struct TenantQuota: Hashable, Sendable {
    /// Enrolled devices.
    public var devices: Int?
    /// Activities that are open, or of which a device has work in hand.
    public var openActivities: Int?
    /// Requests enqueued in a minute, averaged: a tenant that was quiet may send a minute's at once.
    public var enqueuesPerMinute: Int?
    /// Open operations that name one device. Operations to groups do not count: they take no row a
    /// device.
    public var namedOperationsPerDevice: Int?

    public init(
        devices: Int? = nil,
        openActivities: Int? = nil,
        enqueuesPerMinute: Int? = nil,
        namedOperationsPerDevice: Int? = nil
    ) {
        self.devices = devices
        self.openActivities = openActivities
        self.enqueuesPerMinute = enqueuesPerMinute
        self.namedOperationsPerDevice = namedOperationsPerDevice
    }

    /// No bound at all.
    public static let unlimited = TenantQuota()

    /// Whether every bound is usable: not negative.
    public var isValid: Bool {
        [devices, openActivities, enqueuesPerMinute, namedOperationsPerDevice]
            .allSatisfy { $0 ?? 0 >= 0 }
    }
}

/// What of a ``TenantQuota`` is used.
public struct QuotaUsage: Hashable, Sendable {
    /// Enrolled devices.
    public var devices: Int
    /// Live activities; `nil` while no quota bounds them, since they are then not counted.
    public var openActivities: Int?

    public init(devices: Int, openActivities: Int?) {
        self.devices = devices
        self.openActivities = openActivities
    }
}

extension DeviceRegistryError {
    /// The tenant has all devices it may have.
    package static func quotaExceeded(devices limit: Int) -> DeviceRegistryError {
        DeviceRegistryError(
            .quotaExceeded,
            "This tenant may have \(limit) enrolled devices and has them. Remove some, or have its quota "
                + "raised; then enrol again.",
            retryAfter: .seconds(3_600)
        )
    }
}
