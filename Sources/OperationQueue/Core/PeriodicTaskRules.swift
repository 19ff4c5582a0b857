public import ClusterRole
public import DeviceRegistry

extension PeriodicTask {
    private var period: Int64 { max(frequency, Self.minimumFrequency).milliseconds }

    /// How long a report satisfies the task.
    public var satisfaction: Duration { freshness ?? frequency }

    /// The first due time of a device that joins, or that the task finds in its group, at `now`: its
    /// place in the period, by a stable hash of task and device; later if it has reported recently.
    ///
    /// - Parameters:
    ///   - device: the device.
    ///   - now: the present time; the due time is not before it.
    ///   - report: when the device last reported what satisfies the task; `nil` for never.
    public func firstDue(
        of device: DeviceID,
        at now: Timestamp,
        lastReport report: Timestamp?
    ) -> Timestamp {
        let place = Int64(stableHash(id.rawValue, device.rawValue) % UInt64(period))
        let first = begins.milliseconds + place
        let missed = max(0, now.milliseconds - first)
        let due = Timestamp(milliseconds: first + (missed + period - 1) / period * period)
        return report.map { max(due, $0 + satisfaction) } ?? due
    }

    /// The first due time behind `now` in step with `due`. Periods missed while nobody ran, or while
    /// the device was not asked, are made up by one.
    public func nextDue(after due: Timestamp, at now: Timestamp) -> Timestamp {
        let late = max(0, now.milliseconds - due.milliseconds)
        return due + .milliseconds((late / period + 1) * period)
    }

    /// The due time of a device that has reported what satisfies the task: never earlier than it was.
    public func due(_ due: Timestamp, afterReportAt received: Timestamp) -> Timestamp {
        max(due, received + satisfaction)
    }

    /// Whether `other` asks the same devices at the same times: such a definition replaces this one
    /// without touching due times.
    public func keepsTime(with other: PeriodicTask) -> Bool {
        group == other.group && frequency == other.frequency && satisfiedBy == other.satisfiedBy
            && satisfaction == other.satisfaction
    }
}

/// A hash of two texts that is the same on every node and for ever: FNV-1a in 64 bits over both with a
/// zero between, mixed as by MurmurHash3, because the low bits are used.
func stableHash(_ first: String, _ second: String) -> UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    func add(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    first.utf8.forEach(add)
    add(0)
    second.utf8.forEach(add)
    hash = (hash ^ (hash >> 33)) &* 0xFF51_AFD7_ED55_8CCD
    hash = (hash ^ (hash >> 33)) &* 0xC4CE_B9FE_1A85_EC53
    return hash ^ (hash >> 33)
}
