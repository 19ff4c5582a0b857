#if Server && SQLite
import ArtifactStore
import AsyncHTTPClient
import ClusterMembership
import ClusterRole
import ClusterTestKit
import ClusterTransport
import DeviceRegistry
import Foundation
import HTTPHandling
import HTTPTypes
import HummingbirdHosting
import Logging
import NodeCertificates
import OperationQueue
import SQLiteReplica
import ServiceLifecycle
import Synchronization
import XCTest

@testable import ClusterLink

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// A manager in memory with its end of the link.
final class ManagerScene: Sendable {
    let ledger: InMemoryLedger
    let devices: InMemoryDeviceStorage
    let operations: InMemoryOperationStorage
    let members: InMemoryMemberRegistry
    /// The coordinator's writer of members.
    let keeper: ClusterMembersWriter
    let releases: InMemoryReleaseStorage
    let objects = InMemoryObjectStorage()
    let hints = InMemoryHintBus()
    let capability: WriteCapability
    let signer: Ed25519Signer
    let trust: ReleaseTrust
    let time: any TimeSource
    let tokens = InMemoryTokens()
    /// The members, as rollouts see them.
    let nodes: FixedReleaseNodes
    let endpoint: LinkEndpoint
    let messenger: ClusterMessenger
    let state: SharedStateWriter
    /// What workers may ask.
    let handlers = MessageHandlers()
    let messages: InMemoryMessageLog
    /// While it is off this manager is not the coordinator.
    let coordinator = CoordinatorFlag()
    private let random = SeededRandomSource(seed: 5)

    init(
        history: UInt128 = 7,
        epochs: Int = 1,
        limits: LinkLimits = LinkLimits(),
        time: any TimeSource = SystemTimeSource(),
        makesBundlesIn scratch: String? = nil,
        offering: Bool = false,
        losesHints: Bool = false,
        requiresCertificates: Bool = false
    ) throws {
        ledger = InMemoryLedger(history: HistoryID(bits: history))
        var epoch = Epoch.none
        for _ in 0..<epochs { epoch = ledger.raiseEpoch() }
        self.time = time
        devices = InMemoryDeviceStorage(ledger: ledger)
        operations = InMemoryOperationStorage(ledger: ledger, devices: devices)
        members = InMemoryMemberRegistry(ledger: ledger)
        releases = InMemoryReleaseStorage(ledger: ledger)
        capability = WriteCapability(epoch: epoch)
        signer = try Ed25519Signer()
        trust = ReleaseTrust(
            pointers: ReleasePointers(signers: [signer], capability: capability, time: time)
        )
        let administration = DeviceAdministration(storage: devices, capability: capability)
        keeper = ClusterMembers(registry: members).writer(for: capability, clock: time)
        let authority = LinkAuthority(capability: capability, members: keeper)
        for name in ["worker-1", "worker-2"] {
            tokens.insert(
                TokenDigest(of: name),
                for: Identity(name: name, permissions: [.link])
            )
        }
        tokens.insert(
            TokenDigest(of: "admin"),
            for: Identity(name: "admin", permissions: Permission.everything)
        )
        messages = InMemoryMessageLog(ledger: ledger)
        let shared = SharedState(storage: InMemorySharedStateStorage(ledger: ledger))
        state = shared.writer(for: capability)
        messenger = ClusterMessenger(
            own: Member(
                node: "manager-1",
                role: .manager,
                domain: .standard(for: .manager),
                joinedAt: time.now(),
                lastHeard: time.now()
            ),
            log: messages,
            members: ClusterMembers(registry: members),
            capability: capability,
            handlers: handlers,
            signal: shared.signal,
            settings: ClusterMessenger.Settings(clock: time, random: random)
        )
        let registry = members
        nodes = FixedReleaseNodes {
            try await registry.members().map {
                ReleaseNode(
                    $0.node,
                    version: $0.version,
                    properties: $0.properties,
                    presence: .connected
                )
            }
        }
        var services = LinkServices(
            replicas: operations,
            operations: operations,
            devices: devices,
            enrolment: EnrolmentDesk(
                administration: administration,
                policy: SharedSecretPolicy(secret: "secret")
            ),
            hints: losesHints ? LossyHintBus() as any HintBus : hints,
            releases: releases,
            objects: objects,
            maker: scratch.map { [releases, objects] scratch in
                var configuration = PublisherConfiguration()
                configuration.scratchDirectory = scratch
                configuration.logger = quiet
                return BundleMaker(
                    storage: releases,
                    objects: TenantObjects(shared: objects),
                    configuration: configuration
                )
            },
            trust: trust,
            authority: { [coordinator] in coordinator.isSet ? authority : nil }
        )
        if offering {
            services.offers = ReleaseOffers(releases: releases, rollouts: releases, nodes: nodes)
        }
        services.messaging = LinkMessaging(messenger: messenger, state: shared)
        endpoint = try LinkEndpoint(
            services: services,
            authenticator: tokens,
            requiresCertificates: requiresCertificates,
            limits: limits,
            time: time
        )
    }

    /// Enqueues an operation and tells who waits.
    @discardableResult
    func enqueue(_ target: OperationTarget) async throws -> DeviceOperation {
        let operation = DeviceOperation(
            id: OperationID(from: random),
            activity: ActivityID(from: random),
            number: 0,
            code: OperationCode(rawValue: "lock"),
            createdAt: time.now()
        )
        let receipt = try await operations.enqueue(
            EnqueuePlan(
                operation: operation,
                target: target,
                initiator: "test",
                idempotencyKey: nil,
                requestDigest: [],
                wakeAt: nil
            ),
            tenant: .standard,
            epoch: ledger.epoch
        )
        hints.publish(receipt.revision)
        return operation
    }

