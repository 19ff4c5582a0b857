public import ClusterRole
internal import Synchronization

/// Where the offsets of time zones come from.
///
/// Asked once for each operation with a maintenance window, by who enqueues it; see
/// ``MaintenanceWindow``. ``SystemTimeZones`` reads the machine's data, ``FixedTimeZones`` is told.
public protocol TimeZoneSource: Sendable {
    /// The offsets of a zone over a span of time.
    ///
    /// - Parameters:
    ///   - zone: An IANA name, for instance `Europe/Berlin`. It may be anything: refuse what is not one.
    ///   - from: The span's beginning.
    ///   - through: The span's end.
    /// - Returns: The offset in force at `from`, with `.distantPast` for its beginning, and each change
    ///   until `through`, ascending; at most ``MaintenanceWindow/maximumOffsets``.
    /// - Throws: ``OperationQueueError`` with code `invalidRequest` for a zone that is not known and for
    ///   a span with too many changes.
    func offsets(
        of zone: String,
        from: Timestamp,
        through: Timestamp
    ) throws(OperationQueueError) -> [ZoneOffset]
}

extension MaintenanceWindow {
    /// How far ahead a zone is resolved at most: nobody knows the laws of the years behind it.
    public static let maximumHorizon = Duration.seconds(10 * 366 * 86_400)
    /// An opening before the span and one behind it count too, each with its days.
    private static let margin = Duration.seconds(16 * 86_400)

    /// A window whose zone is looked up.
    ///
    /// - Parameters:
    ///   - days: The days on which it opens, at least one.
    ///   - start: Minutes after local midnight, 0…1439.
    ///   - duration: One minute to seven days.
    ///   - zone: The IANA name of the zone, for instance `Europe/Berlin`.
    ///   - from: When the operation is enqueued.
    ///   - through: Until when it may be open. At most ``maximumHorizon`` behind `from` is looked up;
    ///     behind that the last offset stands.
    ///   - source: Where the offsets come from.
    /// - Throws: ``OperationQueueError`` with code `invalidRequest`, naming what is wrong and what to
    ///   do.
    public static func resolve(
        days: Set<Weekday>,
        start: Int32,
        duration: Duration,
        zone: String,
        from: Timestamp,
        through: Timestamp,
        using source: any TimeZoneSource
    ) throws(OperationQueueError) -> MaintenanceWindow {
        try checkZoneName(zone)
        return try MaintenanceWindow(
            days: days,
            start: start,
            duration: duration,
            zone: zone,
            offsets: try source.offsets(
                of: zone,
                from: max(from, .distantPast) - margin,
                through: min(through, from + maximumHorizon) + margin
            )
        )
    }
}

/// Zones whose offsets a test or a product gives.
public final class FixedTimeZones: TimeZoneSource {
    private let zones: Mutex<[String: [ZoneOffset]]>

    /// - Parameter zones: For each name all its offsets, ascending, the first from `.distantPast`.
    public init(_ zones: [String: [ZoneOffset]] = [:]) { self.zones = Mutex(zones) }

    /// Gives a zone its offsets, in place of those it had.
    public func set(_ zone: String, to offsets: [ZoneOffset]) {
        zones.withLock { $0[zone] = offsets }
    }

    public func offsets(
        of zone: String,
        from: Timestamp,
        through: Timestamp
    ) throws(OperationQueueError) -> [ZoneOffset] {
        guard let offsets = zones.withLock({ $0[zone] }), let first = offsets.first else {
            throw MaintenanceWindow.invalid(
                "The time zone \(zone) is not among the fixed ones. Set its offsets first."
            )
        }
        let standing = offsets.last { $0.from <= from } ?? first
        return [ZoneOffset(from: .distantPast, seconds: standing.seconds)]
            + offsets.filter { $0.from > from && $0.from <= through }
    }
}
