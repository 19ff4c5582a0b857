#if Server
import ArtifactStore
import ClusterMembership
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import Logging
import ManagerConsole
import NotificationDispatch
import OperationQueue
import XCTest

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// A manager on in-memory drivers, with the admin API and the status page over it.
final class Scene: Sendable {
    static let other = TenantID(rawValue: "other")

    let time = ManualTimeSource()
    let random = SeededRandomSource(seed: 11)
    let ledger = InMemoryLedger()
    let capability: WriteCapability
    let devices: InMemoryDeviceStorage
    let operations: InMemoryOperationStorage
    let members: InMemoryMemberRegistry
    let releases: InMemoryReleaseStorage
    let messenger: ClusterMessenger
    let webhooks: InMemoryWebhookStorage
    let webhookTransport = RecordingWebhookTransport()
    let audit: InMemoryAuditLog
    let identities: IdentityAdministration
    let administration: DeviceAdministration
    let services: AdminServices
    let endpoint: AdminEndpoint
    let page: StatusPage
    let userEndpoint: UserEndpoint
    let tokens: InMemoryTokens
    /// Calls as an administrator of the standard tenant.
    let admin: HandlerCaller
    let directory: TemporaryDirectory
    /// Where backups may be written.
    let backups: String

    static let roles: [String: Identity] = [
        "admin-token": Identity(name: "alice", permissions: Permission.everything),
        "reader-token": Identity(name: "rita", permissions: [.read]),
        "other-token": Identity(
            name: "otto",
            tenant: other,
            permissions: Permission.everything
        ),
        "ann-token": Identity(name: "ann", permissions: [.own]),
        "bob-token": Identity(name: "bob", permissions: [.own]),
        "powerless-token": Identity(name: "pia", permissions: [.link]),
    ]

    /// - Parameter waitsForProbes: whether a probe waits until the clock is moved; if not, a silent link is
    ///   found out at once, so that tables of routes may try it.
    init(waitsForProbes: Bool = false) throws {
        let epoch = ledger.raiseEpoch()
        let wakes = InMemoryWakeTable()
        capability = WriteCapability(epoch: epoch)
        devices = InMemoryDeviceStorage(ledger: ledger)
        operations = InMemoryOperationStorage(ledger: ledger, devices: devices, wakes: wakes)
        members = InMemoryMemberRegistry(ledger: ledger)
        releases = InMemoryReleaseStorage(ledger: ledger)
        audit = InMemoryAuditLog(ledger: ledger)
        identities = IdentityAdministration(
            storage: InMemoryIdentityStorage(ledger: ledger),
            capability: capability,
            clock: time,
            random: random
        )
        let trail = AuditTrail(log: audit, capability: capability, clock: time, logger: quiet)
        directory = try TemporaryDirectory()
        backups = try directory.make("backups")
        administration = DeviceAdministration(
            storage: devices,
            capability: capability,
            clock: time,
            random: random,
            logger: quiet
        )
        var publishing = PublisherConfiguration()
        publishing.time = time
        publishing.logger = quiet
        publishing.scratchDirectory = try directory.make("scratch")
        let publisher = ArtifactPublisher(
            storage: releases,
            objects: InMemoryObjectStorage(),
            signer: try Ed25519Signer(random: random),
            capability: capability,
            configuration: publishing
        )
        var watching = PublishTask.Settings()
        watching.mode = .manual
        watching.time = time
        watching.logger = quiet
        messenger = ClusterMessenger(
            own: Member(
                node: "manager-1",
                role: .manager,
                domain: .standard(for: .manager),
                joinedAt: time.now(),
                lastHeard: time.now()
            ),
            log: InMemoryMessageLog(ledger: ledger),
            members: ClusterMembers(registry: members),
            capability: capability,
            settings: ClusterMessenger.Settings(clock: time, random: random, logger: quiet)
        )
        let watched = PublishTask(
            "\(directory.path)/publish/site",
            to: "web/site",
            publisher: publisher,
            settings: watching
        )
        var rolling = ReleaseRollouts.Settings(clock: time)
        rolling.random = random
        rolling.logger = quiet
        let (ledger, time) = (ledger, time)
        let events = OperationEvents(reader: operations, clock: time)
        webhooks = InMemoryWebhookStorage(ledger: ledger)
        let tasks = InMemoryPeriodicTaskStorage(ledger: ledger, devices: devices)
        let enqueuer = OperationEnqueuer(
            storage: operations,
            capability: capability,
            clock: time,
            random: random,
            quotas: devices,
            logger: quiet
        )
        var services = AdminServices(
            devices: .init(
                directory: DeviceDirectory(reader: devices),
                administration: administration
            ),
            operations: .init(
                enqueuer: enqueuer,
                activities: ActivityBrowser(reader: operations),
                tasks: tasks,
                events: events,
                webhooks: WebhookAdministration(
                    storage: webhooks,
                    events: events,
                    transport: webhookTransport,
                    capability: capability,
                    clock: time,
                    random: random
                ),
                policies: PolicyMonitor(
                    storage: InMemoryComplianceStorage(
                        ledger: ledger,
                        devices: devices,
                        tasks: tasks
                    ),
                    tasks: tasks,
                    enqueuer: enqueuer,
                    capability: capability,
                    settings: PolicyMonitor.Settings(clock: time)
                ),
                explainer: ExecutionExplainer(
                    operations: operations,
                    devices: devices,
                    clock: time
                )
            ),
            cluster: .init(
                node: NodeID(rawValue: "manager-1"),
                role: .manager,
                capability: capability,
                members: ClusterMembers(registry: members),
                revisions: InMemoryRevisionLog(ledger: ledger),
                wakes: InMemoryWakeStorage(wakes: wakes, devices: devices, ledger: ledger),
                messaging: .init(commands: NodeCommands(messenger), messenger: messenger)
            ),
            releases: .init(
                publisher: publisher,
                roots: try PublishRoots([try directory.make("publish")]),
                tasks: [watched],
                trust: ReleaseTrust(pointers: nil),
                rollouts: ReleaseRollouts(
                    releases: releases,
                    storage: releases,
                    publisher: publisher,
                    nodes: FixedReleaseNodes { [ReleaseNode("worker-1", channels: ["web/site"])] },
                    capability: capability,
                    settings: rolling
                )
            ),
            keeping: .init(
                backup: { path, _ in
                    StoredBackup(
                        path: path,
                        bytes: 0,
                        revision: ledger.revision,
                        takenAt: time.now(),
                        rows: 0
                    )
                },
                roots: try PublishRoots([backups]),
                retention: RetentionTask(
                    storage: operations,
                    policy: RetentionPolicy(),
                    capability: capability,
                    settings: RetentionTask.Settings(clock: time)
                ),
                quotas: devices,
                capability: capability
            ),
            access: .init(trail: trail, identities: identities),
            time: time
        )
        let known = ClusterMembers(registry: members)
        let patience: any TimeSource = waitsForProbes ? time : HastyTimeSource(time)
        let keeper = known.writer(for: capability, clock: patience)
        services.cluster.keeper = { keeper }
        services.cluster.probe = MemberProbe(
            members: known,
            writer: { keeper },
            direct: FixedProber(),
            clock: patience
        )
        self.services = services
        tokens = InMemoryTokens(Self.roles)
        let authenticator = FirstKnownAuthenticator([tokens, StoredTokens(identities.directory)])
        endpoint = try AdminEndpoint(services, authenticator: authenticator)
        userEndpoint = try UserEndpoint(
            UserServices(
                devices: OwnedDevices(reader: devices, owners: devices),
                enqueuer: enqueuer,
                activities: ActivityBrowser(reader: operations),
                operations: ["locate", "ring"],
                auditor: TrailAuditor(trail),
                time: time
            ),
            authenticator: authenticator
        )
        page = try StatusPage(services, authenticator: tokens)
        admin = HandlerCaller(
            try Self.mounted(endpoint, page),
            try OpenAPIDocument(named: "admin-v1"),
            token: "admin-token"
        )
    }

