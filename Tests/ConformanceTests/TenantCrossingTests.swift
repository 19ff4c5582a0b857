import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import NotificationDispatch
import OperationQueue
import XCTest

/// Tries to cross from one tenant into another through every requirement of the storage protocols that
/// names a tenant. **A new requirement is a new row here**: a test compares the table with the sources.
final class TenantCrossingTests: XCTestCase {
    /// What the victim has, and who tries to get at it.
    struct Scene: Sendable {
        let store: StoreUnderTest
        let epoch: Epoch
        let victim = TenantID(rawValue: "victim")
        var thief = TenantID(rawValue: "thief")
        let now = ManualTimeSource.standardStart
        let device = DeviceID(rawValue: "d-1")
        let group = GroupID(rawValue: "fleet")
        let task = PeriodicTask(
            id: PeriodicTaskID(rawValue: "hourly"),
            frequency: .seconds(3_600),
            begins: ManualTimeSource.standardStart
        )
        let open = ActivityID(bits: 0x0A)
        let closed = ActivityID(bits: 0x0C)
        let policy = CompliancePolicy(id: "passcode", version: "1", payload: [1])
        let webhook = WebhookID(bits: 0x3E)

        /// The owner in the place of the thief.
        var ownersOwn: Scene {
            var scene = self
            scene.thief = victim
            return scene
        }

        func operation(_ activity: ActivityID) -> OperationID {
            OperationID(bits: UInt128(activity.description.hashValue.magnitude))
        }

        func execution(_ activity: ActivityID) -> ExecutionID {
            ExecutionID(
                operation: operation(activity),
                incarnation: IncarnationID(bits: 7),
                device: device
            )
        }

        func plan(
            _ activity: ActivityID,
            to target: OperationTarget,
            key: String?,
            wakeAt: Timestamp? = nil
        ) -> EnqueuePlan {
            EnqueuePlan(
                operation: DeviceOperation(
                    id: operation(activity),
                    activity: activity,
                    number: 0,
                    code: OperationCode(rawValue: "lock"),
                    payload: [1],
                    createdAt: now
                ),
                target: target,
                initiator: "tester",
                idempotencyKey: key,
                requestDigest: [1],
                wakeAt: wakeAt
            )
        }

        func populate() async throws {
            let receipt = try await store.devices.commit(
                .enrol(
                    EnrolmentRecord(
                        device: device,
                        incarnation: IncarnationID(bits: 7),
                        credential: CredentialDigest(high: 1, low: 2),
                        groups: [group]
                    )
                ),
                tenant: victim,
                epoch: epoch,
                at: now
            )
            let row = try XCTUnwrap(receipt.row)
            for (id, key) in [(open, "key-open"), (closed, "key-closed")] {
                _ = try await store.operations.enqueue(
                    plan(id, to: .devices([device]), key: key, wakeAt: now),
                    tenant: victim,
                    epoch: epoch
                )
            }
            _ = try await store.operations.close(
                closed,
                as: .cancelled,
                tenant: victim,
                epoch: epoch,
                at: now
            )
            let chunk = ResultChunk(
                upload: UploadID(bits: 9),
                index: 0,
                bytes: [1, 2, 3],
                digest: Array(repeating: 1, count: ResultChunk.digestBytes)
            )
            let location = Array(#"{"latitude":52.5,"longitude":13.4}"#.utf8)
            let reported: [InboxEntry.Body] = [
                .information(.location, body: location),
                .resultChunk(operation(open), chunk: chunk),
            ]
            _ = try await store.operations.apply(
                reported.enumerated().map { index, body in
                    SpooledEntry(
                        number: Int64(index + 1),
                        entry: InboxEntry(identity: row.identity, receivedAt: now, body: body)
                    )
                },
                from: nil,
                epoch: epoch,
                at: now
            )
            try await store.tasks?.put(task, tenant: victim, epoch: epoch)
            while try await store.tasks?.spread(limit: 9, epoch: epoch, at: now) == false {}
            try await store.quotas?.setQuota(TenantQuota(devices: 9), of: victim, epoch: epoch)
            try await populateLater(after: receipt.revision)
            try await populateRollouts()
            try await populateAccess()
        }

        /// Everything of the victim that a requirement shows.
        func picture() async throws -> [String] {
            let (devices, operations) = (store.devices, store.operations)
            return try await [
                "\(String(describing: try await devices.device(device, tenant: victim)))",
                "\(try await devices.groups(tenant: victim))",
                "\(try await devices.devices(in: group, after: nil, limit: 9, tenant: victim))",
                "\(try await operations.activities(before: nil, limit: 9, tenant: victim))",
                "\(try await operations.executions(of: open, after: nil, limit: 9, tenant: victim))",
                "\(try await store.tasks?.tasks(tenant: victim) ?? [])",
                "\(String(describing: try await store.quotas?.storedQuota(of: victim)))",
                "\(try await store.retention?.history().filter { $0.tenant == victim } ?? [])",
            ] + laterPicture() + rolloutPicture() + accessPicture()
        }
    }

