#if Server
internal import ClusterRole
internal import HTTPHandling
internal import OperationQueue

extension AdminMessages.OperationRequest {
    /// The longest wait, timeout and soak: ten years. It only keeps time from overflowing; the enqueuer
    /// holds its own limits.
    private static let longest = Duration.seconds(3_650 * 86_400)

    /// Puts the terms of this body into a request.
    ///
    /// - Throws: ``ManagerConsoleError`` with code `invalidField`; `OperationQueueError` with code
    ///   `invalidRequest` for a window that is none.
    func addTerms(
        to request: inout EnqueueRequest,
        at now: Timestamp,
        zones: any TimeZoneSource
    ) throws {
        switch scope {
        case nil: break
        case .membersNow: request.scope = .membersNow
        case .membersAndJoiners: request.scope = .membersAndJoiners
        case .joinersOnly: request.scope = .joinersOnly
        }
        if let notBefore {
            guard notBefore >= 0, notBefore <= Timestamp.distantFuture.milliseconds else {
                throw ManagerConsoleError(
                    .invalidField,
                    "The field notBefore is a time in milliseconds since 1970."
                )
            }
            request.notBefore = Timestamp(milliseconds: notBefore)
        }
        request.window = try window?.resolved(
            from: now,
            through: now + (request.expiresAfter ?? MaintenanceWindow.maximumHorizon),
            using: zones
        )
        if let timeouts {
            request.timeouts.whole = try Self.duration(timeouts.whole, "timeouts.whole")
            request.timeouts.step = try Self.duration(timeouts.step, "timeouts.step")
            if let time = try Self.duration(timeouts.cancellation, "timeouts.cancellation") {
                request.timeouts.cancellation = time
            }
        }
        request.retry = try retry?.policy()
        request.after = try (after ?? []).map { dependency in
            OperationDependency(
                try ActivityID(parsing: dependency.activity),
                onFailure: dependency.onFailure == .pause ? .pause : .stop
            )
        }
        switch (noRepeat ?? false, supersede) {
        case (false, nil): break
        case (true, nil): request.control = .noRepeat
        case (false, let key?): request.control = .supersede(key)
        case (true, _?):
            throw ManagerConsoleError(.invalidField, "Send noRepeat or supersede, not both.")
        }
        if confirmation == .required { request.confirmation = .required }
        if approval == .required { request.approval = .required }
        request.rollout = try rollout?.plan()
    }

    /// A number of seconds above zero, if there is one.
    fileprivate static func duration(_ seconds: Double?, _ field: String) throws -> Duration? {
        try seconds.map {
            try Duration(seconds: $0, of: field, in: .milliseconds(1)...longest)
        }
    }
}

extension AdminMessages.OperationRequest.Window {
    fileprivate func resolved(
        from: Timestamp,
        through: Timestamp,
        using zones: any TimeZoneSource
    ) throws -> MaintenanceWindow {
        let known = try days.map { name in
            guard let day = Weekday.allCases.first(where: { String(describing: $0) == name })
            else {
                throw ManagerConsoleError(
                    .invalidField,
                    "A day of a window is one of monday to sunday, not \(name)."
                )
            }
            return day
        }
        return try MaintenanceWindow.resolve(
            days: Set(known),
            start: start,
            duration: Duration(
                seconds: duration,
                of: "window.duration",
                in: MaintenanceWindow.allowedDurations
            ),
            zone: zone,
            from: from,
            through: through,
            using: zones
        )
    }
}

extension AdminMessages.OperationRequest.Retry {
    fileprivate func policy() throws -> RetryPolicy {
        var policy = RetryPolicy(count: count)
        typealias Request = AdminMessages.OperationRequest
        if let time = try Request.duration(backoff, "retry.backoff") { policy.backoff = time }
        if let time = try Request.duration(longestBackoff, "retry.longestBackoff") {
            policy.longestBackoff = time
        }
        switch (matching, errors) {
        case (nil, nil), (.any, nil): policy.matching = .any
        case (.timeouts, nil): policy.matching = .timeouts
        case (nil, let errors?): policy.matching = .errors(errors)
        case (_?, _?):
            throw ManagerConsoleError(
                .invalidField,
                "Send retry.matching or retry.errors, not both."
            )
        }
        return policy
    }
}

extension AdminMessages.OperationRequest.Rollout {
    fileprivate func plan() throws -> RolloutPlan {
        let pace: RolloutPlan.Pace
        switch (waves, devicesPerMinute) {
        case (let waves?, nil): pace = .waves(try waves.map { try $0.wave() })
        case (nil, let rate?): pace = .rate(devicesPerMinute: rate)
        default:
            throw ManagerConsoleError(
                .invalidField,
                "The field rollout has either waves or devicesPerMinute."
            )
        }
        return RolloutPlan(
            pace,
            failure: failure.map {
                RolloutFailureThreshold(
                    percent: $0.percent,
                    minimum: $0.minimum ?? 1,
                    action: $0.action == .abort ? .abort : .pause
                )
            }
        )
    }
}

extension AdminMessages.OperationRequest.Rollout.Wave {
    fileprivate func wave() throws -> RolloutWave {
        RolloutWave(
            share: try share(ofPercent: percent),
            successPercent: successPercent ?? 100,
            soak: try AdminMessages.OperationRequest.duration(soak, "soak") ?? .zero
        )
    }
}

/// Per cent as the share of a rollout, in 1/10,000.
///
/// - Throws: ``ManagerConsoleError`` with code `invalidField` unless it lies between 0 and 100.
func share(ofPercent percent: Double) throws -> Int32 {
    guard percent >= 0, percent <= 100 else {
        throw ManagerConsoleError(.invalidField, "A share is a number of per cent, 0 to 100.")
    }
    return Int32((percent * 100).rounded())
}
#endif
