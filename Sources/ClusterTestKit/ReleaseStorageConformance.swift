public import ArtifactStore
public import ClusterRole

/// The contract of `ReleaseStorage`. Each step gets a fresh, empty storage.
public struct ReleaseStorageConformance: Sendable {
    /// A storage under test and what moves its epoch.
    public struct Subject: Sendable {
        /// An empty storage.
        public let storage: any ReleaseStorage
        /// Begins a new epoch and returns it, as a new coordinator does.
        public let raiseEpoch: @Sendable () async throws -> Epoch

        /// The storage of one step.
        public init(
            storage: any ReleaseStorage,
            raiseEpoch: @escaping @Sendable () async throws -> Epoch
        ) {
            self.storage = storage
            self.raiseEpoch = raiseEpoch
        }
    }

    private let make: @Sendable () async throws -> Subject

    /// - Parameter make: makes an empty storage.
    public init(_ make: @escaping @Sendable () async throws -> Subject) { self.make = make }

    /// Runs every step.
    ///
    /// - Throws: ``ConformanceFailure`` for the first broken sentence, or what the driver throws.
    public func run() async throws {
        try await appendsAndReadsBack()
        try await comparesThePreviousNumber()
        try await fencesOldEpochs()
        try await keepsTenantsApart()
        try await pagesThroughHistory()
        try await listsChannels()
        try await keepsTheNewestAcknowledgement()
        try await fencesWordsByLife()
    }

    private func check(_ condition: Bool, _ step: String, _ message: String) throws {
        if !condition {
            throw ConformanceFailure(suite: "ReleaseStorage", step: step, message: message)
        }
    }

    /// A release of some tree: another one for each number, unless `tree` says which. Its signature is of the right length and of no worth: drivers do not
    /// look.
    public static func sample(
        _ number: Int64,
        channel: ChannelName = "web/site",
        tenant: TenantID = .standard,
        tree: Int64? = nil,
        requirements: ReleaseRequirements = .none
    ) throws -> PublishedRelease {
        let digest = ContentDigest(of: [UInt8(truncatingIfNeeded: tree ?? number)])
        let tree = try TreeManifest(
            entries: [
                TreeEntry(path: "index.html", mode: 0o644, content: .file(size: 1, digest: digest))
            ])
        let release = Release(
            tenant: tenant,
            channel: channel,
            kind: .files,
            number: ReleaseNumber(number),
            tree: tree,
            previousRoot: nil,
            created: Timestamp(milliseconds: 1_000 * number),
            expires: nil,
            key: SigningKeyID(rawValue: "00112233445566778899aabbccddeeff"),
            links: .insideTree,
            requirements: requirements
        )
        let bundle = BundleDescription(from: nil, to: tree.id, object: digest, byteCount: 100)
        return PublishedRelease(
            signed: try SignedRelease(
                record: release.encoded,
                signature: [UInt8](repeating: 9, count: 64)
            ),
            bundles: [bundle]
        )
    }

    private func appendsAndReadsBack() async throws {
        let step = "the newest release reads back with its revision"
        let subject = try await make()
        let epoch = try await subject.raiseEpoch()
        let storage = subject.storage
        let none = try await storage.latest(of: "web/site", tenant: .standard)
        try check(none == nil, step, "an empty channel has a release")
        let one = try Self.sample(1)
        let two = try Self.sample(2)
        let first = try await storage.append(one, after: nil, epoch: epoch)
        let latest = try await storage.latest(of: "web/site", tenant: .standard)
        try check(
            latest == StoredRelease(published: one, revision: first),
            step,
            "release 1 differs"
        )
        let second = try await storage.append(two, after: .first, epoch: epoch)
        try check(second.covers(first) && second != first, step, "the revision did not grow")
        let newest = try await storage.latest(of: "web/site", tenant: .standard)
        try check(
            newest == StoredRelease(published: two, revision: second),
            step,
            "release 2 differs"
        )
    }

