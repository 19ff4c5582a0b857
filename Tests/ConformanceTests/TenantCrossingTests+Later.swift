import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import NotificationDispatch
import OperationQueue
import XCTest

/// Rows of the table for changes of devices, policies, webhooks, events, facts of devices, large results and commands.
extension TenantCrossingTests.Scene {
    /// Adds what optional drivers keep.
    func populateLater(after revision: Revision) async throws {
        try await store.compliance?.put(policy, activity: open, tenant: victim, epoch: epoch)
        let report = #"{"policy":"passcode","version":"1","compliant":false}"#
        let violation = InboxEntry(
            identity: silence.identity,
            receivedAt: now,
            body: .information(.compliance, body: Array(report.utf8))
        )
        _ = try await store.operations.apply(
            [SpooledEntry(number: 9, entry: violation)],
            from: nil,
            epoch: epoch,
            at: now
        )
        _ = try await store.devices.commit(
            .define(GroupID(rawValue: "located"), as: DeviceQuery(parsing: "member \"fleet\"")),
            tenant: victim,
            epoch: epoch,
            at: now
        )
        let progress = WebhookProgress(cursor: EventPosition(revision))
        try await store.webhooks?.subscribe(
            WebhookSubscription(
                id: webhook,
                tenant: victim,
                url: "https://victim.example/hook",
                filter: .everything,
                createdAt: now,
                progress: progress
            ),
            secret: WebhookSecret(from: SeededRandomSource(seed: 5)),
            epoch: epoch
        )
        let letter = WebhookDeadLetter(
            number: 1,
            message: "msg-1",
            body: [1],
            events: 1,
            failure: "refused",
            at: now
        )
        try await store.webhooks?.settle(
            WebhookSettlement(progress: progress, deadLetter: letter),
            of: webhook,
            from: progress.cursor,
            epoch: epoch
        )
    }

    /// The victim's device, found silent.
    var silence: LivenessChange {
        let identity = DeviceIdentity(
            tenant: victim,
            device: device,
            incarnation: IncarnationID(bits: 7)
        )
        return LivenessChange(identity: identity, lastSeen: now, liveness: .unreachable)
    }

    private func violators() async throws -> [DeviceCompliance] {
        try await store.compliance?.devices(
            of: policy.id,
            in: .violating,
            after: nil,
            limit: 9,
            tenant: victim
        ) ?? []
    }

    /// What these drivers show of the victim.
    func laterPicture() async throws -> [String] {
        let (devices, operations) = (store.devices, store.operations)
        let result = try await operations.largeResult(of: open, on: device, tenant: victim)
        let profile = try await devices.profile(of: device, tenant: victim)
        let wakeUp = try await operations.wakeUp(of: device, tenant: victim)
        let letters = try await store.webhooks?.deadLetters(
            of: webhook,
            after: 0,
            limit: 9,
            tenant: victim
        )
        return [
            "\(String(describing: result))",
            "\(String(describing: profile))",
            "\(String(describing: wakeUp))",
            "\(letters ?? [])",
            "\(try await devices.history(of: device, before: nil, limit: 9, tenant: victim))",
            "\(try await store.compliance?.policies(tenant: victim) ?? [])",
            "\(try await violators())",
            "\(try await store.webhooks?.webhooks(tenant: victim) ?? [])",
            "\(try await store.tasks?.dueTimes(of: device, tenant: victim) ?? [])",
        ]
    }
}

extension TenantCrossingTests {
    /// What differs between the answers about what the victim has and about what nobody has.
    private static func difference<Name: CustomStringConvertible>(
        _ theirs: Name,
        _ nobodys: Name,
        _ call: (Name) async throws -> String?
    ) async throws -> String? {
        var answers: [String] = []
        for name in [theirs, nobodys] {
            do {
                answers.append(try await call(name) ?? "nothing")
            } catch let error as OperationQueueError {
                answers.append(
                    "\(error.code) "
                        + error.message.replacingOccurrences(of: "\(name)", with: "NAME")
                )
            }
        }
        return answers[0] == answers[1] ? nil : "\(answers)"
    }

