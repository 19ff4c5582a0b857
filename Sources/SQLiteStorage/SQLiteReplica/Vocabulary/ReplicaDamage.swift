#if SQLite
/// What was found damaged in a worker's file since it was opened.
public struct ReplicaDamage: Hashable, Sendable {
    /// Replica rows left out. A snapshot replaces them; the count goes back to 0 with it.
    public var rows = 0
    /// Spool entries passed over: reports that were accepted and cannot be handed on, because their row
    /// is damaged or was sealed with another key. They stay in the file.
    public var entries = 0

    public init() {}

    /// Whether nothing is damaged.
    public var isNone: Bool { rows == 0 && entries == 0 }
}
#endif
