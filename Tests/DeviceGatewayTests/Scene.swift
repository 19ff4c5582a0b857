#if Server
import ClusterRole
import ClusterTestKit
import DeviceGateway
import DeviceRegistry
import Foundation
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import Logging
import OperationQueue
import Synchronization

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// A worker's half on in-memory drivers, with a device API over it.
struct Scene {
    static let secret = "the fleet's enrolment secret"

    let time = ManualTimeSource()
    let random = SeededRandomSource(seed: 7)
    let ledger = InMemoryLedger()
    let devices: InMemoryDeviceStorage
    let operations: InMemoryOperationStorage
    let administration: DeviceAdministration
    let enqueuer: OperationEnqueuer
    let authenticator: SeverableAuthenticator
    let exchange: DeviceExchange
    let endpoint: DeviceEndpoint
    let caller: HandlerCaller

    init(
        limits: HandlerLimits? = nil,
        age: Duration? = nil,
        reader: (any PendingWorkReader)? = nil,
        exchangeLimits: ExchangeLimits = ExchangeLimits(),
        exchangeClock: (any TimeSource)? = nil
    ) throws {
        let capability = WriteCapability(epoch: ledger.raiseEpoch())
        devices = InMemoryDeviceStorage(ledger: ledger)
        operations = InMemoryOperationStorage(ledger: ledger, devices: devices)
        administration = DeviceAdministration(
            storage: devices,
            capability: capability,
            clock: time,
            random: random,
            logger: quiet
        )
        enqueuer = OperationEnqueuer(
            storage: operations,
            capability: capability,
            clock: time,
            random: random,
            logger: quiet
        )
        authenticator = SeverableAuthenticator(CredentialAuthenticator(reader: devices))
        let inbox = InProcessInbox(storage: operations, capability: capability, clock: time)
        let groups: Set = [GroupID(rawValue: "shop-3"), GroupID(rawValue: "zürich")]
        var settings = DeviceExchange.Settings(clock: exchangeClock ?? time, random: random)
        settings.limits = exchangeLimits
        exchange = DeviceExchange(reader: reader ?? operations, inbox: inbox, settings: settings)
        endpoint = try DeviceEndpoint(
            exchange: exchange,
            authenticator: authenticator,
            enrolment: EnrolmentDesk(
                administration: administration,
                policy: SharedSecretPolicy(secret: Self.secret, groups: groups)
            ),
            configuration: DeviceGatewayConfiguration(limits: limits, time: time, age: { age })
        )
        var table = RouteTable()
        try table.mount(endpoint, at: DeviceEndpoint.prefix)
        caller = HandlerCaller(table, try OpenAPIDocument(named: "device-v1"))
    }

    /// Enrols a device and calls in its name.
    func enrolled(_ device: String = "tablet-17") async throws -> HandlerCaller {
        let answer = try await caller.call(
            .post,
            "/device/v1/enrolments",
            ["device": .string(device), "secret": .string(Self.secret)]
        )
        return caller.with(token: answer.json?["credential"]?.stringValue)
    }

    @discardableResult
    func enqueue(
        _ code: String,
        to device: String = "tablet-17",
        payload: [UInt8] = [],
        type: OperationType = .command
    ) async throws -> EnqueueReceipt {
        var request = EnqueueRequest(
            OperationCode(rawValue: code),
            to: .devices([DeviceID(rawValue: device)]),
            payload: payload
        )
        request.type = type
        return try await enqueuer.enqueue(request)
    }

    func execution(_ receipt: EnqueueReceipt) async throws -> Execution? {
        try await operations.executions(
            of: receipt.activity,
            after: nil,
            limit: 10,
            tenant: .standard
        ).first
    }
}

/// An authenticator that can be cut off from what it asks.
final class SeverableAuthenticator: DeviceAuthenticator {
    private let base: any DeviceAuthenticator
    private let state = Mutex(false)

    init(_ base: any DeviceAuthenticator) { self.base = base }

    var isCutOff: Bool {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }

    func authenticate(token: String) async throws -> DeviceIdentity? {
        if isCutOff {
            throw DeviceRegistryError(
                .cannotDecide,
                "Cut off. Repeat the call later.",
                retryAfter: .seconds(5)
            )
        }
        return try await base.authenticate(token: token)
    }
}

/// A replica that has not heard of anybody.
struct EmptyReader: PendingWorkReader {
    func openWork(for device: DeviceID, tenant: TenantID) async throws -> OpenWork? { nil }
}
#endif