    static let laterAttempts: [String: Attempt] = [
        "DeviceStorage.commit": { scene in
            for change in [
                // The first of all: joining makes the thief a group of that name.
                .setGroupPollingFrequency(scene.group, .seconds(5)),
                .remove(scene.device), .join(scene.group, [scene.device]),
                .leave(scene.group, [scene.device]),
                .setPollingFrequency(scene.device, .seconds(5)),
                .recordLiveness([scene.silence]),
            ] as [DeviceChange] {
                let receipt = try await scene.store.devices.commit(
                    change,
                    tenant: scene.thief,
                    epoch: scene.epoch,
                    at: scene.now
                )
                if receipt.changed != 0 || receipt.row != nil { return "\(change)" }
            }
            // These change what the thief has under the same name.
            for change in [
                .setGroupPollingFrequency(scene.group, .seconds(5)),
                .define(scene.group, as: try DeviceQuery(parsing: "liveness = active")),
                .evaluate(scene.group, limit: 9),
            ] as [DeviceChange] {
                _ = try await scene.store.devices.commit(
                    change,
                    tenant: scene.thief,
                    epoch: scene.epoch,
                    at: scene.now
                )
            }
            return nil
        },
        "ActivityReader.execution": { scene in
            try await scene.store.operations.execution(
                scene.execution(scene.open),
                tenant: scene.thief
            ).map { "\($0)" }
        },
        "ActivityReader.wakeUp": { scene in
            try await scene.store.operations.wakeUp(of: scene.device, tenant: scene.thief)
                .map { "\($0)" }
        },
        "OperationStorage.change": { scene in
            for change in [
                .close(.cancelled), .pause(by: "thief"), .resume(by: "thief"),
                .approve(by: "thief"), .reject(by: "thief"), .noteSuccess, .pauseByFailures,
                .release(ceiling: 9, released: 9, wave: 1),
            ] as [ActivityChange] {
                let leak = try await difference(scene.open, ActivityID(bits: 0x0E)) { id in
                    "\(try await scene.store.operations.change(id, change, tenant: scene.thief, epoch: scene.epoch, at: scene.now).activity)"
                }
                if let leak { return leak }
            }
            return nil
        },
        "OperationStorage.command": { scene in
            for command in [.cancel, .confirm, .redeliver] as [ExecutionCommand] {
                let leak = try await difference(
                    scene.execution(scene.open),
                    scene.execution(ActivityID(bits: 0x0E))
                ) { id in
                    let changed = try await scene.store.operations.command(
                        id,
                        command,
                        ifVersion: nil,
                        tenant: scene.thief,
                        epoch: scene.epoch,
                        at: scene.now
                    )
                    return "\(changed.execution)"
                }
                if let leak { return leak }
            }
            return nil
        },
        "OperationStorage.cancelAll": { scene in
            try await difference(scene.device, DeviceID(rawValue: "nobody")) { id in
                let cancelled = try await scene.store.operations.cancelAll(
                    of: id,
                    tenant: scene.thief,
                    epoch: scene.epoch,
                    at: scene.now
                )
                return "\(cancelled.count)"
            }
        },
        "OperationStorage.addressedCount": { scene in
            try await difference(scene.open, ActivityID(bits: 0x0E)) { id in
                let count = try await scene.store.operations.addressedCount(
                    of: id,
                    below: .max,
                    tenant: scene.thief
                )
                return "\(count)"
            }
        },
        "LargeResultReader.largeResult": { scene in
            try await scene.store.operations.largeResult(
                of: scene.open,
                on: scene.device,
                tenant: scene.thief
            ).map { "\($0)" }
        },
        "LargeResultReader.chunk": { scene in
            let (operations, victim) = (scene.store.operations, scene.victim)
            let found = try await operations.largeResult(
                of: scene.open,
                on: scene.device,
                tenant: victim
            )
            let result = try XCTUnwrap(found, "the victim has no large result")
            return try await operations.chunk(0, of: result, tenant: scene.thief).map { "\($0)" }
        },
        "EventReader.events": { scene in
            guard let events = scene.store.events else { return nil }
            let history = try await events.currentRevision().history
            let start = Revision(history: history, number: 0)
            let page = try await events.events(after: start, limit: 9, tenant: scene.thief)
            return page.events.isEmpty ? nil : "\(page.events)"
        },
        "DeviceFactsReader.profile": { scene in
            try await scene.store.devices.profile(of: scene.device, tenant: scene.thief)
                .map { "\($0)" }
        },
        "DeviceFactsReader.locations": { scene in
            let found = try await scene.store.devices.locations(
                of: scene.device,
                before: nil,
                limit: 9,
                tenant: scene.thief
            )
            return found.isEmpty ? nil : "\(found)"
        },
        "DeviceFactsReader.history": { scene in
            let found = try await scene.store.devices.history(
                of: scene.device,
                before: nil,
                limit: 9,
                tenant: scene.thief
            )
            return found.isEmpty ? nil : "\(found)"
        },
        "DeviceFactsReader.devices": { scene in
            let page = try await scene.store.devices.devices(
                matching: DeviceQuery(parsing: "member \"fleet\""),
                after: nil,
                limit: 9,
                tenant: scene.thief
            )
            return page.devices.isEmpty && page.next == nil ? nil : "\(page)"
        },
        "DeviceFactsReader.livenessCounts": { scene in
            let counts = try await scene.store.devices.livenessCounts(tenant: scene.thief)
            return counts == LivenessCounts() ? nil : "\(counts)"
        },
        "ComplianceStorage.put": { scene in
            var policy = scene.policy
            policy.version = "2"
            try await scene.store.compliance?.put(
                policy,
                activity: scene.open,
                tenant: scene.thief,
                epoch: scene.epoch
            )
            return nil
        },
        "ComplianceStorage.remove": { scene in
            try await scene.store.compliance?.remove(
                scene.policy.id,
                tenant: scene.thief,
                epoch: scene.epoch
            )
            return nil
        },
        "ComplianceStorage.policies": { scene in
            let found = try await scene.store.compliance?.policies(tenant: scene.thief) ?? []
            return found.isEmpty ? nil : "\(found)"
        },
        "ComplianceStorage.devices": { scene in
            for state in ComplianceState.allCases {
                let leak = try await difference(scene.policy.id, PolicyID("nobody")) { id in
                    let found = try await scene.store.compliance?.devices(
                        of: id,
                        in: state,
                        after: nil,
                        limit: 9,
                        tenant: scene.thief
                    )
                    return "\(found ?? [])"
                }
                if let leak { return leak }
            }
            return nil
        },
        "WebhookStorage.unsubscribe": { scene in
            let removed = try await scene.store.webhooks?.unsubscribe(
                scene.webhook,
                tenant: scene.thief,
                epoch: scene.epoch
            )
            return removed ?? false ? "removed" : nil
        },
        "WebhookStorage.webhooks": { scene in
            let found = try await scene.store.webhooks?.webhooks(tenant: scene.thief) ?? []
            return found.isEmpty ? nil : "\(found)"
        },
        "WebhookStorage.deadLetters": { scene in
            let found =
                try await scene.store.webhooks?.deadLetters(
                    of: scene.webhook,
                    after: 0,
                    limit: 9,
                    tenant: scene.thief
                ) ?? []
            return found.isEmpty ? nil : "\(found)"
        },
        "WebhookStorage.forget": { scene in
            try await scene.store.webhooks?.forget(
                deadLetter: 1,
                of: scene.webhook,
                tenant: scene.thief,
                epoch: scene.epoch
            )
            return nil
        },
    ]
}
