/// The fencing token: it grows with each holder of the coordinator's lease.
///
/// Every guarded write carries it, and the store compares it inside the write's own transaction.
public struct Epoch: RawRepresentable, Hashable, Sendable, Comparable, CustomStringConvertible,
    Codable
{
    public let rawValue: Int64
    public init(rawValue: Int64) { self.rawValue = rawValue }
    public var description: String { "epoch \(rawValue)" }
    public static func < (left: Epoch, right: Epoch) -> Bool { left.rawValue < right.rawValue }

    /// Before any coordinator.
    public static let none = Epoch(rawValue: 0)
    public var next: Epoch { Epoch(rawValue: rawValue + 1) }
}

/// The position in the log of all committed changes.
///
/// Numbers compare only within one history. A reader that meets another history takes a full
/// snapshot.
public struct Revision: Hashable, Sendable, CustomStringConvertible, Codable {
    public let history: HistoryID
    public let number: Int64

    public init(history: HistoryID, number: Int64) {
        self.history = history
        self.number = number
    }

    /// `history:number`, as it appears in answers and logs.
    public var description: String { "\(history):\(number)" }

    /// Parses what ``description`` wrote.
    public init(parsing text: String) throws(ClusterRoleError) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let number = Int64(parts[1]), number >= 0 else {
            throw ClusterRoleError(.invalidIdentifier, "A revision is written history:number.")
        }
        self.init(history: try HistoryID(parsing: String(parts[0])), number: number)
    }

    /// Whether everything up to `other` is contained here. `false` across histories.
    public func covers(_ other: Revision) -> Bool {
        history == other.history && number >= other.number
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z, from the injected clock.
public struct Timestamp: RawRepresentable, Hashable, Sendable, Comparable, CustomStringConvertible,
    Codable
{
    public let rawValue: Int64
    public init(rawValue: Int64) { self.rawValue = rawValue }
    public init(milliseconds: Int64) { rawValue = milliseconds }
    public var milliseconds: Int64 { rawValue }
    public var description: String { "\(rawValue) ms" }

    public static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.rawValue < right.rawValue
    }
    public static func + (time: Timestamp, duration: Duration) -> Timestamp {
        Timestamp(rawValue: time.rawValue &+ duration.milliseconds)
    }
    public static func - (time: Timestamp, duration: Duration) -> Timestamp {
        Timestamp(rawValue: time.rawValue &- duration.milliseconds)
    }
    public static func - (left: Timestamp, right: Timestamp) -> Duration {
        .milliseconds(left.rawValue - right.rawValue)
    }

    public static let distantPast = Timestamp(rawValue: 0)
    /// Later than any time a clock gives: 9999-12-31T23:59:59.999Z.
    public static let distantFuture = Timestamp(rawValue: 253_402_300_799_999)
}

extension Duration {
    /// The whole milliseconds of this duration, truncated, and held within ±292 million years.
    public var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        let limit = Int64.max / 2_000
        return max(-limit, min(limit, seconds)) * 1_000 + attoseconds / 1_000_000_000_000_000
    }
}
