public import ClusterRole

/// Decides how fresh a device's last contact is: pure, from idle times.
public struct LivenessRule: Hashable, Sendable {
    /// Idle for longer than this, a device is ``Liveness/unreachable``.
    public var unreachableAfter: Duration
    /// Idle for longer than this, a device is ``Liveness/inactive``.
    public var inactiveAfter: Duration

    /// - Parameters:
    ///   - unreachableAfter: five minutes by default: five polls missed at the default frequency.
    ///   - inactiveAfter: an hour by default. Never less than `unreachableAfter`.
    public init(
        unreachableAfter: Duration = .seconds(300),
        inactiveAfter: Duration = .seconds(3_600)
    ) {
        self.unreachableAfter = unreachableAfter
        self.inactiveAfter = max(unreachableAfter, inactiveAfter)
    }

    /// - Parameters:
    ///   - lastSeen: the device's own last contact; for one that never came, its enrolment.
    ///   - now: the present time.
    public func liveness(lastSeen: Timestamp, at now: Timestamp) -> Liveness {
        let idle = now - lastSeen
        if idle > inactiveAfter { return .inactive }
        return idle > unreachableAfter ? .unreachable : .active
    }

    public func liveness(of device: Device, at now: Timestamp) -> Liveness {
        if device.row.state == .removed { return .inactive }
        return liveness(lastSeen: device.lastSeen ?? device.enrolledAt, at: now)
    }
}
