#if Server
internal import ClusterRole
public import DeviceRegistry
public import HTTPHandling
internal import HTTPTypes
internal import Logging
public import OperationQueue

/// The device API: enrolment, exchange, push registration and information over HTTP, as
/// `Documentation/OpenAPI/device-v1.json` describes it.
///
/// Mount it under ``prefix``. It authenticates devices by itself, by the credential of their
/// enrolment; an identity the host has set is not looked at. A caller is known before the body is read.
///
/// ```swift
/// let gateway = try DeviceEndpoint(
///     exchange: exchange, authenticator: replica, enrolment: link)
/// let server = try ReeveServer(
///     mounts: [HandlerMount(DeviceEndpoint.prefix, gateway)], logger: logger)
/// ```
public struct DeviceEndpoint: HTTPHandler, RouteListing {
    /// Where the paths of the document begin.
    public static let prefix = "/device/v1"
    /// The longest `Idempotency-Key`, in bytes: it must fit a column of an index.
    public static let maximumKeyBytes = 255
    /// The most kinds of information in one body. Each is a row of its own, and a commit.
    public static let maximumInformationKinds = 64

    private let table: RouteTable

    /// - Parameters:
    ///   - exchange: what devices report to and are answered by.
    ///   - authenticator: tells whose credential a token is.
    ///   - enrolment: enrols devices; on a worker the link's.
    ///   - configuration: the tenant devices enrol into, and limits; the standard ones work.
    /// - Throws: `HTTPHandlingError` with code `invalidRoute`; it does not happen for this table.
    public init(
        exchange: DeviceExchange,
        authenticator: any DeviceAuthenticator,
        enrolment: any EnrolmentService,
        configuration: DeviceGatewayConfiguration = DeviceGatewayConfiguration()
    ) throws {
        let routes = DeviceRoutes(
            exchange: exchange,
            authenticator: authenticator,
            enrolment: enrolment,
            configuration: configuration
        )
        var table = RouteTable(limits: configuration.limits)
        try routes.add(to: &table)
        self.table = table
    }

    public var routes: [RouteDescription] { table.routes }

    public func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
        try await table.handle(request)
    }
}

extension HTTPField.Name {
    static let contentDigest = HTTPField.Name("Content-Digest")!
    static let representationDigest = HTTPField.Name("Repr-Digest")!
    static let idempotencyKey = HTTPField.Name("Idempotency-Key")!
    static let revision = HTTPField.Name("Reeve-Revision")!
}

/// What the routes of the device API do.
private struct DeviceRoutes: Sendable {
    let exchange: DeviceExchange
    let authenticator: any DeviceAuthenticator
    let enrolment: any EnrolmentService
    let configuration: DeviceGatewayConfiguration

    /// All routes are open to the table: who calls is decided here, because a device is no `Identity`.
    func add(to table: inout RouteTable) throws {
        try table.post(
            "/enrolments",
            operationID: "enrolDevice",
            access: .open,
            perform: enrol
        )
        try table.delete(
            "/enrolment",
            operationID: "endEnrolment",
            access: .open,
            perform: known(endEnrolment)
        )
        try table.post(
            "/exchange",
            operationID: "exchange",
            access: .open,
            perform: known(exchange)
        )
        try table.put(
            "/results/{execution}",
            operationID: "putLargeResult",
            access: .open,
            maximumBodyBytes: exchange.limits.largeResultBytes,
            perform: known(putLargeResult)
        )
        try table.put(
            "/push-registration",
            operationID: "putPushRegistration",
            access: .open,
            perform: known(putRegistration)
        )
        try table.delete(
            "/push-registration",
            operationID: "deletePushRegistration",
            access: .open,
            perform: known(deleteRegistration)
        )
        try table.put(
            "/information",
            operationID: "putInformation",
            access: .open,
            perform: known(putInformation)
        )
    }

    /// An action for a caller who is an enrolled device.
    private func known(
        _ action:
            @escaping @Sendable (HandlerRequest, DeviceIdentity) async throws ->
            HandlerResponse
    ) -> RouteTable.Action {
        { request in
            guard let token = request.bearerToken,
                let device = try await authenticator.authenticate(token: token)
            else { throw HTTPHandlingError.unauthenticated() }
            var request = request
            request.logger[metadataKey: "device"] = "\(device.device)"
            return try await action(request, device)
        }
    }

    @Sendable private func enrol(_ request: HandlerRequest) async throws -> HandlerResponse {
        let body = try await request.decode(DeviceMessages.EnrolmentRequest.self)
        let receipt = try await enrolment.enrol(
            EnrolmentRequest(
                tenant: configuration.tenant,
                device: try DeviceID(validating: body.device),
                token: body.secret ?? "",
                groups: try (body.groups ?? []).map { try GroupID(validating: $0) },
                idempotencyKey: try idempotencyKey(of: request)
            )
        )
        return try .json(
            DeviceMessages.EnrolmentAnswer(
                device: receipt.identity.device.rawValue,
                credential: receipt.credential.token,
                pollAfter: configuration.firstPoll.inSeconds
            ),
            status: .created,
            headerFields: [.cacheControl: "no-store"]
        )
    }

