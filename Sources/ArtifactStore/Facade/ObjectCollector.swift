public import ClusterRole

/// Removes the objects that no release needs any more: a task of managers, run as often as one likes.
///
/// It first reads which objects are named, then goes through the storage. What is stored or renewed
/// meanwhile is left, so publishing and collecting may overlap, on one manager or on several that
/// share a directory. If reading the names fails, nothing is removed.
public struct ObjectCollector: Sendable {
    private let storage: any ReleaseStorage
    private let objects: any ObjectInventory
    private let policy: ObjectCollectionPolicy
    private let time: any TimeSource

    /// What one collection did.
    public struct Report: Hashable, Sendable {
        /// How many objects were looked at.
        public internal(set) var examined = 0
        /// What is gone, in order.
        public internal(set) var removed: [ContentDigest] = []
        /// The bytes of what is gone.
        public internal(set) var removedBytes: Int64 = 0
        /// How many releases keep their bytes.
        public internal(set) var keptReleases = 0
    }

    /// A channel, with whose it is.
    public struct Pin: Hashable, Sendable {
        /// The tenant the channel belongs to.
        public let tenant: TenantID
        /// The channel.
        public let channel: ChannelName
        /// The release whose bytes are kept.
        public let number: ReleaseNumber

        /// Keeps one release.
        public init(_ number: ReleaseNumber, of channel: ChannelName, tenant: TenantID) {
            self.number = number
            self.channel = channel
            self.tenant = tenant
        }
    }

    /// - Parameters:
    ///   - storage: the records of releases, and what nodes said.
    ///   - objects: what is collected.
    ///   - policy: what is left.
    ///   - time: the clock by which objects are old; the storage's own should agree within the grace age.
    public init(
        storage: any ReleaseStorage,
        objects: any ObjectInventory,
        policy: ObjectCollectionPolicy = ObjectCollectionPolicy(),
        time: any TimeSource = SystemTimeSource()
    ) {
        self.storage = storage
        self.objects = objects
        self.policy = policy
        self.time = time
    }

    /// Collects once.
    ///
    /// - Parameters:
    ///   - tenants: all tenants that have channels; the channels of one that is missing lose their
    ///     bytes.
    ///   - pins: releases a person wants kept.
    ///   - inUse: objects that something else names, such as ``BundleMaker/objectsInUse``.
    /// - Throws: what a driver throws; what was removed until then stays removed.
    public func collect(
        tenants: [TenantID],
        pins: Set<Pin> = [],
        inUse: Set<ContentDigest> = []
    ) async throws -> Report {
        let core = try await ObjectCensus(storage: storage, policy: policy)
            .taken(of: tenants, pins: pins, inUse: inUse)
        var report = Report()
        report.keptReleases = core.keptReleases
        var last: ContentDigest?
        while true {
            let page = try await objects.objects(after: last, limit: Self.page)
            guard let end = page.last else { return report }
            last = end.object.digest
            report.examined += page.count
            for case .remove(let digest, let limit) in core.onInventory(page, at: time.now()) {
                try Task.checkCancellation()
                guard try await objects.remove(digest, storedBefore: limit) else { continue }
                report.removed.append(digest)
                report.removedBytes +=
                    page.first { $0.object.digest == digest }?.object.byteCount ?? 0
            }
        }
    }

    private static let page = 1_000
}

/// Finds out which objects the records need: one reading of all of a tenant's channels.
struct ObjectCensus {
    let storage: any ReleaseStorage
    let policy: ObjectCollectionPolicy

    private static let page = 1_000

    func taken(
        of tenants: [TenantID],
        pins: Set<ObjectCollector.Pin>,
        inUse: Set<ContentDigest> = []
    ) async throws -> ObjectCollectionCore {
        var core = ObjectCollectionCore(policy: policy, inUse: inUse)
        for tenant in tenants {
            try await count(tenant, pins, into: &core)
        }
        return core
    }

    private func count(
        _ tenant: TenantID,
        _ pins: Set<ObjectCollector.Pin>,
        into core: inout ObjectCollectionCore
    ) async throws {
        var after: ChannelName?
        while true {
            let channels = try await storage.channels(of: tenant, after: after, limit: Self.page)
            guard let end = channels.last else { return }
            after = end
            for channel in channels {
                let releases = try await allReleases(of: channel, tenant)
                let applied = try await storage.acknowledgements(of: channel, tenant: tenant)
                let pinned = pins.filter { $0.channel == channel && $0.tenant == tenant }
                core.onChannel(releases, applied: applied, pins: Set(pinned.map(\.number)))
            }
        }
    }

    private func allReleases(
        of channel: ChannelName,
        _ tenant: TenantID
    ) async throws -> [StoredRelease] {
        var all: [StoredRelease] = []
        while true {
            let page = try await storage.releases(
                of: channel,
                tenant: tenant,
                before: all.last?.release.number,
                limit: Self.page
            )
            guard !page.isEmpty else { return all }
            all += page
        }
    }
}