    private func comparesThePreviousNumber() async throws {
        let step = "appending compares the previous number"
        let subject = try await make()
        let epoch = try await subject.raiseEpoch()
        let storage = subject.storage
        _ = try await storage.append(try Self.sample(1), after: nil, epoch: epoch)
        let attempts: [(Int64, ReleaseNumber?)] = [
            (1, nil), (2, ReleaseNumber(2)), (3, ReleaseNumber(2)), (3, .first),
        ]
        for (number, previous) in attempts {
            do {
                _ = try await storage.append(
                    try Self.sample(number),
                    after: previous,
                    epoch: epoch
                )
            } catch let error as ArtifactStoreError where error.code == .conflict {
                try check(
                    error.conflict?.actual == .first,
                    step,
                    "the conflict does not name release 1"
                )
                continue
            }
            try check(
                false,
                step,
                "release \(number) after \(previous?.description ?? "none") was taken"
            )
        }
        let latest = try await storage.latest(of: "web/site", tenant: .standard)
        try check(latest?.release.number == .first, step, "a refused release was written")
    }

    private func fencesOldEpochs() async throws {
        let step = "an old epoch writes nothing"
        let subject = try await make()
        let old = try await subject.raiseEpoch()
        let new = try await subject.raiseEpoch()
        let storage = subject.storage
        let release = try Self.sample(1)
        let applied = Self.applied("worker-1", release, at: 1)
        let writes: [@Sendable () async throws -> Void] = [
            { _ = try await storage.append(release, after: nil, epoch: old) },
            { _ = try await storage.record(applied, tenant: .standard, epoch: old) },
        ]
        for write in writes {
            do {
                try await write()
            } catch let error as ClusterRoleError where error.code == .fenced {
                try check(
                    error.currentEpoch == new,
                    step,
                    "the error does not name the newest epoch"
                )
                continue
            }
            try check(false, step, "the write was taken")
        }
        let latest = try await storage.latest(of: "web/site", tenant: .standard)
        try check(latest == nil, step, "a fenced release was written")
        let nodes = try await storage.acknowledgements(of: "web/site", tenant: .standard)
        try check(nodes.isEmpty, step, "a fenced acknowledgement was written")
    }

    private func keepsTenantsApart() async throws {
        let step = "tenants do not see each other"
        let subject = try await make()
        let epoch = try await subject.raiseEpoch()
        let storage = subject.storage
        let other = TenantID(rawValue: "other")
        let mine = try Self.sample(1)
        let theirs = try Self.sample(1, tenant: other)
        _ = try await storage.append(mine, after: nil, epoch: epoch)
        let before = try await storage.latest(of: "web/site", tenant: other)
        try check(before == nil, step, "another tenant's release is shown")
        _ = try await storage.append(theirs, after: nil, epoch: epoch)
        _ = try await storage.record(
            Self.applied("worker-1", theirs, at: 1),
            tenant: other,
            epoch: epoch
        )
        let latest = try await storage.latest(of: "web/site", tenant: .standard)
        try check(
            latest?.published == mine,
            step,
            "another tenant's release took the place of ours"
        )
        let nodes = try await storage.acknowledgements(of: "web/site", tenant: .standard)
        try check(nodes.isEmpty, step, "another tenant's acknowledgement is shown")
    }

    private func pagesThroughHistory() async throws {
        let step = "history is paged, newest first"
        let subject = try await make()
        let epoch = try await subject.raiseEpoch()
        let storage = subject.storage
        for number in Int64(1)...5 {
            let previous = number == 1 ? nil : ReleaseNumber(number - 1)
            _ = try await storage.append(try Self.sample(number), after: previous, epoch: epoch)
        }
        var found: [Int64] = []
        var before: ReleaseNumber?
        while true {
            let page = try await storage.releases(
                of: "web/site",
                tenant: .standard,
                before: before,
                limit: 2
            )
            try check(page.count <= 2, step, "a page has \(page.count) rows")
            guard let last = page.last, found.count < 6 else { break }
            found += page.map(\.release.number.rawValue)
            before = last.release.number
        }
        try check(found == [5, 4, 3, 2, 1], step, "the pages are \(found)")
    }

