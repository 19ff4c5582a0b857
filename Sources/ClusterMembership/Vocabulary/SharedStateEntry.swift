public import ClusterRole

/// The name of one value of the replicated state.
public struct SharedStateKey: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// Whose values they are, such as `feature-flags`. Those that begin with `reeve.` are the package's.
    public var namespace: String
    public var key: String

    public init(_ key: String, in namespace: String) {
        self.namespace = namespace
        self.key = key
    }

    public var description: String { "\(namespace)/\(key)" }

    public static func < (left: Self, right: Self) -> Bool {
        (left.namespace, left.key) < (right.namespace, right.key)
    }
}

/// One value of the replicated state, or that it was removed.
public struct SharedStateEntry: Hashable, Sendable {
    public var key: SharedStateKey
    /// `nil` once it was removed.
    public var value: [UInt8]?
    /// The number of the revision that wrote it.
    public var version: Int64

    public init(key: SharedStateKey, value: [UInt8]?, version: Int64) {
        self.key = key
        self.value = value
        self.version = version
    }
}

/// What a reader of the replicated state lacks.
public struct SharedStateDelta: Hashable, Sendable {
    /// Where it leads: the revision of the newest change of the state.
    public var revision: Revision
    /// Whether it is everything, and what it does not name is gone.
    public var isSnapshot: Bool
    /// By version.
    public var entries: [SharedStateEntry]

    public init(revision: Revision, isSnapshot: Bool, entries: [SharedStateEntry]) {
        self.revision = revision
        self.isSnapshot = isSnapshot
        self.entries = entries
    }
}

/// One change of the replicated state.
public struct SharedStateChange: Hashable, Sendable {
    /// What must be there for the change to happen.
    public enum Expectation: Hashable, Sendable {
        case anything
        case absent
        /// An entry of this version.
        case version(Int64)
    }

    public var key: SharedStateKey
    /// `nil` removes it.
    public var value: [UInt8]?
    public var expected: Expectation

    public init(key: SharedStateKey, value: [UInt8]?, expected: Expectation = .anything) {
        self.key = key
        self.value = value
        self.expected = expected
    }
}

/// How much the replicated state may hold. It is small on purpose: every node keeps all of it in memory,
/// and one answer carries it.
public struct SharedStateLimits: Hashable, Sendable {
    /// The most bytes of keys and values together. 1 MiB.
    public var maximumBytes: Int
    /// The most entries. 4,096.
    public var maximumEntries: Int
    /// The largest value. 64 KiB.
    public var maximumValueBytes: Int
    /// How many removals are remembered, so that readers hear of them without a snapshot. 1,024.
    public var keptRemovals: Int

    public init(
        maximumBytes: Int = 1 << 20,
        maximumEntries: Int = 4_096,
        maximumValueBytes: Int = 64 << 10,
        keptRemovals: Int = 1_024
    ) {
        self.maximumBytes = maximumBytes
        self.maximumEntries = maximumEntries
        self.maximumValueBytes = maximumValueBytes
        self.keptRemovals = keptRemovals
    }

    /// The longest namespace or key. 255 bytes, as every name.
    public static let maximumNameBytes = maximumNameLength
}
