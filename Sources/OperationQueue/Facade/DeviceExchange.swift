public import ClusterRole
public import DeviceRegistry
public import Logging
internal import Metrics
internal import Tracing

/// The heart of serving devices: a device reports and gets what is open for it, in one call.
///
/// It needs a ``PendingWorkReader`` and a ``DeviceInbox`` and works the same on a worker's replica
/// and spool, in process on a store, and on the in-memory drivers. Put the ``ContactBatcher`` it is
/// given among the node's services, so that contacts are flushed.
public struct DeviceExchange: Sendable {
    let reader: any PendingWorkReader
    let inbox: any DeviceInbox
    let contacts: ContactBatcher
    let settings: Settings
    /// What all copies of this exchange share.
    let traffic: ExchangeTraffic
    private let metrics = ExchangeMetrics()

    /// What an exchange is made with; the defaults work.
    public struct Settings: Sendable {
        public var clock: any TimeSource = SystemTimeSource()
        public var random: any RandomSource = SystemRandomSource()
        public var schedule = PollingSchedule()
        public var limits = ExchangeLimits()
        public var logger = Logger(label: "reeve.exchange")

        public init(
            clock: any TimeSource = SystemTimeSource(),
            random: any RandomSource = SystemRandomSource(),
            schedule: PollingSchedule = PollingSchedule()
        ) {
            self.clock = clock
            self.random = random
            self.schedule = schedule
        }
    }

    /// The most waiting contacts that ride along with one commit: enough to empty the queue of a
    /// busy node, not enough to delay the device that commits.
    static let ridingContacts = 256

    /// - Parameters:
    ///   - reader: where a device's open work is read.
    ///   - inbox: where reports are accepted; durable when it returns.
    ///   - contacts: `nil` for one of its own, which flushes only when a commit happens anyway or
    ///     many wait.
    ///   - signals: what ends the wait of a long poll; `nil` for the reader, if it gives signals.
    ///     Without any, no poll waits.
    ///   - settings: clock, randomness, polling schedule and limits.
    public init(
        reader: any PendingWorkReader,
        inbox: any DeviceInbox,
        contacts: ContactBatcher? = nil,
        signals: (any WorkSignals)? = nil,
        settings: Settings = Settings()
    ) {
        self.reader = reader
        self.inbox = inbox
        self.contacts = contacts ?? ContactBatcher(inbox: inbox, clock: settings.clock)
        self.settings = settings
        traffic = ExchangeTraffic(
            limits: settings.limits,
            signals: signals ?? (reader as? any WorkSignals)
        )
    }

    /// The limits it was made with.
    public var limits: ExchangeLimits { settings.limits }

    /// Takes a device's report and answers with what it is to do.
    ///
    /// When it returns, the results are durable. The device is not offered again what it has just
    /// answered or is being given. With ``ExchangeReport/wait`` and nothing reported it returns once
    /// there is something for the device, or the time is over, or the node shuts down.
    ///
    /// - Parameters:
    ///   - device: who it is, as an authenticator found.
    ///   - report: results, claims and information the device has brought; empty for a plain
    ///     poll.
    /// - Throws: ``OperationQueueError`` with code `unknownDevice`, `foreignExecution`, `tooLarge`,
    ///   `invalidRequest`; `spoolFull` and `tooManyExchanges`, before anything was accepted.
    public func exchange(
        device: DeviceIdentity,
        report: ExchangeReport = ExchangeReport()
    ) async throws(OperationQueueError) -> ExchangeAnswer {
        let started = settings.clock.monotonic()
        defer {
            metrics.duration.record(duration: settings.clock.monotonic() - started)
        }
        do {
            let answer = try await queueCall {
                try await withSpan("reeve.exchange") { span in
                    span.attributes["reeve.results"] = report.results.count
                    let answer = try await self.serve(device, report)
                    span.attributes["reeve.operations"] = answer.operations.count
                    return answer
                }
            }
            metrics.exchanges.increment()
            metrics.results.increment(by: report.results.count)
            metrics.delivered.increment(by: answer.operations.count)
            return answer
        } catch {
            metrics.refused.increment()
            settings.logger.debug(
                "exchange refused",
                metadata: ["device": "\(device.device)", "error": "\(error)"]
            )
            throw error
        }
    }

