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
    /// Where reading and accepting are one transaction; `nil` where they are two calls.
    private let inProcess: InProcessStore?
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
        self.init(
            reader: reader,
            inbox: inbox,
            inProcess: nil,
            contacts: contacts,
            signals: signals,
            settings: settings
        )
    }

    /// On a store of this process: a report, and handing out work, is one transaction each that reads,
    /// decides and applies (``OperationStorage/exchange(with:tenant:seen:epoch:at:_:)``).
    ///
    /// - Parameters:
    ///   - storage: the store.
    ///   - capability: the right to write to it; once it is revoked, exchanges throw.
    ///   - contacts: as above.
    ///   - signals: as above, `nil` for the store, if it gives signals.
    ///   - settings: clock, randomness, polling schedule and limits.
    public init(
        storage: any OperationStorage,
        capability: WriteCapability,
        contacts: ContactBatcher? = nil,
        signals: (any WorkSignals)? = nil,
        settings: Settings = Settings()
    ) {
        self.init(
            reader: storage,
            inbox: InProcessInbox(storage: storage, capability: capability, clock: settings.clock),
            inProcess: InProcessStore(storage: storage, capability: capability),
            contacts: contacts,
            signals: signals,
            settings: settings
        )
    }

    private init(
        reader: any PendingWorkReader,
        inbox: any DeviceInbox,
        inProcess: InProcessStore?,
        contacts: ContactBatcher?,
        signals: (any WorkSignals)?,
        settings: Settings
    ) {
        self.reader = reader
        self.inbox = inbox
        self.inProcess = inProcess
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
                    let isRecording = span.isRecording
                    if isRecording { span.attributes["reeve.results"] = report.results.count }
                    let answer = try await self.serve(device, report)
                    if isRecording {
                        span.attributes["reeve.operations"] = answer.operations.count
                    }
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
        if let inProcess, !report.isPlainPoll || findsWork(report, in: inProcess) {
            return try await take(report, of: device, seen: nil, in: inProcess, isHeard)
        }
        let work = try await queueCall {
            try await self.reader.openWork(for: device.device, tenant: device.tenant)
        }
        let now = settings.clock.now()
        let step = try decide(report, of: device, in: work, at: now)
        if report.isPlainPoll { traffic.forecast.onPoll(hasWork: !step.entries.isEmpty) }
        guard !step.entries.isEmpty else {
            if isHeard { await contacts.note(step.contact) }
            return look(step, at: now)
        }
        if let inProcess {
            return try await take(report, of: device, seen: work, in: inProcess, isHeard)
        }
        do {
            try await commit([step.contact] + step.entries)
            return look(step, at: now)
        } catch {
            guard error.code == .spoolFull, !step.offers.isEmpty else { throw error }
            // A spool that is nearly full gives out no work, but takes reports as long as it can.
            if !step.reported.isEmpty { try await commit(step.reported) }
            return ExchangeLook(makeAnswer([], for: step.afterReport, limit: 0, at: now))
        }
    }

    /// Whether a poll is best read in the transaction that hands its work out.
    private func findsWork(_ poll: ExchangeReport, in store: InProcessStore) -> Bool {
        poll.limit > 0 && traffic.forecast.expectsWork
            && (try? store.capability.requireEpoch()) != nil
    }

    /// Reads, decides and applies in one transaction of the store. A poll that finds nothing stores
    /// nothing.
    private func take(
        _ report: ExchangeReport,
        of device: DeviceIdentity,
        seen: OpenWork?,
        in store: InProcessStore,
        _ isHeard: Bool
    ) async throws(OperationQueueError) -> ExchangeLook {
        let riding = contacts.take(upTo: Self.ridingContacts)
        let now = settings.clock.now()
        let step: ExchangeStep
        do {
            step = try await queueCall {
                try await store.storage.exchange(
                    with: device.device,
                    tenant: device.tenant,
                    seen: seen,
                    epoch: store.capability.requireEpoch(),
                    at: now
                ) { work in
                    let step = try decide(report, of: device, in: work, at: now)
                    if report.isPlainPoll && step.entries.isEmpty {
                        return ExchangeDecision(entries: [], step)
                    }
                    return ExchangeDecision(entries: riding + [step.contact] + step.entries, step)
                }
            }
        } catch {
            contacts.putBack(riding)
            // What cannot be handed out is best read without a transaction.
            if report.isPlainPoll { traffic.forecast.onPoll(hasWork: false) }
            throw error
        }
        if report.isPlainPoll {
            if seen == nil { traffic.forecast.onPoll(hasWork: !step.entries.isEmpty) }
            if step.entries.isEmpty {
                contacts.putBack(riding)
                if isHeard { await contacts.note(step.contact) }
            }
        }
        return look(step, at: now)
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
}

/// What exchanges count.
private struct ExchangeMetrics: Sendable {
    let exchanges = Counter(label: "reeve_exchanges_total")
    let refused = Counter(label: "reeve_exchanges_refused_total")
    let results = Counter(label: "reeve_exchange_results_total")
    let delivered = Counter(label: "reeve_exchange_operations_total")
    let duration = Timer(label: "reeve_exchange_duration")
}

/// A store that this process may write to.
private struct InProcessStore: Sendable {
    let storage: any OperationStorage
    let capability: WriteCapability
}
