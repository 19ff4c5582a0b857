internal import ClusterRole
internal import DeviceRegistry

// What an exchange decides: no I/O, no waiting. It runs inside a store's transaction where it can.

/// What one exchange does.
struct ExchangeStep: Sendable {
    /// That the device was heard.
    var contact: InboxEntry
    /// What it reported.
    var reported: [InboxEntry]
    /// What is to be applied, beside the contact: the report, what it ends, what is handed out.
    var entries: [InboxEntry]
    var offers: [OfferedOperation]
    /// At most so many were to be handed out.
    var limit: Int
    /// What is open after the report alone.
    var afterReport: OpenWork
    /// What is open after all of it.
    var after: OpenWork
}

extension DeviceExchange {
    /// - Parameters:
    ///   - report: what the device brings.
    ///   - device: who it says it is.
    ///   - found: what is open for it; `nil` if it is not enrolled.
    ///   - now: the present time.
    /// - Throws: ``OperationQueueError`` with code `unknownDevice`.
    func decide(
        _ report: ExchangeReport,
        of device: DeviceIdentity,
        in found: OpenWork?,
        at now: Timestamp
    ) throws(OperationQueueError) -> ExchangeStep {
        guard var work = found, work.device.incarnation == device.incarnation else {
            throw OperationQueueError(
                .unknownDevice,
                "The device \(device.device) is not enrolled. Enrol it again."
            )
        }
        let contact = InboxEntry(
            identity: device,
            receivedAt: now,
            body: .contact(answeredAt: work.revision)
        )
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
        return ExchangeStep(
            contact: contact,
            reported: reported,
            entries: reported + ended + claims,
            offers: offers,
            limit: limit,
            afterReport: afterReport,
            after: work
        )
    }

    /// What it comes to once its entries are durable.
    func look(_ step: ExchangeStep, at now: Timestamp) -> ExchangeLook {
        let answer = makeAnswer(step.offers, for: step.after, limit: step.limit, at: now)
        let isIdle = step.offers.isEmpty && step.reported.isEmpty && answer.cancel.isEmpty
        return ExchangeLook(answer, mayWait: isIdle, nextOffer: step.after.nextOffer(after: now))
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
    func makeAnswer(
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