    typealias Attempt = @Sendable (Scene) async throws -> String?

    /// Each attempt says what leaked, or nothing. What a refusal says is held against the victim's names.
    private static let attempts = firstAttempts.merging(laterAttempts) { first, _ in first }
        .merging(rolloutAttempts) { first, _ in first }
        .merging(accessAttempts) { first, _ in first }

    private static let firstAttempts: [String: Attempt] = [
        "DeviceReader.device": { scene in
            try await scene.store.devices.device(scene.device, tenant: scene.thief)
                .map { "\($0)" }
        },
        "DeviceReader.devices": { scene in
            var found: [Device] = []
            for (group, after) in [
                (nil, nil), (scene.group, nil), (GroupID.everyone, nil),
                (nil, DeviceID(rawValue: "a")),
            ] as [(GroupID?, DeviceID?)] {
                found += try await scene.store.devices.devices(
                    in: group,
                    after: after,
                    limit: 9,
                    tenant: scene.thief
                )
            }
            return found.isEmpty ? nil : "\(found)"
        },
        "DeviceReader.groups": { scene in
            let found = try await scene.store.devices.groups(tenant: scene.thief)
            return found.isEmpty ? nil : "\(found)"
        },
        "DeviceReader.information": { scene in
            let found = try await scene.store.devices.information(
                of: scene.device,
                tenant: scene.thief
            )
            return found.isEmpty ? nil : "\(found)"
        },
        "PendingWorkReader.openWork": { scene in
            try await scene.store.operations.openWork(for: scene.device, tenant: scene.thief)
                .map { "\($0)" }
        },
        "ActivityReader.activity": { scene in
            try await scene.store.operations.activity(scene.open, tenant: scene.thief)
                .map { "\($0)" }
        },
        "ActivityReader.activities": { scene in
            let found = try await scene.store.operations.activities(
                before: .max,
                limit: 9,
                tenant: scene.thief
            )
            let page = try await scene.store.operations.activities(
                matching: .everything,
                before: nil,
                limit: 9,
                tenant: scene.thief
            )
            return found.isEmpty && page.activities.isEmpty ? nil : "\(found) \(page)"
        },
        "ActivityReader.executions": { scene in
            let page = try await scene.store.operations.executions(
                on: scene.device,
                before: nil,
                limit: 9,
                tenant: scene.thief
            )
            if let page { return "\(page)" }
            let found = try await scene.store.operations.executions(
                of: scene.open,
                after: DeviceID(rawValue: "a"),
                limit: 9,
                tenant: scene.thief
            )
            return found.isEmpty ? nil : "\(found)"
        },
        "OperationStorage.enqueue": { scene in
            for target in [
                .devices([scene.device]), .group(GroupID(rawValue: "fleet-of-victim")),
            ] as [OperationTarget] {
                do {
                    let receipt = try await scene.store.operations.enqueue(
                        scene.plan(ActivityID(bits: 0x0F), to: target, key: "key-open"),
                        tenant: scene.thief,
                        epoch: scene.epoch
                    )
                    return "\(receipt)"
                } catch let error as OperationQueueError {
                    guard error.code == .noTarget || error.code == .unknownGroup else {
                        throw error
                    }
                    if error.message.contains("\(scene.open)") { return error.message }
                }
            }
            return nil
        },
        "PeriodicTaskStorage.put": { scene in
            var task = scene.task
            task.frequency = .seconds(60)
            try await scene.store.tasks?.put(task, tenant: scene.thief, epoch: scene.epoch)
            return nil
        },
        "PeriodicTaskStorage.remove": { scene in
            try await scene.store.tasks?.remove(
                scene.task.id,
                tenant: scene.thief,
                epoch: scene.epoch
            )
            return nil
        },
        "PeriodicTaskStorage.dueTimes": { scene in
            let found =
                try await scene.store.tasks?.dueTimes(of: scene.device, tenant: scene.thief) ?? []
            return found.isEmpty ? nil : "\(found)"
        },
        "PeriodicTaskStorage.tasks": { scene in
            let found = try await scene.store.tasks?.tasks(tenant: scene.thief) ?? []
            return found.isEmpty ? nil : "\(found)"
        },
        "RetentionStorage.closedActivities": { scene in
            let found =
                try await scene.store.retention?.closedActivities(
                    of: scene.thief,
                    after: 0,
                    limit: 9
                ) ?? []
            return found.isEmpty ? nil : "\(found)"
        },
        "RetentionStorage.purge": { scene in
            let count =
                try await scene.store.retention?.purge(
                    [scene.closed],
                    tenant: scene.thief,
                    epoch: scene.epoch
                ) ?? 0
            return count == 0 ? nil : "purged"
        },
        "QuotaStorage.quota": { scene in
            let found = try await scene.store.quotas?.quota(of: scene.thief)
            return found ?? .unlimited == .unlimited ? nil : "\(String(describing: found))"
        },
        "QuotaStorage.storedQuota": { scene in
            let found = try await scene.store.quotas?.storedQuota(of: scene.thief)
            return found == .some(nil) || found == nil ? nil : "\(String(describing: found))"
        },
        "QuotaStorage.setQuota": { scene in
            try await scene.store.quotas?.setQuota(
                TenantQuota(devices: 0),
                of: scene.thief,
                epoch: scene.epoch
            )
            return nil
        },
        "QuotaStorage.usage": { scene in
            let found = try await scene.store.quotas?.usage(of: scene.thief)
            return found?.devices ?? 0 == 0 ? nil : "\(String(describing: found))"
        },
    ]