    func completed(_ operation: DeviceOperation) async throws -> Int {
        let activity = try await operations.activity(operation.activity, tenant: .standard)
        return activity?.counts[.completed] ?? 0
    }

    /// Answers one request without a server.
    func answer(
        _ method: HTTPRequest.Method,
        _ path: String,
        token: String? = "worker-1",
        body: [UInt8] = [],
        contentType: String = "application/octet-stream",
        fields: HTTPFields = [:]
    ) async throws -> (status: Int, body: [UInt8], fields: HTTPFields) {
        var table = RouteTable()
        try table.mount(endpoint, at: LinkEndpoint.standardPrefix)
        var fields = fields
        if let token { fields[.authorization] = "Bearer \(token)" }
        fields[.contentType] = contentType
        let request = HandlerRequest(
            head: HTTPRequest(
                method: method,
                scheme: nil,
                authority: nil,
                path: LinkEndpoint.standardPrefix + path,
                headerFields: fields
            ),
            body: HandlerBody(body),
            logger: quiet
        )
        let response = await table.answer(request)
        var bytes: [UInt8] = []
        switch response.body {
        case .bytes(let all): bytes = all
        case .stream(let chunks, _):
            for try await chunk in chunks { bytes += chunk }
        case .none, .file: break
        }
        return (response.status.code, bytes, response.headerFields)
    }

    func answer(
        json value: some Encodable,
        to path: String,
        token: String? = "worker-1"
    ) async throws -> (status: Int, body: [UInt8], fields: HTTPFields) {
        try await answer(
            .post,
            path,
            token: token,
            body: Array(try JSONEncoder().encode(value)),
            contentType: "application/json"
        )
    }
}

/// A bus on which every hint is lost, which is what a bus may do at worst.
struct LossyHintBus: HintBus {
    private let bus = InMemoryHintBus()

    func publish(_ revision: Revision) {}
    /// Open, and silent for ever.
    func hints() -> AsyncStream<Revision> { bus.hints() }
}

/// Whether a manager is the coordinator.
final class CoordinatorFlag: Sendable {
    private let value = Mutex(true)
    var isSet: Bool {
        get { value.withLock { $0 } }
        set { value.withLock { $0 = newValue } }
    }
}

/// The stable code of a problem.
func problemCode(_ body: [UInt8]) -> String? {
    (try? JSONDecoder().decode(ProblemDetails.self, from: Data(body)))?.code
}

/// Runs a manager's server on a loopback port for the length of `body`, then stops it.
func withServer(
    _ manager: ManagerScene,
    port: Int = 0,
    _ body: (ServerAddress) async throws -> Void
) async throws {
    let server = try ReeveServer(
        configuration: ReeveServerConfiguration(address: .loopback(port: port)),
        mounts: [HandlerMount(LinkEndpoint.standardPrefix, manager.endpoint)],
        logger: quiet
    )
    try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask { try? await server.run() }
        let address = try await server.boundAddress
        do {
            try await body(address)
        } catch {
            tasks.cancelAll()
            throw error
        }
        tasks.cancelAll()
    }
}

/// A worker: its file, its client, its link.
final class WorkerScene: Sendable {
    let node: NodeID
    let client: LinkClient
    let replica: WorkerReplica
    let link: WorkerLink
    let exchange: DeviceExchange
    let directory: URL

    init(
        addresses: [String],
        node: String = "worker-1",
        token: String? = nil,
        credentials: CredentialSource? = nil,
        path: URL? = nil,
        configuration: WorkerLinkConfiguration = WorkerScene.quick
    ) throws {
        self.node = NodeID(rawValue: node)
        client = try LinkClient(
            node: self.node,
            configuration: LinkClientConfiguration(
                addresses: addresses,
                token: credentials == nil ? token ?? node : "",
                credentials: credentials,
                requestTimeout: .seconds(10)
            ),
            random: SeededRandomSource(seed: 1),
            logger: quiet
        )
        directory =
            path
            ?? FileManager.default.temporaryDirectory
            .appending(path: "reeve-link-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        replica = try WorkerReplica(
            path: directory.appending(path: "worker.sqlite").path,
            node: self.node,
            secrets: SecretBox(key: Array(repeating: 7, count: SecretBox.keySize)),
            oracle: client,
            logger: quiet
        )
        link = WorkerLink(
            client: client,
            replica: replica,
            configuration: configuration,
            logger: quiet
        )
        exchange = DeviceExchange(reader: replica, inbox: replica)
    }

    /// Short waits, so that a manager's return is noticed at once.
    static let quick = WorkerLinkConfiguration(
        pollWait: .seconds(2),
        pagePause: .milliseconds(1),
        heartbeatInterval: .milliseconds(50),
        initialBackoff: .milliseconds(10),
        maximumBackoff: .milliseconds(100),
        flushTimeout: .seconds(5)
    )

    func remove() { try? FileManager.default.removeItem(at: directory) }

    /// Runs the link for the length of `body`, then stops it gracefully.
    func running(_ body: () async throws -> Void) async throws {
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: [link], logger: quiet)
        )
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            do {
                try await body()
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }
}

/// Waits until `condition` holds; fails after half a minute.
func eventually(
    _ what: String,
    file: StaticString = #filePath,
    line: UInt = #line,
    _ condition: () async throws -> Bool
) async throws {
    let end = ContinuousClock.now + .seconds(30)
    while ContinuousClock.now < end {
        if try await condition() { return }
        try await ContinuousClock().sleep(for: .milliseconds(5))
    }
    XCTFail("It never happened: \(what)", file: file, line: line)
    throw TimedOut()
}

struct TimedOut: Error {}
#endif
