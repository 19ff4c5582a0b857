#if Server
internal import ClusterRole
internal import DeviceRegistry
internal import FoundationEssentials
internal import HTTPHandling
internal import OperationQueue

extension DeviceMessages.ExchangeRequest {
    /// A day. The exchange shortens what is longer than it allows; this only keeps time from overflowing.
    private static let longestWait = 86_400.0

    /// The report of this body.
    ///
    /// - Parameter defaultDeferral: what `notNow` without `retryAfter` means.
    /// - Throws: `ClusterRoleError` with code `invalidIdentifier` or `invalidName` for an identifier the
    ///   exchange did not give out; ``DeviceGatewayError`` with code `invalidField`.
    func report(defaultDeferral: Duration, at now: Timestamp) throws -> ExchangeReport {
        var report = ExchangeReport(redelivery: redeliver == true ? .now : .afterLease)
        if let limit {
            guard limit >= 0 else {
                throw DeviceGatewayError(.invalidField, "The field limit is not negative.")
            }
            report.limit = limit
        }
        if let wait {
            guard wait >= 0, wait <= Self.longestWait else {
                throw DeviceGatewayError(
                    .invalidField,
                    "The field wait is a number of seconds from 0 to \(Self.longestWait)."
                )
            }
            report.wait = .milliseconds(Int64((wait * 1_000).rounded(.up)))
        }
        report.results = try (results ?? []).map { result in
            ExecutionResult(
                execution: try ExecutionID(parsing: result.execution),
                attempt: try result.attempt.map { try AttemptID(parsing: $0) },
                outcome: try result.outcome(defaultDeferral: defaultDeferral, at: now),
                detail: try result.detail?.encoded() ?? []
            )
        }
        report.progress = try (progress ?? []).map { note in
            ExecutionProgress(
                execution: try ExecutionID(parsing: note.execution),
                attempt: try note.attempt.map { try AttemptID(parsing: $0) },
                detail: try note.detail?.encoded() ?? []
            )
        }
        return report
    }
}

extension DeviceMessages.ResultReport {
    /// A year. The exchange shortens what is longer than it allows; this only keeps time from
    /// overflowing.
    private static let longestDeferral = 366.0 * 86_400

    fileprivate func outcome(
        defaultDeferral: Duration,
        at now: Timestamp
    ) throws -> ResultOutcome {
        switch status {
        case .completed: return .completed
        case .failed: return error.map { .failedBecause($0) } ?? .failed
        case .awaitingConfirmation: return .awaitingConfirmation
        case .confirmed: return .confirmed
        case .cancelled: return .cancelled
        case .notNow:
            guard let retryAfter else { return .notNow(until: now + defaultDeferral) }
            guard retryAfter > 0, retryAfter <= Self.longestDeferral else {
                throw DeviceGatewayError(
                    .invalidField,
                    "The field retryAfter is a number of seconds above 0 and at most "
                        + "\(Self.longestDeferral)."
                )
            }
            return .notNow(until: now + .milliseconds(Int64((retryAfter * 1_000).rounded(.up))))
        }
    }
}

extension Duration {
    /// Seconds with decimals, to the millisecond.
    var inSeconds: Double { Double(milliseconds) / 1_000 }
}

/// The answer to an exchange, in UTF-8.
///
/// A payload that is JSON is put in as it was enqueued, byte for byte. It is the same text as the one
/// of ``DeviceMessages/ExchangeAnswer``, but for what a decoder would lose.
func encodedAnswer(_ answer: ExchangeAnswer, age: Duration?) throws -> [UInt8] {
    var text = Array(#"{"operations":["#.utf8)
    for (index, operation) in answer.operations.enumerated() {
        if index > 0 { text.append(UInt8(ascii: ",")) }
        text += try encodedOperation(operation)
    }
    text += Array("],".utf8)
    let rest = AnswerRest(
        cancel: answer.cancel.map(\.description),
        pollAfter: answer.pollAfter.inSeconds,
        revision: answer.revision.description,
        open: answer.open,
        age: age?.inSeconds
    )
    text += try JSONEncoder().encode(rest).dropFirst()
    return text
}

/// ``DeviceMessages/ExchangeAnswer`` without its operations.
private struct AnswerRest: Encodable {
    let cancel: [String]
    let pollAfter: Double
    let revision: String
    let open: Int
    let age: Double?
}

private func encodedOperation(_ operation: OfferedOperation) throws -> [UInt8] {
    let payload = operation.payload
    let isJSON = operation.type != .opaque && JSONText.isValid(payload)
    let head = DeviceMessages.OfferedOperation(
        execution: operation.execution.description,
        attempt: operation.attempt.description,
        code: operation.code.rawValue,
        type: operation.type.rawValue,
        priority: operation.priority,
        redelivery: operation.redelivery,
        retries: operation.retries,
        confirmation: operation.confirmation == .notAsked
            ? nil : operation.confirmation.rawValue,
        payload: nil,
        payloadBase64: payload.isEmpty || isJSON ? nil : Data(payload).base64EncodedString()
    )
    let encoded = try JSONEncoder().encode(head)
    guard isJSON else { return Array(encoded) }
    return Array(#"{"payload":"#.utf8) + payload + [UInt8(ascii: ",")] + encoded.dropFirst()
}
#endif
