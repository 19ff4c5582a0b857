#if Server
public import ClusterRole
public import DeviceRegistry
public import HTTPHandling
internal import HTTPTypes
public import OperationQueue

/// What end users see and may do: the façades of one manager, and the codes they may use.
public struct UserServices: Sendable {
    public var devices: OwnedDevices
    public var enqueuer: OperationEnqueuer
    public var activities: ActivityBrowser
    /// What a user may ask of his devices; nothing unless said.
    public var operations: Set<OperationCode>
    /// From when on a silent device is shown as unreachable or inactive.
    public var liveness: LivenessRule
    /// The record of what users change and of what they were refused.
    public var auditor: (any AccessAuditor)?
    public var time: any TimeSource

    public init(
        devices: OwnedDevices,
        enqueuer: OperationEnqueuer,
        activities: ActivityBrowser,
        operations: Set<OperationCode>,
        liveness: LivenessRule = LivenessRule(),
        auditor: (any AccessAuditor)? = nil,
        time: any TimeSource = SystemTimeSource()
    ) {
        self.devices = devices
        self.enqueuer = enqueuer
        self.activities = activities
        self.operations = operations
        self.liveness = liveness
        self.auditor = auditor
        self.time = time
    }
}

/// The user API: an end user's own devices over HTTP, as `Documentation/OpenAPI/user-v1.json` describes it.
///
/// The caller is an identity with the permission `own`; its name is the owner. What is another's is answered
/// as what does not exist: 404, word for word. A user asks his devices for the operations of an allow-list
/// only, and sees of a device what happened since it is his.
public struct UserEndpoint: HTTPHandler, RouteListing {
    /// Where the paths of the document begin.
    public static let prefix = "/user/v1"

    private let services: UserServices
    private var table: RouteTable

    /// - Parameters:
    ///   - services: what it shows and changes.
    ///   - authenticator: asked for requests whose host set no identity; `nil` if the host always does.
    ///   - limits: of bodies and their nesting; those of the request if `nil`.
    /// - Throws: `HTTPHandlingError` with code `invalidRoute`; it does not happen for this table.
    public init(
        _ services: UserServices,
        authenticator: (any BearerAuthenticator)?,
        limits: HandlerLimits? = nil
    ) throws {
        self.services = services
        table = RouteTable(
            authenticator: authenticator,
            limits: limits,
            auditor: services.auditor
        )
        let routes = UserRoutes(services: services)
        try routes.add(to: &table)
    }

    public var routes: [RouteDescription] { table.routes }

    public func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
        try await table.handle(request)
    }
}

/// The routes of ``UserEndpoint``.
private struct UserRoutes: Sendable {
    let services: UserServices

    func add(to table: inout RouteTable) throws {
        let own = RouteAccess.permission(.own)
        try table.get("/devices", operationID: "listOwnDevices", access: own, perform: list)
        try table.get("/devices/{device}", operationID: "getOwnDevice", access: own, perform: show)
        try table.post(
            "/devices/{device}/operations",
            operationID: "enqueueOwnOperation",
            access: own,
            perform: enqueue
        )
        try table.get(
            "/devices/{device}/operations",
            operationID: "listOwnOperations",
            access: own,
            perform: listOperations
        )
        try table.get(
            "/activities/{activity}",
            operationID: "getOwnActivity",
            access: own,
            perform: showActivity
        )
        try table.post(
            "/activities/{activity}/cancel",
            operationID: "cancelOwnActivity",
            access: own,
            perform: cancel
        )
    }

    /// A caller and what he is called as an owner and as an initiator.
    private struct Caller {
        let tenant: TenantID
        let owner: OwnerID

        init(_ request: HandlerRequest) throws {
            let identity = try request.requireIdentity()
            tenant = identity.tenant
            owner = try OwnerID(validating: identity.name)
        }

        /// No administrator's word: a user's activities are told from others' by it.
        var initiator: String { "user:\(owner)" }
    }

    private func device(_ request: HandlerRequest, of caller: Caller) async throws -> Device {
        try await services.devices.device(
            request.parameters.require("device", as: DeviceID.self),
            of: caller.owner,
            tenant: caller.tenant
        )
    }

    private func view(_ device: Device) -> UserMessages.DeviceView {
        UserMessages.DeviceView(
            id: device.id.rawValue,
            liveness: services.liveness.liveness(of: device, at: services.time.now()).rawValue,
            ownedSince: device.ownedSince?.milliseconds,
            lastSeen: device.lastSeen?.milliseconds
        )
    }

    @Sendable private func list(_ request: HandlerRequest) async throws -> HandlerResponse {
        let caller = try Caller(request)
        let page = try await services.devices.devices(
            of: caller.owner,
            after: request.queryName("after", as: DeviceID.self),
            limit: request.pageLimit(upTo: maximumPageSize),
            tenant: caller.tenant
        )
        return try .fresh(
            UserMessages.DeviceList(
                devices: page.devices.map { view($0) },
                next: page.next?.rawValue
            )
        )
    }

