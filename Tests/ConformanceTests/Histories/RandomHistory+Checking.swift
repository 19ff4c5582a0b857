import ClusterRole
import DeviceRegistry
import OperationQueue

/// What is compared.
extension RandomHistory {
    func check(_ offer: OfferedOperation, of work: Int, to target: DeviceIdentity) throws {
        let known = model.works[work]
        let row = known.rows[target]
        try expect(
            offer.priority == known.priority
                && (known.operation == nil || known.operation == offer.execution.operation)
                && !model.works.indices.contains {
                    $0 != work && model.works[$0].operation == offer.execution.operation
                },
            "operation \(offer.execution) was handed out in the place of \(work)"
        )
        try expect(
            offer.retries == row?.retries ?? 0,
            "\(work) is repeated for the \(offer.retries)th time"
        )
        let confirmation: OfferedConfirmation =
            known.asksUser ? (row?.hasAgreed ?? false ? .given : .required) : .notAsked
        try expect(
            offer.confirmation == confirmation,
            "\(work) says that the user's agreement is \(offer.confirmation)"
        )
    }

    /// How long deferred and failed work waits is up to the queue, within limits: what it chose goes into
    /// the model.
    mutating func learnWaits() async throws {
        for work in model.works.indices {
            for (target, row) in model.works[work].rows {
                guard let bounds = row.bounds else { continue }
                try await house.settle()
                let page = try await house.browser.executions(
                    of: model.works[work].id,
                    tenant: house.tenant
                )
                let found = page.executions.first {
                    $0.id.device == target.device && $0.id.incarnation == target.incarnation
                }
                model.works[work].rows[target]?.bounds = nil
                model.works[work].rows[target]?.until = found?.until
                // Of work that has ended as a whole there is nothing to wait for.
                if OperationModel.isFinal(model.state(of: target, in: work)) { continue }
                try expect(
                    found?.until.map(bounds.contains) ?? false,
                    "\(work) waits until \(String(describing: found?.until)), not in \(bounds)"
                )
            }
        }
    }

    /// One activity: its state, its gate, every execution, and its counters, which must be their recount.
    func check(_ index: Int) async throws {
        let work = model.works[index]
        let activity = try await house.browser.activity(work.id, tenant: house.tenant)
        try expect(activity.state == work.state, "activity \(index) is \(activity.state)")
        try expect(activity.answeredLate == work.late, "\(activity.answeredLate) late answers")
        if work.state == .open {
            try expect(
                activity.gate == OfferGate(hold: work.hold.offerHold, ceiling: work.ceiling),
                "the gate of \(index) is \(activity.gate), not \(work.hold) \(work.ceiling)"
            )
        }
        let page = try await house.browser.executions(of: work.id, tenant: house.tenant)
        let found = page.executions
        try expect(found.count == work.targets.count, "\(found.count) executions of \(index)")
        var recount = StateCounts()
        for (execution, target) in zip(found, work.targets) {
            recount[execution.state] += 1
            let state = model.state(of: target, in: index)
            try expect(
                execution.id.device == target.device
                    && execution.id.incarnation == target.incarnation && execution.state == state,
                "\(target.device) has \(index) \(execution.state), not \(state)"
            )
            try expect(
                execution.retries == work.rows[target]?.retries ?? 0,
                "\(target.device) has repeated \(index) \(execution.retries) times"
            )
        }
        try expect(activity.counts == recount, "the counters of \(index) are not their recount")
    }
}

extension OperationModel.Hold {
    fileprivate var offerHold: OfferHold {
        switch self {
        case .none: .none
        case .approval: .awaitingApproval
        case .paused: .paused
        case .failures: .pausedByFailures
        }
    }
}
