internal import ClusterMembership
internal import ClusterRole

/// The contract of `SharedStateStorage`.
public struct SharedStateConformance: Sendable {
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
        try await runStoreConformance("SharedStateStorage", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("an empty state is a snapshot at revision 0", beginsEmpty),
        .init("a version is the revision that wrote it, and the key is logged", takesRevisions),
        .init("a reader gets what changed since, in order", givesDeltas),
        .init("another history, or a revision ahead, gets a snapshot", givesSnapshots),
        .init("a value that is not the expected one is not replaced", comparesAndSets),
        .init("removing is seen, and removing nothing takes no revision", removes),
        .init("readers behind forgotten removals get a snapshot", forgetsRemovals),
        .init("more than allowed is refused, and less fits again", isBounded),
        .init("an old epoch changes nothing", refusesOldEpoch),
        .init("the state is there after a restart", survivesReopening),
    ]

    private static func storage(_ scene: StoreScene) throws -> any SharedStateStorage {
        try scene.needs(\.sharedState, "SharedStateStorage")
    }

    @discardableResult
    private static func set(
        _ value: [UInt8]?,
        _ key: String,
        _ scene: StoreScene,
        expecting expected: SharedStateChange.Expectation = .anything,
        limits: SharedStateLimits = SharedStateLimits()
    ) async throws -> SharedStateEntry? {
        try await storage(scene).change(
            SharedStateChange(
                key: SharedStateKey(key, in: "conformance"),
                value: value,
                expected: expected
            ),
            limits: limits,
            epoch: scene.epoch
        )
    }

    private static func state(
        after revision: Revision?,
        _ scene: StoreScene
    ) async throws -> SharedStateDelta {
        let found = try await storage(scene).state(after: revision)
        return try scene.check.some(found, "the state after \(String(describing: revision))")
    }

    private static func refusal(
        _ scene: StoreScene,
        _ body: () async throws -> Void
    ) async throws -> ClusterMembershipError.Code {
        do {
            try await body()
        } catch let error as ClusterMembershipError {
            return error.code
        }
        throw scene.check.failure("it was not refused")
    }

    private static func beginsEmpty(_ scene: StoreScene) async throws {
        let first = try await state(after: nil, scene)
        try scene.check.equal(first.entries, [], "entries")
        try scene.check.equal(first.revision.number, 0, "the revision")
        try scene.check.isTrue(first.isSnapshot, "a snapshot")
        try scene.check.isNil(
            try await storage(scene).state(after: first.revision),
            "what a reader of it lacks"
        )
    }

    private static func takesRevisions(_ scene: StoreScene) async throws {
        let log = try scene.needs(\.log, "RevisionLog")
        let before = try await log.current()
        let entry = try await set([1], "a", scene)
        let after = try await log.current()
        try scene.check.equal(after.number, before.number + 1, "the revision after a change")
        try scene.check.equal(entry?.version, after.number, "the version")
        try scene.check.equal(
            try await log.changes(after: before, limit: 9).flatMap(\.keys),
            [.sharedState(namespace: "conformance", key: "a")],
            "the keys logged"
        )
    }

    private static func givesDeltas(_ scene: StoreScene) async throws {
        try await set([1], "a", scene)
        try await set([], "b", scene)
        let position = try await state(after: nil, scene).revision
        try await set([3], "c", scene)
        let changed = try await set([4], "a", scene)
        let delta = try await state(after: position, scene)
        try scene.check.equal(delta.isSnapshot, false, "a delta, no snapshot")
        try scene.check.equal(delta.entries.map(\.key.key), ["c", "a"], "what changed, in order")
        try scene.check.equal(delta.revision.number, changed?.version ?? 0, "where it leads")
        let all = try await state(after: nil, scene)
        try scene.check.equal(all.entries.map(\.value), [[], [3], [4]], "all values, in order")
    }

    private static func givesSnapshots(_ scene: StoreScene) async throws {
        try await set([1], "a", scene)
        let present = try await state(after: nil, scene)
        let foreign = Revision(
            history: HistoryID(bits: present.revision.history.bits ^ 1),
            number: present.revision.number
        )
        let ahead = Revision(
            history: present.revision.history,
            number: present.revision.number + 5
        )
        for revision in [foreign, ahead] {
            try scene.check.equal(
                try await state(after: revision, scene),
                present,
                "the state after \(revision)"
            )
        }
    }