    static func mounted(_ endpoint: AdminEndpoint, _ page: StatusPage) throws -> RouteTable {
        var table = RouteTable()
        try table.mount(endpoint, at: AdminEndpoint.prefix)
        try table.mount(page, at: StatusPage.prefix)
        return table
    }

    /// Calls as an end user.
    func user(_ token: String?) throws -> HandlerCaller {
        var table = RouteTable()
        try table.mount(userEndpoint, at: UserEndpoint.prefix)
        return HandlerCaller(table, try OpenAPIDocument(named: "user-v1"), token: token)
    }

    @discardableResult
    func enrol(
        _ device: String,
        groups: [String] = [],
        tenant: TenantID = .standard
    ) async throws -> EnrolmentReceipt {
        try await administration.enrol(
            DeviceID(rawValue: device),
            groups: groups.map { GroupID(rawValue: $0) },
            tenant: tenant
        )
    }

    /// Enqueues `lock` to a device and returns the activity's id.
    func enqueue(_ device: String) async throws -> String {
        let answer = try await admin.call(
            .post,
            "/admin/v1/operations",
            ["target": ["devices": [.string(device)]], "code": "lock"]
        )
        return try XCTUnwrap(answer.json?["activity"]?.stringValue, answer.text)
    }

    /// What a device reports, as its worker hands it on.
    func report(_ receipt: EnrolmentReceipt, _ body: InboxEntry.Body) async throws {
        let inbox = InProcessInbox(storage: operations, capability: capability, clock: time)
        try await inbox.accept([
            InboxEntry(identity: receipt.identity, receivedAt: time.now(), body: body)
        ])
    }

    /// Sends the large result of the device's newest operation.
    func uploadResult(_ receipt: EnrolmentReceipt, _ bytes: [UInt8]) async throws {
        let exchange = DeviceExchange(
            storage: operations,
            capability: capability,
            settings: .init(clock: time, random: random)
        )
        let offer = try await exchange.exchange(device: receipt.identity)
        _ = try await exchange.accept(
            LargeResultHead(execution: try XCTUnwrap(offer.operations.last).execution),
            body: HandlerBody(bytes),
            device: receipt.identity
        )
    }