    private func serve(
        _ device: DeviceIdentity,
        _ report: ExchangeReport
    ) async throws(OperationQueueError) -> ExchangeAnswer {
        try settings.limits.validate(report)
        try validateOwner(device, report.results.map(\.execution))
        try validateOwner(device, report.progress.map(\.execution))
        try traffic.admit(device, isReport: !report.isPlainPoll, at: settings.clock.monotonic())
        guard report.wait > .zero, report.isPlainPoll, report.limit > 0 else {
            return try await look(for: device, report).answer
        }
        return try await answerOnceThereIsWork(device, report)
    }

    /// Reads what is open, takes the report, hands out.
    ///
    /// - Parameter isHeard: whether the look counts as a contact of the device.
    func look(
        for device: DeviceIdentity,
        _ report: ExchangeReport,
        isHeard: Bool = true
    ) async throws(OperationQueueError) -> ExchangeLook {
        let found = try await queueCall {
            try await self.reader.openWork(for: device.device, tenant: device.tenant)
        }
        guard var work = found, work.device.incarnation == device.incarnation else {
            throw OperationQueueError(
                .unknownDevice,
                "The device \(device.device) is not enrolled. Enrol it again."
            )
        }
        let now = settings.clock.now()
        let reported = entries(for: report, of: device, in: work, at: now)
        for entry in reported { work.apply(entry) }
        let ended = work.supersede(at: now).map {
            InboxEntry(identity: device, receivedAt: now, body: .superseded($0))
        }
        let afterReport = work
        let limit = min(report.limit, settings.limits.operations)
        let chosen = work.batch(limit: limit, redelivery: report.redelivery, at: now)
        let offers = chosen.map { offer($0, on: work.device, at: now) }
        let claims = zip(chosen, offers).map { item, offer in
            claim(item, offer, of: device, at: now)
        }
        for claim in claims { work.apply(claim) }
        let contact = InboxEntry(
            identity: device,
            receivedAt: now,
            body: .contact(answeredAt: work.revision)
        )
        guard !reported.isEmpty || !claims.isEmpty || !ended.isEmpty else {
            if isHeard { await contacts.note(contact) }
            let answer = makeAnswer([], for: work, limit: limit, at: now)
            let isIdle = answer.cancel.isEmpty
            return ExchangeLook(answer, mayWait: isIdle, nextOffer: work.nextOffer(after: now))
        }
        do {
            try await commit([contact] + reported + ended + claims)
            let answer = makeAnswer(offers, for: work, limit: limit, at: now)
            let isIdle = offers.isEmpty && reported.isEmpty && answer.cancel.isEmpty
            return ExchangeLook(answer, mayWait: isIdle, nextOffer: work.nextOffer(after: now))
        } catch {
            guard error.code == .spoolFull, !claims.isEmpty else { throw error }
            // A spool that is nearly full gives out no work, but takes reports as long as it can.
            if !reported.isEmpty { try await commit(reported) }
            return ExchangeLook(makeAnswer([], for: afterReport, limit: 0, at: now))
        }
    }

    /// Makes entries durable, with contacts that wait for a commit.
    func commit(_ entries: [InboxEntry]) async throws(OperationQueueError) {
        let riding = contacts.take(upTo: Self.ridingContacts)
        do {
            try await queueCall { try await self.inbox.accept(riding + entries) }
        } catch {
            contacts.putBack(riding)
            throw error
        }
    }

    func validateOwner(
        _ device: DeviceIdentity,
        _ named: [ExecutionID]
    ) throws(OperationQueueError) {
        let foreign = named.first {
            $0.device != device.device || $0.incarnation != device.incarnation
        }
        if let foreign {
            throw OperationQueueError(
                .foreignExecution,
                "The execution \(foreign) is not of this enrolment. Report only what it was given."
            )
        }
    }

    private func entries(
        for report: ExchangeReport,
        of device: DeviceIdentity,
        in work: OpenWork,
        at now: Timestamp
    ) -> [InboxEntry] {
        let progress = report.progress.map {
            InboxEntry.Body.progress(
                $0.execution.operation,
                attempt: $0.attempt,
                detail: $0.detail,
                stepEnd: settings.limits.stepEnd(
                    $0.stepTimeout ?? stepTimeout(of: $0.execution.operation, in: work),
                    at: now
                )
            )
        }
        let results = report.results.map {
            InboxEntry.Body.result(
                $0.execution.operation,
                attempt: $0.attempt,
                outcome: settings.limits.bounded($0.outcome, at: now),
                detail: $0.detail
            )
        }
        return (progress + results).map {
            InboxEntry(identity: device, receivedAt: now, body: $0)
        }
    }