    private static func comparesAndSets(_ scene: StoreScene) async throws {
        let first = try await set([1], "a", scene, expecting: .absent)
        let version = try scene.check.some(first, "the entry").version
        for expected in [SharedStateChange.Expectation.absent, .version(version + 1)] {
            let code = try await refusal(scene) {
                try await set([2], "a", scene, expecting: expected)
            }
            try scene.check.equal(code, .stateConflict, "the refusal")
        }
        let missing = try await refusal(scene) {
            try await set([2], "b", scene, expecting: .version(version))
        }
        try scene.check.equal(missing, .stateConflict, "the refusal where nothing is")
        try await set([3], "a", scene, expecting: .version(version))
        try scene.check.equal(
            try await state(after: nil, scene).entries.map(\.value),
            [[3]],
            "the value"
        )
    }

    private static func removes(_ scene: StoreScene) async throws {
        try await set([1], "a", scene)
        let position = try await state(after: nil, scene).revision
        try await set(nil, "a", scene)
        try scene.check.equal(
            try await state(after: position, scene).entries.map(\.value),
            [nil],
            "the removal"
        )
        let removed = try await state(after: nil, scene)
        try scene.check.equal(removed.entries, [], "a snapshot after it")
        try scene.check.isNil(try await set(nil, "a", scene), "removing it again")
        try scene.check.isNil(
            try await storage(scene).state(after: removed.revision),
            "what that changed"
        )
        try await set([2], "a", scene, expecting: .absent)
    }

    private static func forgetsRemovals(_ scene: StoreScene) async throws {
        let limits = SharedStateLimits(keptRemovals: 2)
        try await set([0], "kept", scene, limits: limits)
        let position = try await state(after: nil, scene).revision
        for index in 0..<5 {
            try await set([1], "k\(index)", scene, limits: limits)
            try await set(nil, "k\(index)", scene, limits: limits)
        }
        let far = try await state(after: position, scene)
        try scene.check.isTrue(far.isSnapshot, "a reader far behind gets a snapshot")
        try scene.check.equal(far.entries.map(\.key.key), ["kept"], "its entries")
    }

    private static func isBounded(_ scene: StoreScene) async throws {
        let limits = SharedStateLimits(
            maximumBytes: 100,
            maximumEntries: 2,
            maximumValueBytes: 60
        )
        func bytes(_ count: Int) -> [UInt8] { Array(repeating: 7, count: count) }
        let long = try await refusal(scene) {
            try await set(bytes(61), "a", scene, limits: limits)
        }
        try scene.check.equal(long, .invalidState, "a value that is too long")
        try await set(bytes(60), "a", scene, limits: limits)
        let many = try await refusal(scene) {
            try await set(bytes(60), "b", scene, limits: limits)
        }
        try scene.check.equal(many, .stateFull, "too many bytes")
        try await set(bytes(1), "b", scene, limits: limits)
        let third = try await refusal(scene) {
            try await set([], "c", scene, limits: limits)
        }
        try scene.check.equal(third, .stateFull, "too many entries")
        try await set(nil, "b", scene, limits: limits)
        try await set([], "c", scene, limits: limits)
    }

    private static func refusesOldEpoch(_ scene: StoreScene) async throws {
        try await set([1], "a", scene)
        let before = try await state(after: nil, scene)
        _ = try await scene.store.newEpoch()
        do {
            try await set([2], "a", scene)
            throw scene.check.failure("an old epoch wrote")
        } catch let error as ClusterRoleError {
            try scene.check.equal(error.code, .fenced, "the refusal")
        }
        try scene.check.equal(try await state(after: nil, scene), before, "the state")
    }

    private static func survivesReopening(_ scene: StoreScene) async throws {
        guard let reopen = scene.store.reopen else {
            throw StepSkip(reason: "the store keeps nothing")
        }
        let limits = SharedStateLimits(keptRemovals: 1)
        let start = try await state(after: nil, scene).revision
        try await set([1], "a", scene)
        for index in 0..<3 {
            try await set([1], "k\(index)", scene, limits: limits)
            try await set(nil, "k\(index)", scene, limits: limits)
        }
        let before = try await state(after: nil, scene)
        let again = try await reopen()
        do {
            let storage = try scene.check.some(again.sharedState, "the state after the restart")
            try scene.check.equal(
                try await storage.state(after: nil),
                before,
                "the state after the restart"
            )
            let far = try await storage.state(after: start)
            try scene.check.equal(far?.isSnapshot, true, "what was forgotten stays forgotten")
        } catch {
            try? await again.close()
            throw error
        }
        try await again.close()
    }
}
