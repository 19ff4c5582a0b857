#if SQLite
import ArtifactStore
import ClusterMembership
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import NotificationDispatch
import OperationQueue
import SQLiteEngine
import SQLiteReplica
import SQLiteStore
import XCTest

/// A store with rows in every table of the present schema, and all that its readers return.
enum FilledStore {
    private static let webhook = WebhookID(bits: 0x3E)
    private static let rolloutID = ReleaseRolloutID(bits: 0x70)

    /// A store with rows in every table.
    static func fill(_ house: StoreHouse) async throws {
        let store = house.store
        let epoch = house.epoch
        var devices: [DeviceIdentity] = []
        for index in 0..<6 {
            let id = DeviceID(rawValue: "device-\(index)")
            let made = try await house.administration.enrol(id, groups: StoreHouse.groups)
            try await house.exchange.register(
                push: (transport: "http", address: "https://push.example/\(index)"),
                device: made.identity
            )
            try await house.exchange.record(
                .location,
                body: Array("[\(index),2]".utf8),
                device: made.identity
            )
            devices.append(made.identity)
        }
        _ = try await house.administration.remove("device-5")
        for index in 0..<8 {
            _ = try await house.enqueue(
                .group(index % 2 == 0 ? "red" : "blue"),
                key: "key-\(index)"
            )
            _ = try await house.enqueue(.devices(devices[index % 4..<5].map(\.device)))
        }
        for device in devices[..<3] {
            let answer = try await house.exchange.exchange(device: device)
            let results = answer.operations.prefix(4).map {
                ExecutionResult(execution: $0.execution, attempt: $0.attempt, outcome: .completed)
            }
            _ = try await house.exchange.exchange(
                device: device,
                report: ExchangeReport(results: results, limit: 0)
            )
        }
        let stranger = DeviceIdentity(
            tenant: .standard,
            device: "nobody",
            incarnation: IncarnationID(bits: 1)
        )
        let rejected = InboxEntry(
            identity: stranger,
            receivedAt: house.time.now(),
            body: .contact(answeredAt: nil)
        )
        _ = try await store.apply(
            [SpooledEntry(number: 1, entry: rejected)],
            from: SpoolMark(node: "worker-1", incarnation: IncarnationID(bits: 4), number: 1),
            epoch: epoch,
            at: house.time.now()
        )
        for name in ["info", "places"] {
            let task = PeriodicTask(
                id: PeriodicTaskID(rawValue: name),
                frequency: .seconds(600),
                satisfiedBy: .location,
                begins: house.time.now()
            )
            try await store.put(task, tenant: .standard, epoch: epoch)
        }
        while try await !store.spread(limit: 100, epoch: epoch, at: house.time.now()) {}
        _ = try await store.claim(
            limit: 5,
            in: .all,
            epoch: epoch,
            at: house.time.now() + .seconds(1_200)
        )
        let policy = CompliancePolicy(id: "passcode", version: "1", payload: [1])
        try await store.put(
            policy,
            activity: ActivityID(bits: 9),
            tenant: .standard,
            epoch: epoch
        )
        for (index, device) in devices[..<3].enumerated() {
            let report = """
                {"policy":"passcode","version":"1","compliant":\(index == 0),"violations":["short"]}
                """
            try await house.exchange.record(.compliance, body: Array(report.utf8), device: device)
        }
        for name in ["manager-1", "worker-1"] {
            let member = Member(
                node: NodeID(rawValue: name),
                role: .worker,
                domain: .standard(for: .worker),
                properties: ["zone": "north"],
                joinedAt: house.time.now(),
                lastHeard: house.time.now()
            )
            _ = try await store.put(member, epoch: epoch)
        }
        try await fillTaskSlots(house)
        let release = try ReleaseStorageConformance.sample(1)
        _ = try await store.append(release, after: nil, epoch: epoch)
        _ = try await store.record(
            AppliedRelease(node: "worker-1", release: release.release, at: house.time.now()),
            tenant: .standard,
            epoch: epoch
        )
        try await fillRollouts(house, of: release)
        try await fillMessages(house)
        try await fillFacts(house, devices)
        try await fillTerms(house, devices)
        try await fillKeeping(house, devices)
        try await fillAccess(house)
    }

