internal import ClusterRole
public import DeviceRegistry
internal import Metrics

/// What a device says of a large result before it sends the bytes.
public struct LargeResultHead: Hashable, Sendable {
    public var execution: ExecutionID
    /// The handing-out it answers, if the device kept it.
    public var attempt: AttemptID?
    /// Completed or failed, with an error code or without.
    public var outcome: ResultOutcome
    /// How many bytes follow, if the device says it.
    public var declaredBytes: Int?
    /// SHA-256 of the bytes, if the device says it.
    public var digest: [UInt8]?

    public init(
        execution: ExecutionID,
        attempt: AttemptID? = nil,
        outcome: ResultOutcome = .completed,
        declaredBytes: Int? = nil,
        digest: [UInt8]? = nil
    ) {
        self.execution = execution
        self.attempt = attempt
        self.outcome = outcome
        self.declaredBytes = declaredBytes
        self.digest = digest
    }
}

/// What became of a large result.
public struct LargeResultReceipt: Hashable, Sendable {
    /// How many bytes were taken.
    public var bytes: Int
    /// SHA-256 of them; empty if the result was known already.
    public var digest: [UInt8]
    /// Whether this node had the execution's answer already: nothing was read.
    public var wasKnown: Bool

    public init(bytes: Int, digest: [UInt8], wasKnown: Bool) {
        self.bytes = bytes
        self.digest = digest
        self.wasKnown = wasKnown
    }
}

extension DeviceExchange {
    /// Takes a result that is too large for a report, as it comes; never more than a chunk of it is in
    /// memory.
    ///
    /// Each chunk is durable before the next is read. When this returns, all of it is, together with the
    /// execution's result, whose detail is `{"largeResult":{"bytes":…,"sha256":"…"}}`. Until then the
    /// execution has no result: a device that was interrupted sends everything again, here or elsewhere.
    ///
    /// - Parameters:
    ///   - head: which execution, and what is known of the bytes.
    ///   - body: the bytes, in pieces of any size.
    ///   - device: who it is, as an authenticator found.
    /// - Throws: ``OperationQueueError``: `unknownDevice`, `foreignExecution`, `invalidRequest`,
    ///   `tooManyExchanges`, `tooManyUploads` before anything is read; `tooLarge` beyond
    ///   ``ExchangeLimits/largeResultBytes``; `uploadInterrupted` when the body breaks off or is not as
    ///   long as was said; `digestMismatch`; `spoolFull`, after which all of it is sent again.
    public func accept<Body: AsyncSequence & Sendable>(
        _ head: LargeResultHead,
        body: Body,
        device: DeviceIdentity
    ) async throws(OperationQueueError) -> LargeResultReceipt where Body.Element == [UInt8] {
        try validateOwner(device, [head.execution])
        try limits.validate(head)
        try traffic.admit(device, isReport: true, at: settings.clock.monotonic())
        let found = try await queueCall {
            try await self.reader.openWork(for: device.device, tenant: device.tenant)
        }
        guard let work = found, work.device.incarnation == device.incarnation else {
            throw OperationQueueError(
                .unknownDevice,
                "The device \(device.device) is not enrolled. Enrol it again."
            )
        }
        let item = work.items.first { $0.operation.id == head.execution.operation }
        if item?.row?.state.isFinal ?? false {
            return LargeResultReceipt(bytes: 0, digest: [], wasKnown: true)
        }
        return try await traffic.upload { () async throws(OperationQueueError) in
            try await receive(head, body, device)
        }
    }

    private func receive<Body: AsyncSequence & Sendable>(
        _ head: LargeResultHead,
        _ body: Body,
        _ device: DeviceIdentity
    ) async throws(OperationQueueError) -> LargeResultReceipt where Body.Element == [UInt8] {
        var upload = ResultUpload(
            id: UploadID(from: settings.random),
            limit: limits.largeResultBytes
        )
        var pieces = body.makeAsyncIterator()
        while let piece = try await Self.next(&pieces) {
            for chunk in try upload.onPiece(piece) {
                try await commit([
                    entry(.resultChunk(head.execution.operation, chunk: chunk), device)
                ])
            }
        }
        let (last, digest) = try upload.onEnd(of: head)
        try await commit([
            entry(.contact(answeredAt: nil), device),
            entry(.resultChunk(head.execution.operation, chunk: last), device),
            entry(
                .result(
                    head.execution.operation,
                    attempt: head.attempt,
                    outcome: head.outcome,
                    detail: upload.detail(digest: digest)
                ),
                device
            ),
        ])
        Counter(label: "reeve_large_results_total").increment()
        Counter(label: "reeve_large_result_bytes_total").increment(by: upload.bytes)
        return LargeResultReceipt(bytes: upload.bytes, digest: digest, wasKnown: false)
    }

    private func entry(_ body: InboxEntry.Body, _ device: DeviceIdentity) -> InboxEntry {
        InboxEntry(identity: device, receivedAt: settings.clock.now(), body: body)
    }

    private static func next<Iterator: AsyncIteratorProtocol>(
        _ pieces: inout Iterator
    ) async throws(OperationQueueError) -> [UInt8]? where Iterator.Element == [UInt8] {
        do {
            return try await pieces.next()
        } catch {
            let isTooLarge = (error as? any CodedError)?.category == .tooLarge
            throw OperationQueueError(
                isTooLarge ? .tooLarge : .uploadInterrupted,
                (error as? any CodedError)?.message
                    ?? "The body broke off. Send all of the result again.",
                cause: error
            )
        }
    }
}

extension ExchangeLimits {
    /// - Throws: ``OperationQueueError`` with code `tooLarge` or `invalidRequest`.
    func validate(_ head: LargeResultHead) throws(OperationQueueError) {
        if let bytes = head.declaredBytes, bytes > largeResultBytes {
            throw ResultUpload.tooLarge(largeResultBytes)
        }
        switch head.outcome {
        case .completed, .failed: break
        case .failedBecause(let code) where !code.isEmpty && code.utf8.count <= errorCodeBytes:
            break
        case .failedBecause:
            throw OperationQueueError(
                .invalidRequest,
                "An error code has 1 to \(errorCodeBytes) bytes."
            )
        case .notNow, .awaitingConfirmation, .confirmed, .cancelled:
            throw OperationQueueError(
                .invalidRequest,
                "A large result is completed or failed; send anything else in an exchange."
            )
        }
        guard head.digest.map({ $0.count == ResultChunk.digestBytes }) ?? true else {
            throw OperationQueueError(
                .invalidRequest,
                "A SHA-256 digest has \(ResultChunk.digestBytes) bytes."
            )
        }
    }
}