    private func listsChannels() async throws {
        let step = "channels are listed by name"
        let subject = try await make()
        let epoch = try await subject.raiseEpoch()
        let storage = subject.storage
        for channel in ["web/site", "api", "web/admin"] as [ChannelName] {
            _ = try await storage.append(
                try Self.sample(1, channel: channel),
                after: nil,
                epoch: epoch
            )
        }
        let all = try await storage.channels(of: .standard, after: nil, limit: 10)
        try check(all == ["api", "web/admin", "web/site"], step, "the list is \(all)")
        let rest = try await storage.channels(of: .standard, after: "api", limit: 1)
        try check(rest == ["web/admin"], step, "behind api comes \(rest)")
        let none = try await storage.channels(
            of: TenantID(rawValue: "other"),
            after: nil,
            limit: 10
        )
        try check(none.isEmpty, step, "another tenant has \(none)")
    }

    private func fencesWordsByLife() async throws {
        let step = "a word of an earlier life of a node, or an earlier attempt, replaces nothing"
        let subject = try await make()
        let epoch = try await subject.raiseEpoch()
        let storage = subject.storage
        let one = try Self.sample(1)
        let two = try Self.sample(2)
        let kept = Self.applied("worker-1", two, at: 5, life: 1_000, attempt: 2)
        let words = [
            kept,
            Self.applied("worker-1", two, at: 9, life: 1_000, attempt: 1),
            Self.applied("worker-1", two, at: 9, life: 999, attempt: 7),
            Self.applied("worker-1", try Self.sample(3), at: 9, life: 999, attempt: 8),
        ]
        for word in words {
            _ = try await storage.record(word, tenant: .standard, epoch: epoch)
        }
        let nodes = try await storage.acknowledgements(of: "web/site", tenant: .standard)
        try check(nodes == [kept], step, "what is kept is \(nodes)")
        let lost = Self.applied("worker-1", one, at: 1, life: 1_001, attempt: 1)
        _ = try await storage.record(lost, tenant: .standard, epoch: epoch)
        let after = try await storage.acknowledgements(of: "web/site", tenant: .standard)
        try check(after == [lost], step, "after its disk was lost, what is kept is \(after)")
    }

    private static func applied(
        _ node: String,
        _ release: PublishedRelease,
        error: ArtifactStoreError? = nil,
        at: Int64,
        life: Int64 = 0,
        attempt: Int64 = 0
    ) -> AppliedRelease {
        AppliedRelease(
            node: NodeID(rawValue: node),
            release: release.release,
            error: error,
            at: Timestamp(milliseconds: at),
            floorRecord: error == nil ? nil : [1, 2, 3],
            incarnation: life,
            attempt: attempt
        )
    }

    private func keepsTheNewestAcknowledgement() async throws {
        let step = "of each node the newest word is kept"
        let subject = try await make()
        let epoch = try await subject.raiseEpoch()
        let storage = subject.storage
        let one = try Self.sample(1)
        let two = try Self.sample(2)
        let first = try await storage.append(one, after: nil, epoch: epoch)
        let refusal = ArtifactStoreError(.deploymentFailed, "no")
        let words = [
            Self.applied("worker-2", one, at: 5),
            Self.applied("worker-1", two, error: refusal, at: 7),
            Self.applied("worker-1", one, at: 9),  // stale: an older release
            Self.applied("worker-1", two, at: 6),  // stale: an older word
        ]
        for word in words {
            let revision = try await storage.record(word, tenant: .standard, epoch: epoch)
            try check(revision.covers(first), step, "the revision went back")
        }
        let nodes = try await storage.acknowledgements(of: "web/site", tenant: .standard)
        try check(nodes == [words[1], words[0]], step, "what is kept is \(nodes)")
        let latest = try await storage.latest(of: "web/site", tenant: .standard)
        try check(latest?.revision == first, step, "an acknowledgement changed the channel")
    }
}
