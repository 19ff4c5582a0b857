#if Server
internal import ClusterRole
public import HTTPHandling
internal import HTTPTypes
internal import OperationQueue

/// The admin API: devices, groups, operations, activities, channels, nodes, tasks and status over
/// HTTP, as `Documentation/OpenAPI/admin-v1.json` describes it.
///
/// Mount it under ``prefix``. Every route names the permission its caller must hold, and every call
/// sees the tenant of the caller's `Identity` and no other; the host sets the identity, or the
/// authenticator finds it by the bearer token.
///
/// ```swift
/// let admin = try AdminEndpoint(services, authenticator: tokens)
/// let server = try ReeveServer(
///     mounts: [HandlerMount(AdminEndpoint.prefix, admin)], logger: logger)
/// ```
public struct AdminEndpoint: HTTPHandler, RouteListing {
    /// Where the paths of the document begin.
    public static let prefix = "/admin/v1"

    private let table: RouteTable

    /// - Parameters:
    ///   - services: what it shows and changes.
    ///   - authenticator: asked for requests whose host set no identity; `nil` if the host always does.
    ///   - limits: of bodies and their nesting; those of the request if `nil`.
    /// - Throws: `HTTPHandlingError` with code `invalidRoute`; it does not happen for this table.
    public init(
        _ services: AdminServices,
        authenticator: (any BearerAuthenticator)?,
        limits: HandlerLimits? = nil
    ) throws {
        var table = RouteTable(
            authenticator: authenticator,
            limits: limits,
            auditor: services.access.map { TrailAuditor($0.trail) }
        )
        try DeviceRoutes(services: services.devices, time: services.time).add(to: &table)
        try DeviceFactRoutes(services: services.devices).add(to: &table)
        try OperationRoutes(services: services.operations, time: services.time).add(to: &table)
        try OperationCommandRoutes(operations: services.operations, devices: services.devices)
            .add(to: &table)
        let operations = services.operations
        if let events = operations.events { try EventRoutes(events: events).add(to: &table) }
        if let webhooks = operations.webhooks {
            try WebhookRoutes(webhooks: webhooks).add(to: &table)
        }
        try TaskRoutes(
            tasks: operations.tasks,
            runner: PeriodicTaskRunner(
                tasks: operations.tasks,
                enqueuer: operations.enqueuer,
                capability: services.cluster.capability
            ),
            time: services.time
        ).add(to: &table)
        if let policies = operations.policies {
            try PolicyRoutes(monitor: policies).add(to: &table)
        }
        try ClusterRoutes(services: services).add(to: &table)
        if let messaging = services.cluster.messaging {
            try NodeCommandRoutes(messaging: messaging).add(to: &table)
        }
        try NodeRoutes(cluster: services.cluster).add(to: &table)
        if let releases = services.releases {
            try ReleaseRoutes(publisher: releases.publisher, roots: releases.roots).add(to: &table)
            try PublishingRoutes(releases: releases).add(to: &table)
        }
        if let rollouts = services.releases?.rollouts {
            try RolloutRoutes(rollouts: rollouts).add(to: &table)
        }
        if let keeping = services.keeping {
            try KeepingRoutes(services: keeping, time: services.time).add(to: &table)
        }
        if let access = services.access { try AccessRoutes(services: access).add(to: &table) }
        self.table = table
    }

    public var routes: [RouteDescription] { table.routes }

    public func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
        try await table.handle(request)
    }
}

extension HandlerResponse {
    /// An answer that no cache keeps: it is one caller's, and true only now.
    static func fresh(
        _ value: some Encodable,
        status: HTTPResponse.Status = .ok
    ) throws -> HandlerResponse {
        var response = try HandlerResponse.json(
            value,
            status: status,
            headerFields: [.cacheControl: "no-store"]
        )
        response.revision = (value as? any RevisionTelling)?.revision
        return response
    }
}

extension HandlerRequest {
    /// Whose devices, operations and channels the caller sees.
    var tenant: TenantID {
        get throws { try requireIdentity().tenant }
    }
}
#endif
