#if SQLite
/// How much a worker keeps, and for how long.
public struct WorkerReplicaConfiguration: Hashable, Sendable {
    /// When the spool is full, and what it does before.
    public var spool: SpoolLimits
    /// How long entries are kept once the manager has applied them, so that a restored manager can
    /// ask for them again. 24 h: a nightly backup.
    public var spoolRetention: Duration
    /// The most bytes of applied entries kept; the oldest go first. 256 MiB.
    public var maximumRetainedBytes: Int
    /// How long it is remembered that the manager does not know a credential. 30 s: a device that
    /// tries again at once costs nothing, one that was just enrolled elsewhere waits no longer.
    public var refusalLifetime: Duration
    /// The most refused credentials remembered, so that a stranger's guesses fill no memory.
    public var maximumRefusals: Int
    /// How long a device the manager named is taken at its word before the replica has to have it.
    /// 10 minutes: far longer than a replica is behind while the manager answers.
    public var learnedLifetime: Duration
    /// The most devices learned of and not yet in the replica.
    public var maximumLearned: Int
    /// What a device is told to wait when the spool is full or the manager cannot be asked.
    public var retryAfter: Duration

    /// A configuration; every default works.
    public init(
        spool: SpoolLimits = SpoolLimits(),
        spoolRetention: Duration = .seconds(86_400),
        maximumRetainedBytes: Int = 256 << 20,
        refusalLifetime: Duration = .seconds(30),
        maximumRefusals: Int = 10_000,
        learnedLifetime: Duration = .seconds(600),
        maximumLearned: Int = 10_000,
        retryAfter: Duration = .seconds(5)
    ) {
        self.spool = spool
        self.spoolRetention = spoolRetention
        self.maximumRetainedBytes = maximumRetainedBytes
        self.refusalLifetime = refusalLifetime
        self.maximumRefusals = maximumRefusals
        self.learnedLifetime = learnedLifetime
        self.maximumLearned = maximumLearned
        self.retryAfter = retryAfter
    }
}

/// How many entries may wait for the manager, and what is given up as they grow.
///
/// Contacts go first: they are replaced by the next poll. Then no work is handed out, because it
/// would only make more reports. Reports come last: they are refused before they are accepted, with a
/// time to come back, and never dropped.
public struct SpoolLimits: Hashable, Sendable {
    /// The most bytes of entries not yet applied. 256 MiB: hours of a busy worker.
    public var maximumBytes: Int
    /// The most entries not yet applied. 1,000,000.
    public var maximumEntries: Int
    /// The share of either limit from which contacts are dropped, in percent.
    public var contactsPercent: Int
    /// The share from which no work is handed out, in percent.
    public var handingOutPercent: Int

    public init(
        maximumBytes: Int = 256 << 20,
        maximumEntries: Int = 1_000_000,
        contactsPercent: Int = 70,
        handingOutPercent: Int = 85
    ) {
        self.maximumBytes = maximumBytes
        self.maximumEntries = maximumEntries
        self.contactsPercent = contactsPercent
        self.handingOutPercent = handingOutPercent
    }
}

/// What a spool still takes.
public enum SpoolStage: Int, Hashable, Sendable, Comparable, CaseIterable {
    /// Everything.
    case open = 0
    /// Everything but contacts.
    case droppingContacts = 1
    /// Reports; no work is handed out.
    case notHandingOut = 2
    /// Nothing.
    case full = 3

    public static func < (left: SpoolStage, right: SpoolStage) -> Bool {
        left.rawValue < right.rawValue
    }
}
#endif