    @Sendable private func endEnrolment(
        _ request: HandlerRequest,
        _ device: DeviceIdentity
    ) async throws -> HandlerResponse {
        do {
            try await enrolment.unenrol(device)
        } catch let error as DeviceRegistryError where error.code == .unknownDevice {
            // It has ended meanwhile, which is what was asked for.
        }
        return .empty()
    }

    @Sendable private func exchange(
        _ request: HandlerRequest,
        _ device: DeviceIdentity
    ) async throws -> HandlerResponse {
        let body = try await request.decode(DeviceMessages.ExchangeRequest.self)
        let report = try body.report(
            defaultDeferral: configuration.defaultDeferral,
            at: configuration.time.now()
        )
        let answer = try await lagTold {
            try await exchange(device, report, of: request)
        }
        return .bytes(
            try encodedAnswer(answer, age: configuration.ageWhileCutOff),
            contentType: MediaType.json,
            headerFields: [.revision: answer.revision.description, .cacheControl: "no-store"]
        )
    }

    private func exchange(
        _ device: DeviceIdentity,
        _ report: ExchangeReport,
        of request: HandlerRequest
    ) async throws -> ExchangeAnswer {
        guard report.wait > .zero else {
            return try await exchange.exchange(device: device, report: report)
        }
        return try await request.whileCallerIsThere { [exchange] in
            try await exchange.exchange(device: device, report: report)
        }
    }

    @Sendable private func putLargeResult(
        _ request: HandlerRequest,
        _ device: DeviceIdentity
    ) async throws -> HandlerResponse {
        let head = LargeResultHead(
            execution: try ExecutionID(parsing: request.parameters.require("execution")),
            attempt: try request.query["attempt"].map { try AttemptID(parsing: $0) },
            outcome: try largeResultOutcome(request.query["status"], request.query["error"]),
            declaredBytes: request.body.declaredLength,
            digest: try request.headerFields.representationDigest()
        )
        let receipt = try await lagTold { [body = request.body] in
            try await exchange.accept(head, body: body, device: device)
        }
        var fields: HTTPFields = [.cacheControl: "no-store"]
        if !receipt.wasKnown { fields[.representationDigest] = digestField(receipt.digest) }
        return .empty(headerFields: fields)
    }

    private func largeResultOutcome(
        _ status: String?,
        _ error: String?
    ) throws -> ResultOutcome {
        switch (status, error) {
        case (nil, nil), ("completed", nil): return .completed
        case ("failed", nil): return .failed
        case ("failed", let code?): return .failedBecause(code)
        default:
            throw DeviceGatewayError(
                .invalidField,
                "The status of a large result is completed or failed; only failed has an error."
            )
        }
    }

    @Sendable private func putRegistration(
        _ request: HandlerRequest,
        _ device: DeviceIdentity
    ) async throws -> HandlerResponse {
        let body = try await request.decode(DeviceMessages.PushRegistrationRequest.self)
        try await lagTold {
            try await exchange.register(push: (body.transport, body.address), device: device)
        }
        return .empty()
    }

    @Sendable private func deleteRegistration(
        _ request: HandlerRequest,
        _ device: DeviceIdentity
    ) async throws -> HandlerResponse {
        try await lagTold {
            try await exchange.register(push: nil, device: device)
        }
        return .empty()
    }

    /// All kinds are checked before the first is stored. Each is stored by itself; the call may be
    /// repeated.
    @Sendable private func putInformation(
        _ request: HandlerRequest,
        _ device: DeviceIdentity
    ) async throws -> HandlerResponse {
        let body = try await request.decode([String: JSONValue].self)
        guard body.count <= Self.maximumKinds else {
            throw DeviceGatewayError(
                .invalidField,
                "Send at most \(Self.maximumKinds) kinds of information at a time."
            )
        }
        var kinds: [(kind: InformationKind, body: [UInt8])] = []
        for (name, value) in body.sorted(by: { $0.key < $1.key }) {
            let bytes = try value.encoded()
            try InformationRules.validate(bytes)
            kinds.append((try InformationKind(validating: name), bytes))
        }
        for (kind, bytes) in kinds {
            try await lagTold {
                try await exchange.record(kind, body: bytes, device: device)
            }
        }
        return .empty()
    }

    private static let maximumKinds = DeviceEndpoint.maximumInformationKinds

    /// Tells a device that is enrolled, but not yet known here, to come again.
    ///
    /// The authenticator has vouched for the caller. What the exchange does not find can only be late:
    /// 404 would make the device enrol again.
    private func lagTold<Value>(
        _ call: () async throws -> Value
    ) async throws -> Value {
        do {
            return try await call()
        } catch let error as OperationQueueError where error.code == .unknownDevice {
            throw DeviceGatewayError(
                .notYetKnown,
                "This worker does not know the enrolment yet. Repeat the call, here or at another worker.",
                retryAfter: .seconds(1),
                cause: error
            )
        }
    }

    private func idempotencyKey(of request: HandlerRequest) throws -> String? {
        guard let key = request.headerFields[.idempotencyKey] else { return nil }
        let isVisible = key.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        guard !key.isEmpty, key.utf8.count <= DeviceEndpoint.maximumKeyBytes, isVisible else {
            throw DeviceGatewayError(
                .invalidKey,
                "An Idempotency-Key has 1 to \(DeviceEndpoint.maximumKeyBytes) visible ASCII characters."
            )
        }
        return key
    }
}
#endif