    /// Slots of cluster tasks: one in the middle of a run, one given back, one nobody has written.
    private static func fillTaskSlots(_ house: StoreHouse) async throws {
        let slots = (0..<3).map { TaskSlotID(task: "asking", number: $0) }
        let taken = try await house.store.acquire(
            slots,
            holder: house.store.node,
            duration: .seconds(15)
        )
        for slot in taken.dropLast() {
            let claim = TaskSlotClaim(
                slot: slot.id,
                holder: house.store.node,
                epoch: slot.epoch
            )
            var progress = TaskProgress(next: house.time.now(), frequency: .seconds(10))
            progress.running = .init(due: house.time.now() - .seconds(10), attempt: 2, skipped: 3)
            progress.last = house.time.now() - .seconds(20)
            try await house.store.advance(claim, to: progress)
            if slot.id.number == 1 { try await house.store.release([claim]) }
        }
    }

    /// A rollout under way, a blocked tree, what a node says of its health.
    private static func fillRollouts(
        _ house: StoreHouse,
        of release: PublishedRelease
    ) async throws {
        let rollout = ReleaseRollout(
            id: rolloutID,
            tenant: .standard,
            channel: "web/site",
            plan: ReleaseRolloutPlan(waves: [ReleaseRolloutWave(.percent(25))]),
            initiator: "alice",
            startedAt: house.time.now(),
            candidate: ReleaseNumber(2),
            baseline: .init(number: .first, root: release.release.root)
        )
        let began = ReleaseRolloutTransition(
            rollout: rollout.id,
            number: rollout.version,
            event: .started,
            state: rollout.state,
            wave: rollout.wave,
            at: rollout.startedAt,
            by: "alice",
            reason: "new"
        )
        let block = ReleaseBlock(
            channel: rollout.channel,
            root: TreeID(ContentDigest(of: [7])),
            number: rollout.candidate,
            rollout: rollout.id,
            at: rollout.startedAt,
            by: "alice",
            reason: "it burns"
        )
        _ = try await house.store.write(
            ReleaseRolloutChange(
                channel: rollout.channel,
                rollout: rollout,
                transitions: [began],
                blocks: [block]
            ),
            tenant: .standard,
            epoch: house.epoch
        )
        let health = ReleaseHealth(
            node: "worker-1",
            channel: rollout.channel,
            number: .first,
            root: release.release.root,
            state: .healthy,
            message: "it is warm",
            at: house.time.now()
        )
        _ = try await house.store.record(health, tenant: .standard, epoch: house.epoch)
    }

