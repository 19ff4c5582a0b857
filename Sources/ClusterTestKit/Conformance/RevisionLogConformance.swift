internal import ClusterMembership
internal import ClusterRole
internal import DeviceRegistry

/// The contract of `RevisionLog`.
public struct RevisionLogConformance: Sendable {
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
        try await runStoreConformance("RevisionLog", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("each append takes the next revision", appends),
        .init("changes come oldest first, up to the limit, with their keys", readsInOrder),
        .init(
            "another history and a number it never had are no place to read from",
            refusesForeign
        ),
        .init("an old epoch appends nothing", refusesOldEpoch),
        .init("the log goes on after a restart", survivesReopening),
    ]

    private static func key(_ index: Int) -> ChangeKey {
        .channel(tenant: TenantID(rawValue: "conformance"), name: "channel-\(index)")
    }

    private static func appends(_ scene: StoreScene) async throws {
        let log = try scene.needs(\.log, "RevisionLog")
        var last = try await log.current()
        for index in 0..<3 {
            let next = try await log.append([key(index)], epoch: scene.epoch)
            try scene.check.equal(next.history, last.history, "the history")
            try scene.check.isTrue(next.number > last.number, "\(next) is after \(last)")
            try scene.check.equal(try await log.current(), next, "the newest revision")
            last = next
        }
        let device = try await scene.change(
            .enrol(scene.enrolment(of: DeviceID(rawValue: "d-1")))
        )
        try scene.check.isTrue(
            device.revision.covers(last) && device.revision != last,
            "all drivers of a store count in one line"
        )
    }

    private static func readsInOrder(_ scene: StoreScene) async throws {
        let log = try scene.needs(\.log, "RevisionLog")
        let start = try await log.current()
        var expected: [LoggedChange] = []
        for index in 0..<5 {
            let keys = [key(index), key(index + 100)]
            let revision = try await log.append(keys, epoch: scene.epoch)
            expected.append(LoggedChange(number: revision.number, keys: keys))
        }
        func sorted(_ changes: [LoggedChange]) -> [LoggedChange] {
            changes.map {
                LoggedChange(
                    number: $0.number,
                    keys: $0.keys.sorted { "\($0)" < "\($1)" }
                )
            }
        }
        let all = try await log.changes(after: start, limit: 100)
        try scene.check.equal(sorted(all), sorted(expected), "all changes")
        var seen: [LoggedChange] = []
        var after = start
        while seen.count <= expected.count {
            let page = try await log.changes(after: after, limit: 2)
            try scene.check.isTrue(page.count <= 2, "a page holds at most its limit")
            guard let last = page.last else { break }
            seen += page
            after = Revision(history: start.history, number: last.number)
        }
        try scene.check.equal(sorted(seen), sorted(expected), "changes over all pages")
    }

    private static func refusesForeign(_ scene: StoreScene) async throws {
        let log = try scene.needs(\.log, "RevisionLog")
        let current = try await log.append([key(1)], epoch: scene.epoch)
        let foreign = Revision(history: HistoryID(bits: current.history.bits ^ 1), number: 0)
        do {
            let found = try await log.changes(after: foreign, limit: 10)
            throw scene.check.failure("a foreign history: expected compacted, found \(found)")
        } catch let error as ClusterMembershipError where error.code == .compacted {}
        try scene.check.equal(
            try await log.changes(after: current, limit: 10),
            [],
            "changes after the newest revision"
        )
    }

    private static func refusesOldEpoch(_ scene: StoreScene) async throws {
        let log = try scene.needs(\.log, "RevisionLog")
        let before = try await log.current()
        try await scene.expectFenced("append") { epoch in
            _ = try await log.append([key(1)], epoch: epoch)
        }
        try scene.check.equal(try await log.changes(after: before, limit: 10), [], "changes")
    }

    private static func survivesReopening(_ scene: StoreScene) async throws {
        let reopen = try scene.needs(\.reopen, "way to be opened again")
        let log = try scene.needs(\.log, "RevisionLog")
        let start = try await log.current()
        let first = try await log.append([key(1)], epoch: scene.epoch)
        let store = try await reopen()
        let again = StoreScene(store: store, epoch: try await store.newEpoch(), check: scene.check)
        let reopened = try again.needs(\.log, "RevisionLog")
        let second = try await reopened.append([key(2)], epoch: again.epoch)
        try again.check.isTrue(second.covers(first) && second != first, "the line goes on")
        let keys = try await reopened.changes(after: start, limit: 100).flatMap(\.keys)
        for index in 1...2 { try again.check.isTrue(keys.contains(key(index)), "key \(index)") }
        try await store.close()
    }
}