    private func stepTimeout(of operation: OperationID, in work: OpenWork) -> Duration? {
        work.items.first { $0.operation.id == operation }?.operation.terms.timeouts.step
    }

    private func offer(
        _ item: OpenItem,
        on device: DeviceRow,
        at now: Timestamp
    ) -> OfferedOperation {
        var offered = OfferedOperation(
            execution: item.executionID(on: device),
            attempt: AttemptID(from: settings.random),
            operation: item.operation,
            leaseEnd: now + item.operation.deliveryLease,
            confirmation: confirmation(of: item),
            retries: item.row?.retries ?? 0
        )
        offered.redelivery = (item.row?.redeliveries ?? 0) + (item.state == .delivered ? 1 : 0)
        return offered
    }

    private func confirmation(of item: OpenItem) -> OfferedConfirmation {
        guard item.operation.terms.confirmation == .required else { return .notAsked }
        return item.row?.confirmedAt == nil ? .required : .given
    }

    private func claim(
        _ item: OpenItem,
        _ offer: OfferedOperation,
        of device: DeviceIdentity,
        at now: Timestamp
    ) -> InboxEntry {
        InboxEntry(
            identity: device,
            receivedAt: now,
            body: .claim(item.operation.id, attempt: offer.attempt, leaseEnd: offer.leaseEnd)
        )
    }

    /// - Parameter work: what is open afterwards.
    private func makeAnswer(
        _ offers: [OfferedOperation],
        for work: OpenWork,
        limit: Int,
        at now: Timestamp
    ) -> ExchangeAnswer {
        let isCutOff = offers.count == limit && limit > 0
        let remains =
            isCutOff && !work.batch(limit: 1, redelivery: .afterLease, at: now).isEmpty
        let pollAfter = settings.schedule.pollAfter(
            frequency: work.pollingFrequency,
            workRemains: remains,
            nextOffer: work.nextOffer(after: now),
            at: now,
            random: settings.random
        )
        return ExchangeAnswer(
            operations: offers,
            cancel: work.cancellations,
            pollAfter: pollAfter,
            revision: work.revision,
            open: work.items.count { !$0.state.isFinal }
        )
    }
}

extension DeviceExchange {
    /// Stores where to reach a device with wake-ups; `nil` ends it.
    ///
    /// - Throws: ``OperationQueueError`` with code `tooLarge` or `invalidRequest`.
    public func register(
        push: (transport: String, address: String)?,
        device: DeviceIdentity
    ) async throws(OperationQueueError) {
        let now = settings.clock.now()
        if let push {
            guard !push.transport.isEmpty, push.transport.utf8.count <= maximumNameLength,
                !push.address.isEmpty
            else {
                throw OperationQueueError(
                    .invalidRequest,
                    "A push registration names a transport and an address."
                )
            }
            guard push.address.utf8.count <= PushRegistration.maximumAddressBytes else {
                throw OperationQueueError(
                    .tooLarge,
                    "A push address has at most \(PushRegistration.maximumAddressBytes) bytes."
                )
            }
        }
        let registration = push.map {
            PushRegistration(transport: $0.transport, address: $0.address, registeredAt: now)
        }
        try await commit([
            InboxEntry(identity: device, receivedAt: now, body: .registration(registration))
        ])
    }

    /// Stores what a device says about itself.
    ///
    /// - Throws: ``OperationQueueError`` with code `tooLarge` or `invalidRequest`
    ///   (see `DeviceRegistry.InformationRules`).
    public func record(
        _ kind: InformationKind,
        body: [UInt8],
        device: DeviceIdentity
    ) async throws(OperationQueueError) {
        do {
            try InformationRules.validate(body)
        } catch {
            let code: OperationQueueError.Code =
                error.code == .tooLarge ? .tooLarge : .invalidRequest
            throw OperationQueueError(code, error.message, cause: error)
        }
        do {
            _ = try InformationKind(validating: kind.rawValue)
        } catch {
            throw OperationQueueError(.invalidRequest, error.message, cause: error)
        }
        let now = settings.clock.now()
        try await commit([
            InboxEntry(identity: device, receivedAt: now, body: .information(kind, body: body))
        ])
    }
}

/// What exchanges count.
private struct ExchangeMetrics: Sendable {
    let exchanges = Counter(label: "reeve_exchanges_total")
    let refused = Counter(label: "reeve_exchanges_refused_total")
    let results = Counter(label: "reeve_exchange_results_total")
    let delivered = Counter(label: "reeve_exchange_operations_total")
    let duration = Timer(label: "reeve_exchange_duration")
}
