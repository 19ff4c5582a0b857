internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

/// The contract of `ReplicaSource`: snapshot, then delta, is the same as a fresh snapshot.
public struct ReplicaSourceConformance: Sendable {
    private let makeStore: StoreFactory
    private let timeLimit: Duration

    /// - Parameters:
    ///   - timeLimit: the most one step may take.
    ///   - makeStore: makes an empty store for each step.
    public init(
        timeLimit: Duration = standardStepTimeLimit,
        _ makeStore: @escaping StoreFactory
    ) {
        self.timeLimit = timeLimit
        self.makeStore = makeStore
    }

    /// Runs every step.
    ///
    /// - Returns: what passed and what was skipped.
    /// - Throws: ``ConformanceFailure`` from the first step that fails.
    public func run() async throws -> ConformanceReport {
        try await runStoreConformance("ReplicaSource", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("a replica without a revision gets a snapshot", beginsWithSnapshot),
        .init("a snapshot is the same in pages of any size", pagesSnapshots),
        .init("a replica that is up to date gets an empty delta", answersEmptyDelta),
        .init("every guarded change is in the delta after it", carriesEveryChange),
        .init("deltas lead to the content of a fresh snapshot", convergesByDeltas),
        .init(
            "a snapshot read while writes go on is made exact by the delta",
            convergesUnderWrites
        ),
        .init("a closed activity goes once nobody holds its work", dropsClosedActivities),
        .init("a revision of another history gets a snapshot", refusesForeignHistory),
        .init("a node's mark travels with the revision that stored it", carriesMarks),
        .init("pages name the epoch of the store", namesEpoch),
        .init("a replica answers devices as the store does", answersLikeTheStore),
        .init("payloads of closed work and removed devices stay away", holdsNoMoreThanNeeded),
    ]

    static let node = NodeID(rawValue: "worker-1")

    static func source(_ scene: StoreScene) throws -> any ReplicaSource {
        try scene.needs(\.replicas, "ReplicaSource")
    }

    /// Reads pages until the replica has reached the newest revision.
    static func catchUp(
        _ content: inout ReplicaContent,
        _ scene: StoreScene,
        limit: Int = 100
    ) async throws {
        let source = try source(scene)
        var cursor: ReplicaCursor?
        for _ in 0..<10_000 {
            let page = try await source.page(
                after: content.revision,
                cursor: cursor,
                limit: limit,
                for: node
            )
            try check(page, limit: limit, isInSnapshot: cursor != nil, scene)
            let before = content.revision
            content.take(page)
            cursor = page.next
            let newest = try await source.currentRevision()
            if cursor == nil, let reached = content.revision {
                if reached.covers(newest) { return }
                try scene.check.isTrue(
                    reached != before || page.content != .delta,
                    "a delta that does not reach \(newest) moves on from \(reached)"
                )
            }
        }
        throw scene.check.failure("10,000 pages did not reach the newest revision")
    }

    private static func check(
        _ page: ReplicaPage,
        limit: Int,
        isInSnapshot: Bool,
        _ scene: StoreScene
    ) throws {
        // The asking node's mark may come on top.
        try scene.check.isTrue(
            page.rows.count <= limit + 1,
            "a page of \(page.rows.count) rows is no larger than its limit of \(limit)"
        )
        switch page.content {
        case .delta:
            try scene.check.isTrue(!isInSnapshot, "a cursor continues its snapshot")
            try scene.check.isNil(page.next, "the cursor of a delta")
        case .snapshotBegins:
            try scene.check.isTrue(!isInSnapshot, "a cursor continues its snapshot")
        case .snapshotContinues:
            try scene.check.isTrue(isInSnapshot, "a snapshot begins with its first page")
        }
    }

    static func snapshot(_ scene: StoreScene, limit: Int = 100) async throws -> ReplicaContent {
        var content = ReplicaContent()
        try await catchUp(&content, scene, limit: limit)
        return content
    }

    static func expectSame(
        _ content: ReplicaContent,
        _ scene: StoreScene,
        _ what: String
    ) async throws {
        let fresh = try await snapshot(scene)
        if let difference = content.essence.difference(from: fresh.essence) {
            throw scene.check.failure("\(what) differs from a fresh snapshot: \(difference)")
        }
    }

    /// A store with something of everything.
    struct Fleet: Sendable {
        let group = GroupID(rawValue: "fleet")
        var rows: [DeviceRow] = []
        var named: DeviceOperation
        var grouped: DeviceOperation
        var spool: SpoolMark

        init(_ scene: StoreScene) async throws {
            rows = try await scene.enrol((0..<6).map { "d-\($0)" }, groups: [group])
            try await scene.enrol("d-0", groups: [group], tenant: scene.otherTenant)
            try await scene.change(.setPollingFrequency(rows[3].id, .seconds(45)))
            named = try await scene.enqueue(to: Array(rows.prefix(4)), code: "named")
            grouped = try await scene.enqueue(to: group, code: "grouped")
            try await scene.change(.leave(group, [rows[5].id]))
            spool = SpoolMark(
                node: ReplicaSourceConformance.node,
                incarnation: IncarnationID(from: scene.random),
                number: 0
            )
            try await scene.drain(
                [
                    scene.claim(named, by: rows[0]),
                    scene.result(.completed, of: named, by: rows[1]),
                    scene.result(.failed, of: grouped, by: rows[2]),
                ],
                from: 1,
                of: spool
            )
        }

        /// Changes of every kind, while a replica reads.
        func disturb(_ scene: StoreScene, round: Int) async throws {
            let late = try await scene.enrol("late-\(round)", groups: [group])
            let next = try await scene.enqueue(to: group, code: "round-\(round)")
            let short = try await scene.enqueue(to: [late], code: "short-\(round)")
            try await scene.drain(
                [
                    scene.result(.completed, of: short, by: late),
                    scene.claim(next, by: rows[3]),
                    scene.result(.notNow(until: scene.now + .seconds(60)), of: next, by: rows[4]),
                ],
                from: Int64(10 * (round + 1)),
                of: spool
            )
            try await scene.change(.leave(group, [rows[round % 3].id]))
            try await scene.change(.enrol(scene.enrolment(of: late.id, groups: [group])))
            if round == 1 { try await scene.change(.remove(rows[4].id)) }
            if round == 2 {
                _ = try await scene.operations.close(
                    grouped.activity,
                    as: .cancelled,
                    tenant: scene.tenant,
                    epoch: scene.epoch,
                    at: scene.now
                )
            }
        }
    }
}

extension ReplicaSourceConformance {
    static func beginsWithSnapshot(_ scene: StoreScene) async throws {
        let fleet = try await Fleet(scene)
        let page = try await source(scene).page(after: nil, cursor: nil, limit: 1_000, for: node)
        try scene.check.equal(page.content, .snapshotBegins, "the first page")
        try scene.check.isNil(page.next, "a cursor after the only page")
        try scene.check.equal(
            page.revision,
            try await source(scene).currentRevision(),
            "the revision of a snapshot of a store at rest"
        )
        var content = ReplicaContent()
        content.take(page)
        let essence = content.essence
        try scene.check.equal(essence.devices.count, 7, "devices")
        try scene.check.equal(
            Set(essence.activities.values.map(\.operation)),
            [fleet.named, fleet.grouped],
            "live operations"
        )
        try scene.check.equal(
            Set(essence.targets.map(\.device)),
            Set(fleet.rows.prefix(4).map(\.id)),
            "named targets"
        )
        try scene.check.equal(essence.executions.count, 3, "execution rows")
        let left = essence.memberships.values.filter { $0.left != nil }
        try scene.check.equal(
            left.map(\.device),
            [fleet.rows[5].id],
            "closed intervals a live operation refers to"
        )
    }

