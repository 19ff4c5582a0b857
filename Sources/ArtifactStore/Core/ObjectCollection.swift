internal import ClusterRole

/// What a collection of garbage leaves; the defaults work.
public struct ObjectCollectionPolicy: Hashable, Sendable {
    /// How many of a channel's newest releases keep their bytes. 10: what one rolls back to.
    public var keptReleases = 10
    /// How young an object is left although nothing names it: a publish stores first and names
    /// then. 24 hours: longer than any publish takes.
    public var graceAge: Duration = .seconds(24 * 3_600)

    /// The defaults.
    public init() {}
}

/// Decides which objects nobody needs any more: of all channels' releases, of what nodes said, and
/// of what is pinned, it collects the names; an object that is old and has none of them goes.
///
/// Kept of each channel are the newest releases, those that a node said it serves with the one before
/// each, and the pinned ones. A release keeps all its bundles.
struct ObjectCollectionCore {
    private let policy: ObjectCollectionPolicy
    private(set) var named: Set<ContentDigest>
    /// Releases whose bytes are kept, for the report.
    private(set) var keptReleases = 0

    /// What is to be done about one object.
    enum Directive: Hashable {
        /// Unless it is renewed meanwhile.
        case remove(ContentDigest, storedBefore: Timestamp)
    }

    /// - Parameter inUse: objects that something else than a release names.
    init(policy: ObjectCollectionPolicy, inUse: Set<ContentDigest> = []) {
        self.policy = policy
        named = inUse
    }

    /// - Parameters:
    ///   - releases: all of one channel, newest first.
    ///   - applied: what nodes said about it.
    ///   - pins: numbers a person wants kept.
    mutating func onChannel(
        _ releases: [StoredRelease],
        applied: [AppliedRelease],
        pins: Set<ReleaseNumber>
    ) {
        let served = Set(applied.map(\.root))
        let before = Set(
            releases.filter { served.contains($0.release.root) }.compactMap(\.release.previousRoot)
        )
        for (place, stored) in releases.enumerated() {
            let release = stored.release
            let isKept =
                place < max(1, policy.keptReleases) || served.contains(release.root)
                || before.contains(release.root) || pins.contains(release.number)
                || applied.contains { $0.number == release.number }
            guard isKept else { continue }
            keptReleases += 1
            named.formUnion(stored.published.bundles.map(\.object))
        }
    }

    func onInventory(_ objects: [ObjectRecord], at now: Timestamp) -> [Directive] {
        let limit = now - policy.graceAge
        return objects.filter { $0.storedAt < limit && !named.contains($0.object.digest) }
            .map { .remove($0.object.digest, storedBefore: limit) }
    }
}
