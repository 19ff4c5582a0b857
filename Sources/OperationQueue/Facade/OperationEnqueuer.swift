public import ClusterRole
public import DeviceRegistry
public import Logging
internal import Metrics
internal import Tracing

/// Enqueues and cancels operations: the writer's façade. Only who holds a `WriteCapability` can
/// make one.
public struct OperationEnqueuer: Sendable {
    let storage: any OperationStorage
    let capability: WriteCapability
    let clock: any TimeSource
    private let random: any RandomSource
    private let limits: EnqueueLimits
    private let rate: EnqueueRate?
    let logger: Logger
    private let enqueued = Counter(label: "reeve_operations_enqueued_total")
    private let addressed = Counter(label: "reeve_operations_addressed_total")

    /// - Parameters:
    ///   - storage: where operations are kept.
    ///   - capability: the coordinator's right to write.
    ///   - clock: tells the time; the system's unless a test moves it.
    ///   - random: draws ids.
    ///   - limits: of one request.
    ///   - quotas: how often a tenant may enqueue; `nil` for no bound. Bounds on counts are the
    ///     storage's.
    ///   - logger: where it logs.
    public init(
        storage: any OperationStorage,
        capability: WriteCapability,
        clock: any TimeSource = SystemTimeSource(),
        random: any RandomSource = SystemRandomSource(),
        limits: EnqueueLimits = EnqueueLimits(),
        quotas: (any QuotaStorage)? = nil,
        logger: Logger = Logger(label: "reeve.operations")
    ) {
        self.storage = storage
        self.capability = capability
        self.clock = clock
        self.random = random
        self.limits = limits
        rate = quotas.map { EnqueueRate(quotas: $0, clock: clock) }
        self.logger = logger
    }

    /// Enqueues one operation. When it returns, the operation is durable.
    ///
    /// - Throws: ``OperationQueueError`` with code `invalidRequest`, `tooLarge`, `noTarget`,
    ///   `unknownGroup`, `keyConflict`, `quotaExceeded` (which says when to repeat); with code `storage` and the category `unavailable` once this
    ///   node is no longer the coordinator.
    public func enqueue(
        _ request: EnqueueRequest,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) -> EnqueueReceipt {
        try limits.validate(request)
        if let rate { try await queueCall { try await rate.take(for: tenant) } }
        let receipt = try await queueCall {
            try await withSpan("reeve.enqueue") { span in
                if span.isRecording { span.attributes["reeve.code"] = request.code.rawValue }
                return try await self.storage.enqueue(
                    self.plan(for: request),
                    tenant: tenant,
                    epoch: self.capability.requireEpoch()
                )
            }
        }
        if !receipt.wasRepeated {
            enqueued.increment()
            addressed.increment(by: receipt.addressed)
        }
        logger.debug(
            "operation enqueued",
            metadata: [
                "activity": "\(receipt.activity)", "code": "\(request.code)",
                "tenant": "\(tenant)", "addressed": "\(receipt.addressed)",
                "repeated": "\(receipt.wasRepeated)",
            ]
        )
        return receipt
    }

    private func plan(for request: EnqueueRequest) -> EnqueuePlan {
        var request = request
        if case .devices(let named) = request.target, named.count > 1 {
            request.target = .devices(Set(named).sorted())
        }
        let now = clock.now()
        let operation = DeviceOperation(
            id: OperationID(from: random),
            activity: ActivityID(from: random),
            number: 0,
            code: request.code,
            type: request.type,
            payload: request.payload,
            priority: request.priority,
            order: request.order,
            expiresAt: request.expiresAfter.map { now + $0 },
            deliveryLease: .milliseconds(request.deliveryLease.milliseconds),
            createdAt: now,
            terms: request.terms
        )
        return EnqueuePlan(
            operation: operation,
            target: request.target,
            initiator: request.initiator,
            idempotencyKey: request.idempotencyKey,
            // Compared with that of another request under the same key: without one it is never asked for.
            requestDigest: request.idempotencyKey == nil
                ? [] : RequestDigest.digest(of: request),
            wakeAt: request.wake == .push ? now : nil
        )
    }
}

/// Runs a driver's call and wraps what it throws.
func queueCall<Value>(
    _ body: () async throws -> Value
) async throws(OperationQueueError) -> Value {
    do {
        return try await body()
    } catch let error as OperationQueueError {
        throw error
    } catch {
        let cause = error as? any CodedError
        throw OperationQueueError(
            .storage,
            cause?.message ?? "The operations' store failed. Look at the node's log.",
            retryAfter: cause?.retryAfter,
            cause: error
        )
    }
}
