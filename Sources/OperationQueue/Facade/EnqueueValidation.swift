internal import ClusterRole

extension EnqueueLimits {
    /// - Throws: ``OperationQueueError`` with code `invalidRequest` or `tooLarge`.
    func validateTerms(of request: EnqueueRequest) throws(OperationQueueError) {
        guard request.after.count <= dependencies else {
            throw OperationQueueError(
                .tooLarge,
                "An operation waits for at most \(dependencies) others; this for \(request.after.count)."
            )
        }
        guard Set(request.after.map(\.activity)).count == request.after.count else {
            throw OperationQueueError(
                .invalidRequest,
                "An operation waits for another once. Name each activity once."
            )
        }
        if case .supersede(let key) = request.control,
            key.isEmpty || key.utf8.count > controlKeyBytes
        {
            throw OperationQueueError(
                .invalidRequest,
                "A supersede key has 1 to \(controlKeyBytes) bytes; this has \(key.utf8.count)."
            )
        }
        try validate(request.timeouts)
        if let retry = request.retry { try validate(retry) }
        if let rollout = request.rollout { try validate(rollout) }
        if request.scope.isStanding, request.rollout != nil {
            throw OperationQueueError(
                .invalidRequest,
                "A rollout needs a known set of devices: it can't be combined with joiners."
            )
        }
        if request.scope.isStanding, request.target.group == nil {
            throw OperationQueueError(
                .invalidRequest,
                "Joiners join a group. Address a group, or leave the scope out."
            )
        }
        if let start = request.notBefore, start < .distantPast || start > .distantFuture {
            throw OperationQueueError(.invalidRequest, "A start lies between 1970 and 9999.")
        }
    }

    private func validate(_ timeouts: ExecutionTimeouts) throws(OperationQueueError) {
        for time in [timeouts.whole, timeouts.step, timeouts.cancellation] {
            guard let time, time < .seconds(1) || time > expiresAfter else { continue }
            throw OperationQueueError(
                .invalidRequest,
                "A timeout is at least one second and at most \(expiresAfter)."
            )
        }
    }

    private func validate(_ retry: RetryPolicy) throws(OperationQueueError) {
        guard retry.count >= 1, retry.count <= retries else {
            throw OperationQueueError(
                .invalidRequest,
                "A retry policy repeats 1 to \(retries) times; this \(retry.count)."
            )
        }
        guard retry.backoff >= .milliseconds(1), retry.longestBackoff >= retry.backoff,
            retry.longestBackoff <= expiresAfter
        else {
            throw OperationQueueError(
                .invalidRequest,
                "A backoff is longer than zero, and the longest one not shorter than the first."
            )
        }
        guard case .errors(let codes) = retry.matching else { return }
        guard !codes.isEmpty, codes.count <= retryErrors,
            codes.allSatisfy({ !$0.isEmpty && $0.utf8.count <= controlKeyBytes })
        else {
            throw OperationQueueError(
                .invalidRequest,
                "A retry policy names 1 to \(retryErrors) error codes of 1 to \(controlKeyBytes) bytes."
            )
        }
    }

    private func validate(_ plan: RolloutPlan) throws(OperationQueueError) {
        switch plan.pace {
        case .rate(let devicesPerMinute):
            guard devicesPerMinute > 0 else {
                throw OperationQueueError(
                    .invalidRequest,
                    "A rate is at least one device a minute."
                )
            }
        case .waves(let waves):
            guard !waves.isEmpty, waves.count <= RolloutPlan.maximumWaves else {
                throw OperationQueueError(
                    .invalidRequest,
                    "A rollout has 1 to \(RolloutPlan.maximumWaves) waves; this has \(waves.count)."
                )
            }
            var last: Int32 = 0
            for wave in waves {
                guard wave.share > last, wave.share <= RolloutPlan.everyone,
                    (0...100).contains(wave.successPercent), wave.soak >= .zero,
                    wave.soak <= expiresAfter
                else {
                    throw OperationQueueError(
                        .invalidRequest,
                        "The shares of waves grow, up to \(RolloutPlan.everyone); a success threshold is "
                            + "0 to 100 per cent; a soak time is not negative."
                    )
                }
                last = wave.share
            }
        }
        guard let failure = plan.failure else { return }
        guard (1...100).contains(failure.percent), failure.minimum >= 1 else {
            throw OperationQueueError(
                .invalidRequest,
                "A failure threshold is 1 to 100 per cent, and at least one failure."
            )
        }
    }
}