    /// Protocols whose requirements are tried elsewhere: channels through the routes of the admin API.
    private static let triedElsewhere: Set<String> = [
        "ReleaseSource", "ReleaseStorage", "ReleaseReader", "ReleaseWriter", "ObjectPeer",
    ]

    func test_everyRequirement_askedForAnotherTenant_showsAndChangesNothing() async throws {
        for driver in DriverTable.stores {
            for name in Self.attempts.keys.sorted() {
                let store = try await driver.make()
                let scene = Scene(store: store, epoch: try await store.newEpoch())
                try await scene.populate()
                let before = try await scene.picture()
                let leak = try await Self.attempts[name]?(scene)
                XCTAssertNil(leak, "\(driver.name): \(name) crossed into another tenant")
                let after = try await scene.picture()
                XCTAssertEqual(before, after, "\(driver.name): \(name) changed another tenant")
                try await store.close()
            }
        }
    }

    /// A row proves something only if the same call, made by the owner, shows or changes something: an
    /// implementation that ignores the tenant gives the thief the owner's answer.
    func test_everyRequirement_askedByTheOwner_showsOrChangesSomething() async throws {
        for driver in DriverTable.stores {
            for name in Self.attempts.keys.sorted() {
                let store = try await driver.make()
                let scene = Scene(store: store, epoch: try await store.newEpoch())
                try await scene.populate()
                let before = try await scene.picture()
                let shown = try await Self.attempts[name]?(scene.ownersOwn)
                let after = try await scene.picture()
                XCTAssertTrue(
                    shown != nil || before != after,
                    "\(driver.name): \(name) shows and changes nothing even for the owner"
                )
                try await store.close()
            }
        }
    }

    /// Reads the protocols from the sources.
    func test_theTable_hasEveryRequirementThatNamesATenant() throws {
        let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Sources")
        let files = try XCTUnwrap(FileManager.default.enumerator(atPath: sources.path))
        var found: Set<String> = []
        let head = try NSRegularExpression(pattern: "^public protocol (\\w+)")
        let requirement = try NSRegularExpression(
            pattern: "^    func (\\w+)\\(([^)]*)\\)",
            options: .anchorsMatchLines
        )
        for case let file as String in files where file.hasSuffix(".swift") {
            let text = try String(contentsOf: sources.appendingPathComponent(file), encoding: .utf8)
            for part in text.components(separatedBy: "\n}") {
                guard let start = part.range(of: "public protocol ") else { continue }
                let body = String(part[start.lowerBound...])
                let range = NSRange(body.startIndex..., in: body)
                guard let name = head.firstMatch(in: body, range: range)?.range(at: 1),
                    let protocolName = Range(name, in: body).map({ String(body[$0]) }),
                    !Self.triedElsewhere.contains(protocolName)
                else { continue }
                for match in requirement.matches(in: body, range: range) {
                    guard let function = Range(match.range(at: 1), in: body),
                        let parameters = Range(match.range(at: 2), in: body),
                        body[parameters].contains("TenantID")
                    else { continue }
                    found.insert("\(protocolName).\(body[function])")
                }
            }
        }
        XCTAssertEqual(found.subtracting(Self.attempts.keys).sorted(), [], "not in the table")
        XCTAssertEqual(Set(Self.attempts.keys).subtracting(found).sorted(), [], "no requirement")
    }
}