    @Sendable private func show(_ request: HandlerRequest) async throws -> HandlerResponse {
        let caller = try Caller(request)
        let found = try await device(request, of: caller)
        let information = try await services.devices.information(
            of: found.id,
            of: caller.owner,
            tenant: caller.tenant
        )
        var shown = view(found)
        // What it said before is whose it was then.
        let own = information.filter { $0.receivedAt >= found.ownedSince ?? .distantFuture }
        shown.information = Dictionary(
            own.map { ($0.kind.rawValue, AdminMessages.InformationView($0)) }
        ) { _, last in last }
        return try .fresh(shown)
    }

    @Sendable private func enqueue(_ request: HandlerRequest) async throws -> HandlerResponse {
        let caller = try Caller(request)
        let key = try request.idempotencyKey()
        let body = try await request.decode(UserMessages.OperationRequest.self)
        let code = try OperationCode(validating: body.code)
        let found = try await device(request, of: caller)
        guard services.operations.contains(code) else {
            throw ManagerConsoleError(
                .codeNotAllowed,
                "Users of this manager may not ask for \(code)."
            )
        }
        var wished = EnqueueRequest(
            code,
            to: .devices([found.id]),
            payload: try payloadBytes(body.payload, base64: body.payloadBase64)
        )
        wished.initiator = caller.initiator
        // Keys are a tenant's: without the name in front, a key would tell what others have used.
        wished.idempotencyKey = key.map { "\(caller.initiator)/\($0)" }
        let receipt = try await services.enqueuer.enqueue(wished, tenant: caller.tenant)
        var response = try HandlerResponse.fresh(
            UserMessages.OperationAnswer(
                activity: receipt.activity.description,
                number: receipt.number,
                repeated: receipt.wasRepeated
            ),
            status: .accepted
        )
        response.revision = receipt.revision.description
        return response
    }

    @Sendable private func listOperations(
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        let caller = try Caller(request)
        let found = try await device(request, of: caller)
        let page = try await services.activities.executions(
            on: found.id,
            before: request.queryNumber("before"),
            limit: request.pageLimit(upTo: maximumPageSize),
            tenant: caller.tenant
        )
        let own = page.executions.filter {
            $0.execution.id.incarnation == found.row.incarnation
                && $0.operation.createdAt >= found.ownedSince ?? .distantFuture
        }
        return try .fresh(
            UserMessages.OperationList(
                operations: own.map {
                    UserMessages.OperationView(
                        activity: $0.operation.activity.description,
                        code: $0.operation.code.rawValue,
                        state: $0.execution.state.name,
                        createdAt: $0.operation.createdAt.milliseconds,
                        updatedAt: $0.execution.updatedAt.milliseconds
                    )
                },
                next: page.next.map(String.init)
            )
        )
    }

    /// An activity of the caller's on a device that still is his.
    private func activity(
        _ request: HandlerRequest,
        of caller: Caller
    ) async throws -> (Activity, Execution) {
        let id = try request.parameters.require("activity", as: ActivityID.self)
        let found = try await services.activities.activity(id, tenant: caller.tenant)
        let executions = try await services.activities.executions(
            of: id,
            after: nil,
            limit: 2,
            tenant: caller.tenant
        ).executions
        guard found.initiator == caller.initiator, executions.count == 1,
            let execution = executions.first
        else { throw Self.unknown(id) }
        do throws(DeviceRegistryError) {
            _ = try await services.devices.device(
                execution.id.device,
                of: caller.owner,
                tenant: caller.tenant
            )
        } catch {
            if error.code == .unknownDevice { throw Self.unknown(id) }
            throw error
        }
        return (found, execution)
    }

    /// Word for word what an id is answered that nobody has.
    private static func unknown(_ id: ActivityID) -> OperationQueueError {
        OperationQueueError(
            .unknownActivity,
            "There is no activity \(id) in this tenant. Use an id that enqueue returned."
        )
    }

    private func view(_ activity: Activity, _ execution: Execution) -> UserMessages.ActivityView {
        let detail = ShownBytes(execution.detail)
        return UserMessages.ActivityView(
            id: activity.id.description,
            device: execution.id.device.rawValue,
            code: activity.operation.code.rawValue,
            state: String(describing: activity.state),
            execution: execution.state.name,
            createdAt: activity.operation.createdAt.milliseconds,
            closedAt: activity.closedAt?.milliseconds,
            detail: detail.json,
            detailBase64: detail.base64
        )
    }

    @Sendable private func showActivity(
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        let (activity, execution) = try await activity(request, of: Caller(request))
        return try .fresh(view(activity, execution))
    }

    @Sendable private func cancel(_ request: HandlerRequest) async throws -> HandlerResponse {
        let caller = try Caller(request)
        let (activity, _) = try await activity(request, of: caller)
        _ = try await services.enqueuer.cancel(activity.id, tenant: caller.tenant)
        let (after, execution) = try await self.activity(request, of: caller)
        return try .fresh(view(after, execution))
    }
}
#endif
