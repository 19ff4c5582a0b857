#if Server
internal import HTTPTypes

/// One thing a node needs before it can serve.
public struct ReadinessCheck: Sendable {
    /// A name for the answer, such as `replica`.
    public let name: String
    /// Why the node is not ready; `nil` if it is. It must answer at once, from memory: load
    /// balancers ask every second.
    public let reasonNotReady: @Sendable () async -> String?

    public init(_ name: String, reasonNotReady: @escaping @Sendable () async -> String?) {
        self.name = name
        self.reasonNotReady = reasonNotReady
    }
}

/// `/healthz` and `/readyz`, open to everybody.
///
/// `/healthz` says that the process answers; restart it when it does not. `/readyz` says whether to
/// send it requests: 503 while a check has a reason, with all checks in the body.
public struct HealthRoutes: HTTPHandler, RouteListing {
    private let checks: [ReadinessCheck]

    public init(checks: [ReadinessCheck] = []) { self.checks = checks }

    private static let live = RouteDescription(
        method: .get,
        path: "/healthz",
        operationID: "health",
        access: .open
    )
    private static let ready = RouteDescription(
        method: .get,
        path: "/readyz",
        operationID: "readiness",
        access: .open
    )

    public var routes: [RouteDescription] { [Self.live, Self.ready] }

    /// Adds both routes to a table, so that it may have others beside them.
    ///
    /// - Throws: ``HTTPHandlingError`` with code `invalidRoute` if the table has them already.
    public func add(to table: inout RouteTable) throws {
        for route in routes {
            try table.get(route.path, operationID: route.operationID, access: .open) {
                try await handle($0)
            }
        }
    }

    public func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
        let path = try request.relativeSegments()
        guard path == ["healthz"] || path == ["readyz"] else {
            throw HTTPHandlingError(.noRoute, "Nothing answers at this path. Check the address.")
        }
        guard request.method == .get || request.method == .head else {
            throw HTTPHandlingError(
                .methodNotAllowed,
                "This path takes GET, HEAD.",
                headerFields: [.allow: "GET, HEAD"]
            )
        }
        var response = try await path == ["healthz"] ? health() : readiness()
        if request.method == .head { response = response.withoutBody() }
        return response
    }

    private func health() throws -> HandlerResponse {
        var response = try HandlerResponse.json(
            ["status": "ok"],
            headerFields: [.cacheControl: "no-store"]
        )
        response.operationID = Self.live.operationID
        return response
    }

    private func readiness() async throws -> HandlerResponse {
        var answers: [Readiness.Check] = []
        for check in checks {
            let reason = await check.reasonNotReady()
            answers.append(.init(name: check.name, ready: reason == nil, reason: reason))
        }
        let isReady = answers.allSatisfy(\.ready)
        var response = try HandlerResponse.json(
            Readiness(status: isReady ? "ready" : "notReady", checks: answers),
            status: isReady ? .ok : .serviceUnavailable,
            headerFields: isReady
                ? [.cacheControl: "no-store"] : [.cacheControl: "no-store", .retryAfter: "1"]
        )
        response.operationID = Self.ready.operationID
        return response
    }
}

/// The body of `/readyz`.
private struct Readiness: Encodable {
    struct Check: Encodable {
        let name: String
        let ready: Bool
        let reason: String?
    }

    let status: String
    let checks: [Check]
}
#endif
