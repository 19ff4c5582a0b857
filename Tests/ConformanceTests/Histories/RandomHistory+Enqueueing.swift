import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue

/// Requests, and what the model says of them.
extension RandomHistory {
    mutating func enqueue(_ request: EnqueueRequest) async throws {
        let names = addressed(by: request.target)
        let dependencies = dependencies(of: request)
        let receipt: EnqueueReceipt
        do {
            receipt = try await house.enqueuer.enqueue(request, tenant: house.tenant)
        } catch {
            let allowed: [OperationQueueError.Code] =
                (names == nil ? [.unknownGroup, .noTarget] : [])
                + (dependencies == nil ? [.invalidRequest] : [])
            try expect(allowed.contains(error.code), "enqueue threw \(error)")
            return
        }
        guard let names, let dependencies else {
            throw Broken(message: "a request that makes no sense was taken")
        }
        try await add(request, receipt, to: names, after: dependencies)
        requests.append((request, receipt))
    }

    mutating func enqueue(
        sequence requests: [EnqueueRequest],
        _ rule: DependencyFailureRule
    ) async throws {
        let names = addressed(by: requests[0].target)
        let receipts: [EnqueueReceipt]
        do {
            receipts = try await house.enqueuer.enqueue(
                sequence: requests,
                onFailure: rule,
                tenant: house.tenant
            )
        } catch {
            try expect(
                names == nil && [.unknownGroup, .noTarget].contains(error.code),
                "a sequence threw \(error)"
            )
            return
        }
        guard let names, receipts.count == requests.count else {
            throw Broken(message: "\(receipts.count) steps of a sequence")
        }
        model.seen.insert(.sequence)
        for (index, (request, receipt)) in zip(requests, receipts).enumerated() {
            let before = model.works.count - 1
            let waits = index > 0 && !names.isEmpty
            try await add(
                request,
                receipt,
                to: names,
                after: waits ? [(before, rule == .stop)] : []
            )
        }
    }

    mutating func repeated(_ request: EnqueueRequest, _ isSame: Bool) async throws {
        var request = request
        if !isSame { request.payload.append(1) }
        do {
            let receipt = try await house.enqueuer.enqueue(request, tenant: house.tenant)
            try expect(isSame, "another request was taken under the same key")
            try expect(
                receipt.wasRepeated && receipt.activity == requests.last?.receipt.activity,
                "a repeated request was enqueued again"
            )
        } catch let error as OperationQueueError {
            try expect(!isSame && error.code == .keyConflict, "a repeated request threw \(error)")
        }
    }

    /// Whom a target names now; `nil` if it names nobody there ever was.
    private func addressed(by target: OperationTarget) -> [DeviceIdentity]? {
        let names: [DeviceID]?
        switch target {
        case .group(let group): names = model.members[group].map(Array.init)
        case .devices(let named): names = named.contains { model.enrolled[$0] != nil } ? named : nil
        }
        return names.map { Set($0).sorted().compactMap { model.enrolled[$0] } }
    }

    /// What a request waits for, without what is done everywhere; `nil` if it would wait for ever.
    private func dependencies(of request: EnqueueRequest) -> [(work: Int, stops: Bool)]? {
        var result: [(work: Int, stops: Bool)] = []
        for dependency in request.after {
            guard let index = model.works.firstIndex(where: { $0.id == dependency.activity }) else {
                return nil
            }
            let other = model.works[index]
            let isDone = other.targets.allSatisfy { other.rows[$0]?.state == .completed }
            if other.state == .finished && isDone { continue }
            if other.state != .open { return nil }
            if other.expiresAt != nil && request.expiresAfter == nil { return nil }
            result.append((index, dependency.onFailure == .stop))
        }
        return result
    }

    private mutating func add(
        _ request: EnqueueRequest,
        _ receipt: EnqueueReceipt,
        to targets: [DeviceIdentity],
        after: [(work: Int, stops: Bool)]
    ) async throws {
        try expect(receipt.addressed == targets.count, "\(receipt.addressed) are addressed")
        let known = model.works.last?.number ?? 0
        try expect(receipt.number > known, "the number did not grow")
        let now = house.time.now()
        let work = OperationModel.Work(
            id: receipt.activity,
            number: receipt.number,
            code: request.code,
            priority: request.priority,
            isStrict: request.order == .strict,
            expiresAt: request.expiresAfter.map { now + $0 },
            notBefore: request.notBefore,
            window: request.window,
            control: request.control,
            asksUser: request.confirmation == .required,
            retry: request.retry,
            timeouts: request.timeouts,
            after: after,
            hold: request.approval == .required ? .approval : .none,
            rollout: request.rollout,
            ceiling: request.rollout == nil ? 10_000 : 0,
            group: request.target.group,
            targets: targets
        )
        model.enqueue(work, at: now)
        try await check(model.works.count - 1)
    }
}
