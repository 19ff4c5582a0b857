import ClusterRole
import Logging
import Synchronization

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// A clock that stands until it is moved.
final class StandingClock: TimeSource {
    private let elapsed = Mutex(Duration.zero)

    func now() -> Timestamp {
        Timestamp(milliseconds: 1_800_000_000_000) + elapsed.withLock { $0 }
    }

    func monotonic() -> Duration { elapsed.withLock { $0 } }

    func sleep(for duration: Duration) async throws {
        // Nobody in these tests waits for it.
        try await ContinuousClock().sleep(for: .seconds(3_600))
    }

    func advance(by duration: Duration) { elapsed.withLock { $0 += duration } }
}

/// Randomness that repeats.
final class CountingRandom: RandomSource {
    private let state = Mutex<UInt64>(7)

    func next() -> UInt64 {
        state.withLock { state in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state
        }
    }
}

struct TestFailure: Error {}

/// An audit log that fails when told to.
final class FailingAuditLog: AuditLog {
    private let base: InMemoryAuditLog
    private let isFailing = Mutex(false)

    init(_ base: InMemoryAuditLog) { self.base = base }

    func fail(_ fails: Bool) { isFailing.withLock { $0 = fails } }

    func append(_ records: [AuditRecord], epoch: Epoch) async throws -> [AuditEntry] {
        if isFailing.withLock({ $0 }) { throw TestFailure() }
        return try await base.append(records, epoch: epoch)
    }

    func purgeAudit(
        before time: Timestamp,
        keepingAtMost count: Int,
        limit: Int,
        epoch: Epoch
    ) async throws -> Int {
        try await base.purgeAudit(before: time, keepingAtMost: count, limit: limit, epoch: epoch)
    }

    func entries(
        matching filter: AuditFilter,
        before: Int64?,
        limit: Int
    ) async throws -> AuditPage {
        try await base.entries(matching: filter, before: before, limit: limit)
    }

    func entries(after number: Int64, limit: Int) async throws -> [AuditEntry] {
        try await base.entries(after: number, limit: limit)
    }

    func auditBounds() async throws -> AuditBounds { try await base.auditBounds() }
}

/// The error a call throws.
func clusterRoleError(_ body: () async throws -> Void) async -> ClusterRoleError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? ClusterRoleError
    }
}
