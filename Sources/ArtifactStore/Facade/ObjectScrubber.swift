public import ClusterRole
internal import Logging

/// Reads every object, finds those whose bytes are not what their name says, and mends them: from
/// another manager, or by making the bundle again from the releases beside it.
public struct ObjectScrubber: Sendable {
    private let objects: any ObjectInventory
    private let peers: [any ObjectPeer]
    private let tenant: TenantID
    private let storage: any ReleaseStorage
    private let configuration: PublisherConfiguration

    /// What became of a damaged object.
    public enum Repair: Hashable, Sendable {
        /// The peer of this name had it whole.
        case fromPeer(String)
        /// The same bundle was made again, bit by bit.
        case rebuilt
        /// Nobody has it. Publish the release's tree again, or roll back to another.
        case failed
    }

    /// One damaged or missing object.
    public struct Damage: Hashable, Sendable {
        /// Its name, which its bytes no longer match, if there are any.
        public let object: ContentDigest
        /// What was done about it.
        public let repair: Repair

        /// A finding.
        public init(object: ContentDigest, repair: Repair) {
            self.object = object
            self.repair = repair
        }
    }

    /// What one scrub found.
    public struct Report: Hashable, Sendable {
        /// How many objects were read, and their bytes.
        public internal(set) var examined = 0
        /// How many bytes that was.
        public internal(set) var examinedBytes: Int64 = 0
        /// All that were damaged, in order, then all that were missing.
        public internal(set) var damaged: [Damage] = []
    }

    /// - Parameters:
    ///   - objects: what is read.
    ///   - peers: who may have an object whole.
    ///   - tenant: whose objects they are.
    ///   - storage: the releases, from which bundles can be made again.
    ///   - configuration: the publisher's: limits, codec, scratch directory, log.
    public init(
        objects: any ObjectInventory,
        peers: [any ObjectPeer] = [],
        tenant: TenantID = .standard,
        storage: any ReleaseStorage,
        configuration: PublisherConfiguration = PublisherConfiguration()
    ) {
        self.objects = objects
        self.peers = peers
        self.tenant = tenant
        self.storage = storage
        self.configuration = configuration
    }

    /// Reads everything once.
    ///
    /// - Parameters:
    ///   - channels: whose releases are asked when a bundle is to be made again.
    ///   - needed: objects that must be there; one that is missing is damaged.
    /// - Throws: what a driver throws when it cannot be read at all.
    public func scrub(
        _ channels: [(tenant: TenantID, channel: ChannelName)],
        needed: Set<ContentDigest> = []
    ) async throws -> Report {
        var report = try await readAll(channels)
        for digest in needed.sorted() {
            try Task.checkCancellation()
            guard try await objects.byteCount(of: digest) == nil else { continue }
            report.damaged.append(await mended(digest, channels))
        }
        return report
    }

    private func readAll(
        _ channels: [(tenant: TenantID, channel: ChannelName)]
    ) async throws -> Report {
        var report = Report()
        var last: ContentDigest?
        while true {
            let page = try await objects.objects(after: last, limit: 1_000)
            guard let end = page.last else { return report }
            last = end.object.digest
            for record in page {
                try Task.checkCancellation()
                report.examined += 1
                report.examinedBytes += record.object.byteCount
                let digest = record.object.digest
                if try await isWhole(digest) { continue }
                report.damaged.append(await mended(digest, channels))
            }
        }
    }

    private func mended(
        _ digest: ContentDigest,
        _ channels: [(tenant: TenantID, channel: ChannelName)]
    ) async -> Damage {
        let repair = await mend(digest, channels)
        configuration.logger.error(
            "An object is damaged or missing.",
            metadata: ["object": "\(digest)", "repair": "\(repair)"]
        )
        return Damage(object: digest, repair: repair)
    }

    private func isWhole(_ digest: ContentDigest) async throws -> Bool {
        var hasher = ContentHasher()
        do {
            for try await chunk in try await objects.read(digest, from: 0) {
                chunk.withUnsafeBytes { hasher.update($0) }
            }
        } catch let error as CancellationError {
            throw error
        } catch {
            return false
        }
        return hasher.finish() == digest
    }

    private func mend(
        _ digest: ContentDigest,
        _ channels: [(tenant: TenantID, channel: ChannelName)]
    ) async -> Repair {
        for peer in peers {
            guard let chunks = try? await peer.fetch(digest, tenant: tenant),
                (try? await objects.put(chunks, expecting: digest)) != nil
            else { continue }
            return .fromPeer(peer.name)
        }
        for (tenant, channel) in channels {
            let releases = try? await storage.releases(
                of: channel,
                tenant: tenant,
                before: nil,
                limit: BundleMaker.searchDepth
            )
            if let releases, (try? await rebuild(digest, releases)) == true { return .rebuilt }
        }
        return .failed
    }

    /// Makes a bundle again from trees that are whole; it has the same bytes if the codec has.
    private func rebuild(
        _ digest: ContentDigest,
        _ releases: [StoredRelease]
    ) async throws -> Bool {
        let found = releases.lazy.flatMap { stored in stored.published.bundles.map { (stored, $0) }
        }
        .first { $0.1.object == digest }
        guard let (stored, bundle) = found else { return false }
        let builder = BundleBuilder(objects: objects, configuration: configuration)
        let scratch = try builder.makeScratch()
        let made: BundleDescription
        if let from = bundle.from {
            guard let old = releases.first(where: { $0.release.root == from }) else { return false }
            made = try await builder.build(
                try await builder.unpack(stored, in: scratch, as: "to"),
                from: try await builder.unpack(old, in: scratch, as: "from"),
                in: scratch
            )
        } else {
            let steps = stored.published.bundles.filter { $0.from != nil }
            for step in steps {
                guard let old = releases.first(where: { $0.release.root == step.from }),
                    let base = try? await builder.unpack(old, in: scratch, as: "from"),
                    let tree = try? await builder.unpack(
                        stored.release,
                        step,
                        onto: base,
                        in: scratch,
                        as: "to"
                    )
                else { continue }
                made = try await builder.build(tree, from: nil, in: scratch)
                return made.object == digest
            }
            return false
        }
        return made.object == digest
    }
}
