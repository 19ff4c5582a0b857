public import ClusterRole
internal import Logging
internal import Metrics

/// Makes the incremental bundles that no publish made, when a worker asks: a manager's part.
///
/// Many may ask for the same one at once: it is made once. What was made is remembered in memory
/// and stored among the objects like any other; that it would have been larger than the full bundle
/// is remembered too. Errors of storage are thrown to all who asked.
public actor BundleMaker {
    private let storage: any ReleaseStorage
    private let objects: TenantObjects
    private let configuration: PublisherConfiguration
    private let executor = FileWorkExecutor(label: "reeve.artifacts.bundles")

    private struct Pair: Hashable {
        let tenant: TenantID
        let from: TreeID
        let to: TreeID
    }
    private enum Made {
        case bundle(BundleDescription)
        /// The full bundle is smaller.
        case pointless
    }
    private var made: [Pair: Made] = [:]
    private var order: [Pair] = []
    private let flights = SingleFlight<Pair>()
    /// How many bundles were built, for tests and status pages.
    public private(set) var buildCount = 0

    /// How many bundles are remembered. 256: what many workers on many old releases ask for at once.
    public static let maximumRemembered = 256
    /// How far back in a channel the tree is looked for that a worker says it stands on.
    public static let searchDepth = 200

    /// A thread of its own: the work blocks on files.
    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    /// - Parameters:
    ///   - storage: the records of releases.
    ///   - objects: where bundles are read and stored.
    ///   - configuration: the publisher's: limits, codec, scratch directory.
    public init(
        storage: any ReleaseStorage,
        objects: TenantObjects,
        configuration: PublisherConfiguration = PublisherConfiguration()
    ) {
        self.storage = storage
        self.objects = objects
        self.configuration = configuration
    }

    /// The bundle that makes the tree `to` of the tree `from`, both of one channel.
    ///
    /// - Parameters:
    ///   - from: the tree a worker has.
    ///   - to: the tree it wants; one of the channel's newest ``searchDepth`` releases, as is `from`.
    ///   - channel: the channel of both.
    ///   - tenant: the tenant the channel belongs to.
    /// - Returns: `nil` if the channel has not both trees, or if the full bundle is smaller.
    public func bundle(
        from: TreeID,
        to: TreeID,
        channel: ChannelName,
        tenant: TenantID
    ) async throws -> BundleDescription? {
        let releases = try await storage.releases(
            of: channel,
            tenant: tenant,
            before: nil,
            limit: Self.searchDepth
        )
        guard from != to, let new = releases.first(where: { $0.release.root == to }),
            let old = releases.first(where: { $0.release.root == from })
        else { return nil }
        if let listed = new.published.bundle(from: from) { return listed }
        let pair = Pair(tenant: tenant, from: from, to: to)
        return try await flights.run(pair) {
            switch made[pair] {
            case .bundle(let known):
                let count = try await objects.storage(of: tenant).byteCount(of: known.object)
                if count == known.byteCount { return known }
            case .pointless: return nil
            case nil: break
            }
            return try await make(pair, old, new)
        }
    }

    /// The objects that were made and are remembered: garbage collection leaves them.
    public var objectsInUse: Set<ContentDigest> {
        Set(
            made.values.compactMap { if case .bundle(let known) = $0 { known.object } else { nil } }
        )
    }

    private func make(
        _ pair: Pair,
        _ old: StoredRelease,
        _ new: StoredRelease
    ) async throws -> BundleDescription? {
        let began = configuration.time.monotonic()
        let builder = BundleBuilder(
            objects: try objects.storage(of: pair.tenant),
            configuration: configuration
        )
        let scratch = try builder.makeScratch()
        let base = try await builder.unpack(old, in: scratch, as: "from")
        let tree = try await builder.unpack(new, in: scratch, as: "to")
        let description = try await builder.build(tree, from: base, in: scratch)
        buildCount += 1
        Counter(label: "reeve_artifact_bundles_made_total").increment()
        let full = new.published.bundle(from: nil)?.byteCount ?? .max
        let isPointless = description.byteCount >= full
        remember(pair, isPointless ? .pointless : .bundle(description))
        configuration.logger.info(
            "A bundle was made because a worker asked for it.",
            metadata: [
                "bundle": "\(description.name)", "bytes": "\(description.byteCount)",
                "full": "\(full)",
                "milliseconds": "\((configuration.time.monotonic() - began).milliseconds)",
            ]
        )
        return isPointless ? nil : description
    }

    private func remember(_ pair: Pair, _ result: Made) {
        if made.updateValue(result, forKey: pair) == nil { order.append(pair) }
        while order.count > Self.maximumRemembered {
            made.removeValue(forKey: order.removeFirst())
        }
    }
}