    /// Writes a tree under the publish root and returns its path.
    func tree(_ name: String, _ files: [String: String]) throws -> String {
        let root = try directory.make("publish/\(name)")
        for (file, text) in files {
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(root)/\(file)"))
        }
        return root
    }

    /// One of everything, so that every route finds what its path names.
    func populate() async throws -> [String: String] {
        let worker = Member(
            node: "worker-9",
            role: .worker,
            domain: .standard(for: .worker),
            joinedAt: time.now(),
            lastHeard: time.now()
        )
        _ = try await members.put(worker, epoch: capability.epoch)
        let receipt = try await enrol("tablet-17", groups: ["shop-3"])
        try await report(receipt, .information(.location, body: Array(#"{"lat":52.5}"#.utf8)))
        let activity = try await enqueue("tablet-17")
        let tree = try tree("site", ["index.html": "one"])
        let published = try await admin.call(
            .post,
            "/admin/v1/channels/web%2Fsite/releases",
            ["directory": .string(tree)]
        )
        XCTAssertEqual(published.status, 201, published.text)
        let task = try await admin.call(.put, "/admin/v1/tasks/hourly", ["frequency": 3_600])
        XCTAssertEqual(task.status, 200, task.text)
        let hook = try await admin.call(
            .post,
            "/admin/v1/webhooks",
            ["url": "https://hooks.example/reeve"]
        )
        XCTAssertEqual(hook.status, 201, hook.text)
        let policy = try await admin.call(
            .put,
            "/admin/v1/policies/passcode",
            ["version": "1", "payload": ["length": 6]]
        )
        XCTAssertEqual(policy.status, 200, policy.text)
        let made = try await admin.call(
            .post,
            "/admin/v1/identities",
            ["name": "night-shift", "permissions": ["read"]]
        )
        XCTAssertEqual(made.status, 201, made.text)
        let (rollout, root) = try await populateRollouts()
        let command = try await NodeCommands(messenger).send(.drain, to: .everybody)
        return [
            "device": "tablet-17", "group": "shop-3", "activity": activity,
            "channel": "web%2Fsite", "task": "hourly", "policy": "passcode", "letter": "1",
            "rollout": rollout, "root": root, "identity": "night-shift", "node": "worker-9",
            "command": command.id.description,
            "webhook": try XCTUnwrap(hook.json?["webhook"]?["webhook"]?.stringValue, hook.text),
        ]
    }

    /// An aborted rollout of `web/site`, whose tree is blocked, and one of `web/rolled` that runs.
    private func populateRollouts() async throws -> (rollout: String, root: String) {
        let prefix = "/admin/v1"
        func publish(_ channel: String, _ text: String) async throws -> String {
            let path = try tree("\(channel)-\(text)", ["index.html": text])
            let answer = try await admin.call(
                .post,
                "\(prefix)/channels/web%2F\(channel)/releases",
                ["directory": .string(path)]
            )
            return try XCTUnwrap(answer.json?["root"]?.stringValue, answer.text)
        }
        func start(_ channel: String) async throws -> String {
            let answer = try await admin.call(
                .post,
                "\(prefix)/rollouts",
                ["channel": .string("web/\(channel)"), "waves": [["count": 1]]]
            )
            return try XCTUnwrap(answer.json?["rollout"]?.stringValue, answer.text)
        }
        let first = try await start("site")
        let root = try await publish("site", "bad")
        let aborted = try await admin.call(
            .post,
            "\(prefix)/rollouts/\(first)/abort",
            ["reason": "it burns"]
        )
        XCTAssertEqual(aborted.status, 200, aborted.text)
        _ = try await publish("rolled", "one")
        let second = try await start("rolled")
        _ = try await publish("rolled", "two")
        return (second, root)
    }
}

/// A directory that goes away with its owner.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        path =
            URL(fileURLWithPath: NSTemporaryDirectory())
            .appendingPathComponent("reeve-console-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Makes a directory in it.
    func make(_ name: String) throws -> String {
        try FileManager.default.createDirectory(
            atPath: "\(path)/\(name)",
            withIntermediateDirectories: true
        )
        return "\(path)/\(name)"
    }
}

/// A clock on which nobody waits.
struct HastyTimeSource: TimeSource {
    private let time: ManualTimeSource

    init(_ time: ManualTimeSource) { self.time = time }

    func now() -> Timestamp { time.now() }
    func monotonic() -> Duration { time.monotonic() }
    func sleep(for duration: Duration) async throws { try Task.checkCancellation() }
}

/// Reaches every node but one.
struct FixedProber: NodeProber {
    func probe(_ node: NodeID, at address: String) async throws {
        guard node != "unreachable" else {
            throw ClusterMembershipError(.notJoined, "nothing listens there")
        }
    }
}
#endif