    /// What devices told, groups by query, silences.
    private static func fillFacts(_ house: StoreHouse, _ devices: [DeviceIdentity]) async throws {
        let documents: [(InformationKind, String)] = [
            (.properties, #"{"os":{"version":"17"},"ram":8}"#),
            (.applications, #"[{"identifier":"till","version":"2.0","name":"Till"}]"#),
            (.location, #"{"latitude":52.5,"longitude":13.4}"#),
        ]
        for device in devices[..<4] {
            for (kind, text) in documents {
                try await house.exchange.record(kind, body: Array(text.utf8), device: device)
            }
        }
        let query = try DeviceQuery(parsing: #"os.version = "17""#)
        for change in [
            .define("modern", as: query), .setGroupPollingFrequency("red", .seconds(30)),
        ] as [DeviceChange] {
            _ = try await house.store.commit(
                change,
                tenant: .standard,
                epoch: house.epoch,
                at: house.time.now()
            )
        }
        let silence = LivenessTask(
            storage: house.store,
            capability: WriteCapability(epoch: house.epoch),
            rule: LivenessRule(unreachableAfter: .seconds(10), inactiveAfter: .seconds(1_000)),
            clock: house.time
        )
        try await silence.tick(at: house.time.now() + .seconds(60))
    }

    /// Work with terms: what waits, what has a timer, large results.
    private static func fillTerms(_ house: StoreHouse, _ devices: [DeviceIdentity]) async throws {
        let device = devices[0]
        var first = EnqueueRequest("first", to: .devices([device.device]))
        first.priority = 100
        first.timeouts.whole = .seconds(90)
        first.rollout = nil
        let receipt = try await house.enqueuer.enqueue(first)
        var second = EnqueueRequest("second", to: .group("red"))
        second.after = [OperationDependency(receipt.activity)]
        second.control = .supersede("policy")
        second.rollout = RolloutPlan(.waves([RolloutWave(share: 4_000)]))
        _ = try await house.enqueuer.enqueue(second)
        let answer = try await house.exchange.exchange(
            device: device,
            report: ExchangeReport(limit: 1, redelivery: .now)
        )
        let offer = try XCTUnwrap(answer.operations.first)
        let chunk = ResultChunk(
            upload: UploadID(bits: 9),
            index: 0,
            bytes: Array(repeating: 3, count: 5_000),
            digest: Array(repeating: 1, count: ResultChunk.digestBytes)
        )
        _ = try await house.store.apply(
            [
                SpooledEntry(
                    number: 0,
                    entry: InboxEntry(
                        identity: device,
                        receivedAt: house.time.now(),
                        body: .resultChunk(offer.execution.operation, chunk: chunk)
                    )
                )
            ],
            from: nil,
            epoch: house.epoch,
            at: house.time.now()
        )
    }

    /// Quotas, history, what is left to sweep, webhooks.
    private static func fillKeeping(_ house: StoreHouse, _ devices: [DeviceIdentity]) async throws {
        let (store, epoch, now) = (house.store, house.epoch, house.time.now())
        try await store.setQuota(TenantQuota(openActivities: 900), of: .standard, epoch: epoch)
        var closed: [ActivityID] = []
        for _ in 0..<2 {
            let receipt = try await house.enqueue(.devices([devices[4].device]))
            try await house.enqueuer.cancel(receipt.activity)
            closed.append(receipt.activity)
        }
        let purged = try await store.purge([closed[0]], tenant: .standard, epoch: epoch)
        XCTAssertEqual(purged, 1)
        let start = EventPosition(try await store.currentRevision())
        let progress = WebhookProgress(cursor: start)
        let webhook = WebhookSubscription(
            id: webhook,
            tenant: .standard,
            url: "https://hooks.example/reeve",
            filter: .everything,
            createdAt: now,
            progress: progress
        )
        let secret = WebhookSecret(from: SeededRandomSource(seed: 5))
        try await store.subscribe(webhook, secret: secret, epoch: epoch)
        let letter = WebhookDeadLetter(
            number: 1,
            message: "msg-1",
            body: [1, 2, 3],
            events: 1,
            failure: "refused",
            at: now
        )
        try await store.settle(
            WebhookSettlement(progress: progress, deadLetter: letter),
            of: webhook.id,
            from: start,
            epoch: epoch
        )
    }

    /// Everything the store's readers return, as one number. Unordered collections are not in it.
    static func read(_ store: EmbeddedStore, _ now: Timestamp) async throws -> Int {
        var hasher = Hasher()
        let tenant = TenantID.standard
        let devices = try await store.devices(in: nil, after: nil, limit: 100, tenant: tenant)
        hasher.combine(devices)
        for device in devices {
            hasher.combine(try await store.device(device.row.id, tenant: tenant))
            hasher.combine(try await store.device(credential: device.row.credential))
            hasher.combine(try await store.information(of: device.row.id, tenant: tenant))
            hasher.combine(try await store.openWork(for: device.row.id, tenant: tenant))
        }
        try await readFacts(store, devices.map(\.row.id), &hasher)
        try await readKeeping(store, &hasher)
        try await readAccess(store, &hasher)
        hasher.combine(try await store.groups(tenant: tenant))
        for group in [GroupID.everyone] + StoreHouse.groups {
            let members = try await store.devices(in: group, after: nil, limit: 100, tenant: tenant)
            hasher.combine(members)
        }
        let activities = try await store.activities(before: nil, limit: 100, tenant: tenant)
        hasher.combine(activities)
        for activity in activities {
            hasher.combine(try await store.activity(activity.id, tenant: tenant))
            let executions = try await store.executions(
                of: activity.id,
                after: nil,
                limit: 100,
                tenant: tenant
            )
            hasher.combine(executions)
            for device in devices {
                let found = try await store.largeResult(
                    of: activity.id,
                    on: device.row.id,
                    tenant: tenant
                )
                guard let found else { continue }
                hasher.combine(found)
                hasher.combine(try await store.chunk(0, of: found, tenant: tenant))
            }
        }
        hasher.combine(try await store.rollouts(after: nil, limit: 100))
        hasher.combine(try await store.expired(at: now, limit: 100).map(\.id))
        hasher.combine(try await store.tasks(tenant: tenant))
        for device in devices {
            hasher.combine(try await store.dueTimes(of: device.row.id, tenant: tenant))
        }
        hasher.combine(try await store.policies(tenant: tenant))
        for state in ComplianceState.allCases {
            let standings = try await store.devices(
                of: "passcode",
                in: state,
                after: nil,
                limit: 100,
                tenant: tenant
            )
            hasher.combine(standings)
        }
        let violators = try await store.violators(at: .distantFuture, limit: 100, in: .all)
        hasher.combine(violators)
        let wakes: [DueWakeUp] = try await store.due(at: .distantFuture, limit: 100)
        hasher.combine(wakes)
        hasher.combine(try await store.nextDue())
        hasher.combine(try await store.members())
        hasher.combine(try await store.slots())
        hasher.combine(try await store.latest(of: "web/site", tenant: tenant)?.revision)
        hasher.combine(try await store.acknowledgements(of: "web/site", tenant: tenant))
        hasher.combine(try await store.standing(of: "web/site", tenant: tenant))
        hasher.combine(try await store.transitions(of: rolloutID, tenant: tenant))
        hasher.combine(try await store.health(of: "web/site", tenant: tenant))
        hasher.combine(try await store.messages(after: 0, limit: 100))
        for id in 1...2 {
            hasher.combine(
                try await store.acknowledgements(of: MessageID(bits: UInt128(id)))
            )
        }
        hasher.combine(try await store.state(after: nil))
        let start = Revision(history: store.history, number: 0)
        hasher.combine(try await store.state(after: start))
        hasher.combine(try await store.changes(after: start, limit: 1_000))
        let page = try await store.page(after: nil, cursor: nil, limit: 1_000, for: "worker-1")
        hasher.combine(page.rows)
        hasher.combine(page.revision)
        return hasher.finalize()
    }

    private static func readFacts(
        _ store: EmbeddedStore,
        _ devices: [DeviceID],
        _ hasher: inout Hasher
    ) async throws {
        for device in devices {
            hasher.combine(try await store.profile(of: device, tenant: .standard))
            hasher.combine(
                try await store.locations(of: device, before: nil, limit: 9, tenant: .standard)
            )
            hasher.combine(
                try await store.history(of: device, before: nil, limit: 99, tenant: .standard)
            )
        }
        let query = try DeviceQuery(parsing: #"os.version = "17" and installed "till""#)
        let found = try await store.devices(
            matching: query,
            after: nil,
            limit: 100,
            tenant: .standard
        )
        hasher.combine(found.devices)
        hasher.combine(try await store.livenessCounts(tenant: .standard))
        hasher.combine(try await store.contacts(after: nil, limit: 100).contacts)
        hasher.combine(try await store.unsettledGroups(limit: 9).map(\.group))
    }

    private static func readKeeping(_ store: EmbeddedStore, _ hasher: inout Hasher) async throws {
        hasher.combine(try await store.quota(of: .standard))
        hasher.combine(try await store.usage(of: .standard))
        hasher.combine(try await store.history())
        hasher.combine(try await store.webhooks(tenant: nil))
        hasher.combine(
            try await store.deadLetters(of: webhook, after: 0, limit: 9, tenant: .standard)
        )
        let start = Revision(history: store.history, number: 0)
        hasher.combine(try await store.events(after: start, limit: 1_000, tenant: .standard).events)
    }
}
#endif
