public import ClusterRole

/// A day of the week. The raw value is its bit in a window's mask; it is part of the binary format.
public enum Weekday: UInt8, CaseIterable, Hashable, Sendable {
    case monday = 0
    case tuesday
    case wednesday
    case thursday
    case friday
    case saturday
    case sunday
}

/// How far a zone's wall clock is ahead of UTC from a moment on.
public struct ZoneOffset: Hashable, Sendable {
    /// The first moment of this offset; `.distantPast` for the first of a list.
    public let from: Timestamp
    /// Local time minus UTC, in seconds: negative west of Greenwich.
    public let seconds: Int32

    /// What any zone ever had, with room (RFC 9636: more than −25 h, less than 26 h).
    public static let allowedSeconds: ClosedRange<Int32> = -89_999...93_599

    public init(from: Timestamp, seconds: Int32) {
        self.from = from
        self.seconds = seconds
    }
}

/// Whether a maintenance window is open, and until when that holds.
public enum WindowState: Hashable, Sendable {
    /// Open, and closed at `until`. `.distantFuture` when it never closes.
    case open(until: Timestamp)
    /// Closed, and open at `opens`.
    case closed(opens: Timestamp)
}

/// The times at which devices may be given an operation: some days of the week, from a time of day
/// on, for a while, by the wall clock of a time zone.
///
/// The zone's offsets are resolved **once**, by who enqueues, and travel with the operation: workers
/// need no time zone data, and every node decides alike even when their data differ. What follows is
/// that a change of a zone's law after that moment does not move a window already enqueued. Behind
/// the last resolved change the last offset stands.
///
/// ``state(at:)`` decides. Made by ``resolve(days:start:duration:zone:from:through:using:)``.
public struct MaintenanceWindow: Hashable, Sendable {
    /// Bit 0 is Monday.
    package let dayMask: UInt8
    /// When it opens: minutes after local midnight, 0…1439.
    public let start: Int32
    /// How long it stays open, in whole milliseconds. It may pass midnight, also of the last day.
    ///
    /// Whole days of it are days of the calendar, the rest is elapsed time (as in RFC 5545): 24 h a
    /// day leave no gap on a day of 25 hours, and 2 h are two hours on any day.
    public let duration: Duration
    /// The IANA name of the zone, for people: the decision uses ``offsets``.
    public let zone: String
    /// The zone's offsets, ascending, each unlike the one before; the first from `.distantPast`.
    public let offsets: [ZoneOffset]

    /// The minutes of a day.
    public static let minutesOfDay: Int32 = 1_440
    /// The shortest and the longest time a window stays open.
    public static let allowedDurations: ClosedRange<Duration> = .seconds(60)...(.seconds(604_800))
    /// How many offsets a window may carry: they travel with each operation. Thirty years of the
    /// zone that changes most often (four times a year) stay below.
    public static let maximumOffsets = 128
    /// Zone names are shorter than this; the longest of today has 32.
    public static let maximumZoneLength = 64

    /// The days on which it opens. A window that passes midnight belongs to the day it opened on.
    public var days: Set<Weekday> {
        Set(Weekday.allCases.filter { dayMask & (1 << $0.rawValue) != 0 })
    }

    /// A window whose zone is resolved already.
    ///
    /// - Parameters:
    ///   - days: The days on which it opens, at least one.
    ///   - start: Minutes after local midnight, 0…1439.
    ///   - duration: One minute to seven days; what is finer than a millisecond is cut off.
    ///   - zone: The IANA name of the zone, for instance `Europe/Berlin`.
    ///   - offsets: The zone's offsets, ascending, the first from `.distantPast`.
    /// - Throws: ``OperationQueueError`` with code `invalidRequest`, naming what is wrong.
    public init(
        days: Set<Weekday>,
        start: Int32,
        duration: Duration,
        zone: String,
        offsets: [ZoneOffset]
    ) throws(OperationQueueError) {
        let mask = days.reduce(0 as UInt8) { $0 | (1 << $1.rawValue) }
        try self.init(
            dayMask: mask,
            start: start,
            duration: duration,
            zone: zone,
            offsets: offsets
        )
    }

    package init(
        dayMask: UInt8,
        start: Int32,
        duration: Duration,
        zone: String,
        offsets: [ZoneOffset]
    ) throws(OperationQueueError) {
        guard dayMask != 0, dayMask < 0x80 else {
            throw Self.invalid("A maintenance window needs at least one day of the week.")
        }
        guard (0..<Self.minutesOfDay).contains(start) else {
            throw Self.invalid(
                "A maintenance window starts at minute 0…1439 of the day, not at \(start)."
            )
        }
        guard Self.allowedDurations.contains(duration) else {
            throw Self.invalid("A maintenance window lasts one minute to seven days.")
        }
        try Self.checkZoneName(zone)
        try Self.check(offsets)
        self.dayMask = dayMask
        self.start = start
        self.duration = .milliseconds(duration.milliseconds)
        self.zone = zone
        self.offsets = offsets
    }

    /// Refuses what cannot be the name of a zone: an absolute path, dots, unknown characters.
    ///
    /// - Throws: ``OperationQueueError`` with code `invalidRequest`.
    package static func checkZoneName(_ name: String) throws(OperationQueueError) {
        let bytes = Array(name.utf8)
        let parts = bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        let isGood =
            bytes.count < maximumZoneLength
            && (bytes.first.map(isUpperCase) ?? false)
            && parts.allSatisfy { !$0.isEmpty && $0.allSatisfy(isZoneCharacter) }
        guard isGood else {
            throw invalid(
                "This is not the name of a time zone. Give an IANA name, for instance "
                    + "Europe/Berlin or UTC."
            )
        }
    }

    private static func isUpperCase(_ byte: UInt8) -> Bool { (0x41...0x5A).contains(byte) }

    /// A letter, a digit, `+`, `-` or `_`.
    private static func isZoneCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2B, 0x2D, 0x5F: true
        default: false
        }
    }

    private static func check(_ offsets: [ZoneOffset]) throws(OperationQueueError) {
        guard offsets.first?.from == .distantPast, offsets.count <= maximumOffsets else {
            throw invalid(
                "A maintenance window carries 1…\(maximumOffsets) offsets, the first from the "
                    + "distant past."
            )
        }
        for (index, offset) in offsets.enumerated() {
            let isAscending = index == 0 || offsets[index - 1].from < offset.from
            guard isAscending, offset.from <= .distantFuture,
                ZoneOffset.allowedSeconds.contains(offset.seconds)
            else {
                throw invalid("The offsets of a zone ascend in time and are less than 26 hours.")
            }
        }
    }

    static func invalid(_ message: String) -> OperationQueueError {
        OperationQueueError(.invalidRequest, message)
    }
}
