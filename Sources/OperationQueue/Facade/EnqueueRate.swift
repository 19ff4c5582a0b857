internal import ClusterRole
package import DeviceRegistry
internal import Synchronization

/// A token bucket a tenant: at most `enqueuesPerMinute` a minute on average, and a minute's at once
/// after a pause.
///
/// It is kept in memory of the one manager that writes; a new coordinator begins with full buckets.
final class EnqueueRate: Sendable {
    private struct Bucket {
        var limit: Int?
        /// Until when the limit is not read again.
        var freshUntil: Duration
        var tokens: Double
        var refilledAt: Duration
    }

    /// How long a changed quota may go unnoticed.
    static let freshness = Duration.seconds(5)
    /// Tenants remembered; with more, full buckets are forgotten first.
    static let maximumTenants = 100_000

    private let quotas: any QuotaStorage
    private let clock: any TimeSource
    private let buckets = Mutex<[TenantID: Bucket]>([:])

    init(quotas: any QuotaStorage, clock: any TimeSource) {
        self.quotas = quotas
        self.clock = clock
    }

    /// Takes a token.
    ///
    /// - Throws: ``OperationQueueError`` with code `quotaExceeded`, saying when there is one again.
    func take(for tenant: TenantID) async throws {
        let now = clock.monotonic()
        let known = buckets.withLock { $0[tenant] }
        if known.map({ $0.freshUntil <= now }) ?? true {
            let limit = try await quotas.quota(of: tenant).enqueuesPerMinute
            buckets.withLock { buckets in
                if buckets.count >= Self.maximumTenants { buckets = [:] }
                var bucket =
                    buckets[tenant]
                    ?? Bucket(
                        limit: limit,
                        freshUntil: now,
                        tokens: Double(limit ?? 0),
                        refilledAt: now
                    )
                if bucket.limit != limit {
                    bucket.tokens = min(bucket.tokens, Double(limit ?? 0))
                    if bucket.limit == nil { bucket.tokens = Double(limit ?? 0) }
                }
                bucket.limit = limit
                bucket.freshUntil = now + Self.freshness
                buckets[tenant] = bucket
            }
        }
        let refusal: OperationQueueError? = buckets.withLock { buckets in
            guard var bucket = buckets[tenant], let limit = bucket.limit else { return nil }
            let perMillisecond = Double(limit) / 60_000
            let passed = max(0, (now - bucket.refilledAt).milliseconds)
            bucket.tokens = min(Double(limit), bucket.tokens + Double(passed) * perMillisecond)
            bucket.refilledAt = now
            defer { buckets[tenant] = bucket }
            if bucket.tokens >= 1 {
                bucket.tokens -= 1
                return nil
            }
            let wait =
                limit == 0
                ? 60_000 : Int64(((1 - bucket.tokens) / perMillisecond).rounded(.up))
            return .quotaExceeded(enqueuesPerMinute: limit, retryAfter: .milliseconds(wait))
        }
        if let refusal { throw refusal }
    }
}

extension OperationQueueError {
    /// How long to wait until some activity may have closed.
    private static let retryAfterCount = Duration.seconds(60)

    /// The tenant has all open activities it may have.
    package static func quotaExceeded(openActivities limit: Int) -> OperationQueueError {
        OperationQueueError(
            .quotaExceeded,
            "This tenant may have \(limit) open activities and has them. Wait until some are finished, "
                + "cancel some, or have its quota raised.",
            retryAfter: retryAfterCount
        )
    }

    /// A device is named by all open operations it may be named by.
    package static func quotaExceeded(named limit: Int, device: DeviceID) -> OperationQueueError {
        OperationQueueError(
            .quotaExceeded,
            "\(device) is named by \(limit) open operations, as many as this tenant's quota allows a "
                + "device. Wait until it has answered some, cancel some, or address a group.",
            retryAfter: retryAfterCount
        )
    }

    /// The tenant enqueues faster than it may.
    static func quotaExceeded(
        enqueuesPerMinute limit: Int,
        retryAfter: Duration
    ) -> OperationQueueError {
        OperationQueueError(
            .quotaExceeded,
            "This tenant may enqueue \(limit) requests a minute. Slow down: wait as long as Retry-After "
                + "says, then repeat; or address a group instead of its devices one by one.",
            retryAfter: retryAfter
        )
    }
}
