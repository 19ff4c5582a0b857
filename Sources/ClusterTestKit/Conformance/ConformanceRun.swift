internal import ClusterRole

/// The time a step may take unless a suite is told otherwise: far more than any driver needs on a
/// busy machine, so that only one that hangs fails by it.
public let standardStepTimeLimit = Duration.seconds(180)

/// Runs the steps of a suite, each on a subject of its own.
func runConformance<Subject: Sendable>(
    _ suite: String,
    _ steps: [ConformanceStep<Subject>],
    timeLimit: Duration,
    make: @escaping @Sendable (ConformanceCheck) async throws -> Subject,
    close: @escaping @Sendable (Subject) async throws -> Void
) async throws -> ConformanceReport {
    var report = ConformanceReport(suite: suite)
    for step in steps {
        let check = ConformanceCheck(suite: suite, step: step.name)
        do {
            try await within(timeLimit, check) {
                let subject = try await make(check)
                do {
                    try await step.body(subject)
                } catch {
                    try? await close(subject)
                    throw error
                }
                try await close(subject)
            }
            report.passed.append(step.name)
        } catch let skip as StepSkip {
            report.skipped.append(ConformanceReport.Skip(step: step.name, reason: skip.reason))
        } catch let failure as ConformanceFailure {
            throw failure
        } catch let cancellation as CancellationError where Task.isCancelled {
            throw cancellation
        } catch {
            throw check.failure("the driver threw: \(error)")
        }
    }
    return report
}

/// Runs `body` and fails, rather than hangs, when it takes longer than `limit`.
private func within(
    _ limit: Duration,
    _ check: ConformanceCheck,
    _ body: @escaping @Sendable () async throws -> Void
) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await SystemTimeSource().sleep(for: limit)
            throw check.failure(
                "not done after \(limit): the driver hangs, or the limit is too low"
            )
        }
        defer { group.cancelAll() }
        try await group.next()
    }
}