    static func pagesSnapshots(_ scene: StoreScene) async throws {
        _ = try await Fleet(scene)
        let whole = try await snapshot(scene, limit: 1_000).essence
        for limit in [1, 2, 3, 7] {
            let paged = try await snapshot(scene, limit: limit).essence
            if let difference = paged.difference(from: whole) {
                throw scene.check.failure("pages of \(limit) differ from one page: \(difference)")
            }
        }
    }

    private static func answersEmptyDelta(_ scene: StoreScene) async throws {
        _ = try await Fleet(scene)
        let content = try await snapshot(scene)
        let page = try await source(scene).page(
            after: content.revision,
            cursor: nil,
            limit: 10,
            for: node
        )
        try scene.check.equal(page.content, .delta, "the page")
        try scene.check.equal(page.rows, [], "its rows")
        try scene.check.equal(page.revision, content.revision, "its revision")
    }

    private static func convergesByDeltas(_ scene: StoreScene) async throws {
        let fleet = try await Fleet(scene)
        var often = try await snapshot(scene)
        var inSmallPages = often
        var once = often
        for round in 0..<4 {
            try await fleet.disturb(scene, round: round)
            try await catchUp(&often, scene)
            try await catchUp(&inSmallPages, scene, limit: 4)
            try await expectSame(often, scene, "a replica after round \(round)")
            try await expectSame(inSmallPages, scene, "a replica by small pages, round \(round)")
        }
        try await catchUp(&once, scene)
        try await expectSame(once, scene, "a replica that caught up once")
    }

    private static func convergesUnderWrites(_ scene: StoreScene) async throws {
        let fleet = try await Fleet(scene)
        let source = try source(scene)
        for limit in [1, 4] {
            var content = ReplicaContent()
            var cursor: ReplicaCursor?
            var round = limit == 1 ? 0 : 2
            let began = try await source.currentRevision()
            repeat {
                let page = try await source.page(
                    after: nil,
                    cursor: cursor,
                    limit: limit,
                    for: node
                )
                content.take(page)
                cursor = page.next
                if round < (limit == 1 ? 2 : 4) {
                    try await fleet.disturb(scene, round: round)
                    round += 1
                }
            } while cursor != nil
            try scene.check.equal(content.revision, began, "the revision of the snapshot")
            try await catchUp(&content, scene)
            try await expectSame(content, scene, "a snapshot read in pages of \(limit)")
        }
    }

    private static func refusesForeignHistory(_ scene: StoreScene) async throws {
        _ = try await Fleet(scene)
        let current = try await source(scene).currentRevision()
        let foreign = Revision(
            history: HistoryID(bits: current.history.bits ^ 1),
            number: current.number
        )
        let page = try await source(scene).page(after: foreign, cursor: nil, limit: 3, for: node)
        try scene.check.equal(page.content, .snapshotBegins, "the page")
        try scene.check.equal(page.revision.history, current.history, "its history")
    }

    private static func namesEpoch(_ scene: StoreScene) async throws {
        _ = try await scene.enrol(["d-1", "d-2"])
        for _ in 0..<2 {
            let epoch = try await scene.store.newEpoch()
            let revision = try await source(scene).currentRevision()
            for after in [nil, revision] {
                let page = try await source(scene).page(
                    after: after,
                    cursor: nil,
                    limit: 10,
                    for: node
                )
                try scene.check.equal(page.epoch, epoch, "the epoch of a page")
            }
        }
    }
}
