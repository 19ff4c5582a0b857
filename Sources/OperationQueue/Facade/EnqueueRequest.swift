public import ClusterRole
internal import DeviceRegistry

/// Asks for an operation on some devices.
public struct EnqueueRequest: Hashable, Sendable {
    public var target: OperationTarget
    /// Which members of a group, if it is for one.
    public var scope = GroupScope.membersNow
    public var code: OperationCode
    public var type = OperationType.command
    /// What the devices get. At most ``EnqueueLimits/payloadBytes``.
    public var payload: [UInt8]
    /// Higher is offered first.
    public var priority: Int32 = 0
    public var order = OrderRule.skipsWaiting
    /// How long it may be handed out; `nil` for ever.
    public var expiresAfter: Duration?
    /// How long a handed-out operation is withheld from plain polls.
    public var deliveryLease = Duration.seconds(60)
    /// Repeat it when the answer was lost: the same request under the same key is enqueued once.
    public var idempotencyKey: String?
    /// Who asked, for the record.
    public var initiator = ""
    /// Whether devices are woken, or find the work by polling.
    public var wake = WakePolicy.push
    /// Before this it is handed out to nobody.
    public var notBefore: Timestamp?
    /// It is handed out only while this is open (``MaintenanceWindow``).
    public var window: MaintenanceWindow?
    public var timeouts = ExecutionTimeouts()
    /// What happens when a device fails it; `nil`: the execution has failed.
    public var retry: RetryPolicy?
    /// What must have completed on a device first. At most ``EnqueueLimits/dependencies``.
    public var after: [OperationDependency] = []
    /// Whether it may stand beside others of its kind on one device.
    public var control = RepetitionControl.always
    /// Whether the device must ask its user first.
    public var confirmation = ConfirmationRule.notAsked
    /// Whether an administrator must approve before anybody sees it.
    public var approval = ApprovalRule.notNeeded
    /// How it spreads over its devices; `nil`: all at once.
    public var rollout: RolloutPlan?

    public init(
        _ code: OperationCode,
        to target: OperationTarget,
        payload: [UInt8] = [],
        idempotencyKey: String? = nil
    ) {
        self.code = code
        self.target = target
        self.payload = payload
        self.idempotencyKey = idempotencyKey
    }
}

extension EnqueueRequest {
    /// The conditions the operation carries.
    var terms: OperationTerms {
        var terms = OperationTerms()
        terms.scope = target.group == nil ? .membersNow : scope
        terms.notBefore = notBefore
        terms.window = window
        terms.timeouts = timeouts
        terms.retry = retry
        terms.after = after
        terms.control = control
        terms.confirmation = confirmation
        terms.approval = approval
        terms.rollout = rollout
        terms.wake = wake
        return terms
    }
}

/// What one enqueue may hold.
public struct EnqueueLimits: Hashable, Sendable {
    /// The largest payload: every device of a group loads it, and every replica holds it.
    public var payloadBytes = 65_536
    /// The most devices named in one request; a fleet is addressed by a group.
    public var devices = 1_000_000
    /// The longest idempotency key, in bytes: it must fit an index entry.
    public var keyBytes = 512
    /// The longest initiator, in bytes.
    public var initiatorBytes = 255
    /// The longest delivery lease.
    public var deliveryLease = Duration.seconds(7 * 86_400)
    /// The longest time to expiry: ten years.
    public var expiresAfter = Duration.seconds(3_650 * 86_400)
    /// The most other activities one waits for.
    public var dependencies = 32
    /// The most repetitions after a failure.
    public var retries: Int32 = 100
    /// The most error codes of a retry policy.
    public var retryErrors = 32
    /// The longest supersede key, and the longest error code of a retry policy, in bytes.
    public var controlKeyBytes = 255

    public init() {}

    /// - Throws: ``OperationQueueError`` with code `tooLarge` or `invalidRequest`.
    func validate(_ request: EnqueueRequest) throws(OperationQueueError) {
        do {
            _ = try OperationCode(validating: request.code.rawValue)
            if case .group(let group) = request.target {
                _ = try GroupID(validating: group.rawValue)
            }
        } catch {
            throw OperationQueueError(.invalidRequest, error.message, cause: error)
        }
        guard request.payload.count <= payloadBytes else {
            throw OperationQueueError(
                .tooLarge,
                "A payload has at most \(payloadBytes) bytes; this has \(request.payload.count). "
                    + "Publish it as an artifact and name that."
            )
        }
        if case .devices(let named) = request.target {
            guard named.count <= devices else {
                throw OperationQueueError(
                    .tooLarge,
                    "A request names at most \(devices) devices. Address a group instead."
                )
            }
            guard !named.isEmpty else {
                throw OperationQueueError(.noTarget, "The request names no device. Name one.")
            }
        }
        try validateTexts(of: request)
        try validateTimes(of: request)
        try validateTerms(of: request)
    }

    private func validateTexts(of request: EnqueueRequest) throws(OperationQueueError) {
        if let key = request.idempotencyKey, key.isEmpty || key.utf8.count > keyBytes {
            throw OperationQueueError(
                .invalidRequest,
                "An idempotency key has 1 to \(keyBytes) bytes; this has \(key.utf8.count)."
            )
        }
        guard request.initiator.utf8.count <= initiatorBytes else {
            throw OperationQueueError(
                .invalidRequest,
                "An initiator has at most \(initiatorBytes) bytes."
            )
        }
    }

    private func validateTimes(of request: EnqueueRequest) throws(OperationQueueError) {
        guard request.deliveryLease >= .milliseconds(1), request.deliveryLease <= deliveryLease
        else {
            throw OperationQueueError(
                .invalidRequest,
                "A delivery lease is longer than zero and at most \(deliveryLease)."
            )
        }
        if let time = request.expiresAfter, time < .milliseconds(1) || time > expiresAfter {
            throw OperationQueueError(
                .invalidRequest,
                "An operation expires after more than zero and at most \(expiresAfter)."
            )
        }
    }
}
