internal import ClusterRole
internal import DeviceRegistry

/// Asks for an operation on some devices.
public struct EnqueueRequest: Hashable, Sendable {
    public var target: OperationTarget
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

/// Whether devices are woken for an operation.
public enum WakePolicy: String, Hashable, Sendable, Codable {
    /// A contentless push asks each to poll now.
    case push
    /// Nobody is woken.
    case none
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
