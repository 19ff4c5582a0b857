internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

/// The contract of `OperationStorage`, step by step.
public struct OperationStorageConformance: Sendable {
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
        try await runStoreConformance(
            "OperationStorage",
            makeStore,
            timeLimit,
            Self.steps + Self.termSteps
        )
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        // Enqueueing.
        .init("an operation to devices is open for each and for nobody else", enqueuesToDevices),
        .init("an operation to a group is open for its members", enqueuesToGroup),
        .init("unknown targets are refused, and unknown names counted", countsUnknown),
        .init("a repeated idempotency key enqueues nothing new", repeatsKey),
        .init("the same key for another request is a conflict", refusesKeyConflict),
        .init("a group operation addresses the members as of its own number", bindsMembers),
        .init("a re-enrolled device inherits nothing open", inheritsNothing),
        .init("work is open in order of priority, then number", keepsOrder),
        .init("one call takes ten thousand devices", enqueuesToManyAtOnce),
        // Answers.
        .init("a claim withholds the work until its lease ends", claims),
        .init("a result is final, counted, and never offered again", completes),
        .init("the last final answer finishes the activity", finishes),
        .init("NotNow puts the work off and nothing else", defers),
        .init("progress replaces the lease", progresses),
        .init("the first final result wins and later ones are evidence", keepsFirstResult),
        .init("a repeated result changes nothing", ignoresRepeatedResult),
        .init("one call takes ten thousand entries", appliesManyAtOnce),
        // Closing.
        .init("cancelling ends what nobody holds and asks back what is held", cancels),
        .init("a late answer keeps the state and is counted", countsLateAnswers),
        .init("closing a closed activity changes nothing", closesOnce),
        .init("expired activities are listed, oldest first, until closed", listsExpired),
        .init("claimed work of an expired activity goes on to its result", letsClaimedWorkEnd),
        // Spools.
        .init("an entry is applied once, whatever is sent again", appliesOnce),
        .init("numbers below the mark are skipped and the mark never goes back", keepsMark),
        .init("a new spool begins its numbers anew", knowsSpoolIncarnations),
        .init("an entry that cannot be applied is rejected and the mark passes it", passesRejected),
        .init("entries of another enrolment of the device change nothing", refusesForeignEnrolment),
        // Large results.
        .init("a large result is read back as it was sent, once all of it came", keepsLargeResults),
        .init("chunks that are out of order or nobody's are rejected", refusesWrongChunks),
        .init("the first upload that is complete counts, in any mixture", keepsUploadsApart),
        .init("unfinished uploads are forgotten after their time", forgetsOldUploads),
        // Queries.
        .init("executions are rows and virtual rows, paged by device", unitesExecutions),
        .init("activities are listed newest first, paged by number", listsActivities),
        .init("tenants never cross", keepsTenantsApart),
        .init(
            "activities are found by code, type, state, initiator, group, time and key",
            filtersActivities
        ),
        .init("a device's work over all activities, newest first", listsADevicesWork),
        .init("a query looks at a bounded number of operations a call", boundsQueries),
        // Guards.
        .init("an old epoch changes nothing", refusesOldEpoch),
        .init("many callers at once get a number each", numbersConcurrentCalls),
        .init("what was acknowledged is there after a restart", survivesReopening),
    ]
}
