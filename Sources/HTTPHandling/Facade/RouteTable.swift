#if Server
internal import ClusterRole
public import HTTPTypes
internal import Logging

/// Routes by method and path, and handlers mounted under prefixes.
///
/// A route names what it asks of its caller (``RouteAccess``) and how large a body it takes; the
/// table holds both before the route's closure runs. Of two patterns that match, the one that is
/// literal earlier wins; of two mounts the longer one; a route wins over a mount. `HEAD` goes to
/// `GET` unless it has a route of its own.
///
/// A table is a value: it is built at start, where a bad pattern or a route added twice throws, and
/// then only read.
public struct RouteTable: HTTPHandler, RouteListing {
    /// What a route does.
    public typealias Action = @Sendable (HandlerRequest) async throws -> HandlerResponse

    private let authenticator: (any BearerAuthenticator)?
    private let limits: HandlerLimits?
    private let auditor: (any AccessAuditor)?
    private let recorder: (any AccessRecorder)?
    private var routesByLength: [Int: [Entry]] = [:]
    private var mounts: [Mount] = []

    private struct Entry: Sendable {
        let pattern: PathPattern
        let description: RouteDescription
        let maximumBodyBytes: Int?
        let action: Action
    }

    private struct Mount: Sendable {
        let prefix: PathPattern
        let handler: any HTTPHandler
    }

    /// An empty table.
    ///
    /// - Parameters:
    ///   - authenticator: asked for routes that are not open, unless the host has set
    ///     ``HandlerRequest/identity`` already. Without one such routes answer 401.
    ///   - limits: the limits of this table's routes; those of the request if `nil`.
    ///   - auditor: told of every request that is refused for want of a right, and before and after
    ///     each that changes something: one whose method is neither `GET` nor `HEAD`. A route cannot be
    ///     added past it.
    ///   - recorder: instead of an auditor, for callers that are machines: told of every request that is
    ///     refused for who sends it or what he knows (401, 403, 409).
    public init(
        authenticator: (any BearerAuthenticator)? = nil,
        limits: HandlerLimits? = nil,
        auditor: (any AccessAuditor)? = nil,
        recorder: (any AccessRecorder)? = nil
    ) {
        self.authenticator = authenticator
        self.limits = limits
        self.auditor = auditor
        self.recorder = recorder
    }

    /// Adds a route.
    ///
    /// - Parameters:
    ///   - method: the method of the route.
    ///   - pattern: such as `/devices/{device}`, relative to where the table is mounted.
    ///   - operationID: unique in this table; the `operationId` of its OpenAPI document.
    ///   - access: what the caller must be.
    ///   - maximumBodyBytes: instead of ``HandlerLimits/maximumBodyBytes``.
    ///   - action: answers the requests that match.
    /// - Throws: ``HTTPHandlingError`` with code `invalidRoute`.
    public mutating func on(
        _ method: HTTPRequest.Method,
        _ pattern: String,
        operationID: String,
        access: RouteAccess,
        maximumBodyBytes: Int? = nil,
        perform action: @escaping Action
    ) throws {
        let pattern = try PathPattern(pattern)
        let isTaken = routesByLength.values.joined().contains {
            $0.description.operationID == operationID
                || ($0.description.method == method && $0.pattern.overlaps(pattern))
        }
        guard !isTaken, !operationID.isEmpty else {
            throw HTTPHandlingError(
                .invalidRoute,
                "\(method.rawValue) \(pattern) (\(operationID)) is in the table already. "
                    + "Each route has one method, one pattern and an operation id of its own."
            )
        }
        let description = RouteDescription(
            method: method,
            path: pattern.description,
            operationID: operationID,
            access: access
        )
        let entry = Entry(
            pattern: pattern,
            description: description,
            maximumBodyBytes: maximumBodyBytes,
            action: action
        )
        var entries = routesByLength[pattern.segments.count] ?? []
        let place = entries.firstIndex { pattern.isMoreSpecific(than: $0.pattern) }
        entries.insert(entry, at: place ?? entries.endIndex)
        routesByLength[pattern.segments.count] = entries
    }

    /// Mounts a handler under a prefix of literal segments. It sees the path below the prefix.
    ///
    /// The handler authenticates for itself; limits of this table do not reach it.
    ///
    /// - Throws: ``HTTPHandlingError`` with code `invalidRoute` if the prefix has parameters or is
    ///   taken.
    public mutating func mount(_ handler: any HTTPHandler, at prefix: String) throws {
        let pattern = try PathPattern(prefix)
        guard !pattern.hasParameters, !mounts.contains(where: { $0.prefix == pattern }) else {
            throw HTTPHandlingError(
                .invalidRoute,
                "A handler is mounted once under each prefix, without parameters; "
                    + "change \"\(prefix)\"."
            )
        }
        mounts.append(Mount(prefix: pattern, handler: handler))
        mounts.sort { $0.prefix.segments.count > $1.prefix.segments.count }
    }

    /// The routes of this table and of all mounted handlers that list theirs, in order.
    public var routes: [RouteDescription] {
        let own = routesByLength.values.joined().map(\.description)
        let mounted = mounts.flatMap { mount -> [RouteDescription] in
            guard let listing = mount.handler as? any RouteListing else { return [] }
            return listing.routes.map { route in
                let path = (try? PathPattern(route.path)).map { mount.prefix.appending($0) }
                return RouteDescription(
                    method: route.method,
                    path: path?.description ?? route.path,
                    operationID: route.operationID,
                    access: route.access
                )
            }
        }
        return (own + mounted).sorted()
    }

    public func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
        let path = try request.relativeSegments()
        let candidates = (routesByLength[path.count] ?? []).compactMap { entry in
            entry.pattern.match(path).map { (entry, $0) }
        }
        if let (entry, values) = Self.choose(request.method, from: candidates) {
            return try await run(entry, values, request)
        }
        if let mount = mounts.first(where: { $0.prefix.isPrefix(of: path) }) {
            return try await mount.handler.handle(
                request.mounted(below: mount.prefix.segments.count)
            )
        }
        guard !candidates.isEmpty else {
            throw HTTPHandlingError(.noRoute, "Nothing answers at this path. Check the address.")
        }
        throw Self.methodNotAllowed(candidates.map(\.0))
    }

    private static func choose(
        _ method: HTTPRequest.Method,
        from candidates: [(Entry, [(name: String, value: String)])]
    ) -> (Entry, [(name: String, value: String)])? {
        candidates.first { $0.0.description.method == method }
            ?? (method == .head ? candidates.first { $0.0.description.method == .get } : nil)
    }

    private static func methodNotAllowed(_ entries: [Entry]) -> HTTPHandlingError {
        var methods = Set(entries.map { $0.description.method.rawValue })
        if methods.contains("GET") { methods.insert("HEAD") }
        let list = methods.sorted().joined(separator: ", ")
        return HTTPHandlingError(
            .methodNotAllowed,
            "This path takes \(list).",
            headerFields: [.allow: list]
        )
    }

    private func run(
        _ entry: Entry,
        _ values: [(name: String, value: String)],
        _ request: HandlerRequest
    ) async throws -> HandlerResponse {
        var request = request
        if let limits { request.limits = limits }
        request.limits.maximumBodyBytes = entry.maximumBodyBytes ?? request.limits.maximumBodyBytes
        request.parameters = PathParameters(values)
        request.body = request.body.limited(to: request.limits.maximumBodyBytes)
        request.logger[metadataKey: "operation"] = "\(entry.description.operationID)"
        var response: HandlerResponse
        do {
            try await authorizeOnRecord(entry.description, &request)
            response = try await perform(entry, request)
        } catch {
            response = request.refusal(error)
        }
        if request.method == .head, entry.description.method == .get {
            response = response.withoutBody()
        }
        response.operationID = response.operationID ?? entry.description.operationID
        return response
    }

    private func authorizeOnRecord(
        _ route: RouteDescription,
        _ request: inout HandlerRequest
    ) async throws {
        do {
            request.identity = try await authorize(route.access, &request)
        } catch {
            let problem = ProblemDetails(error)
            await (auditor ?? recorder)?.record(problem, of: request, route)
            throw error
        }
    }

    /// Runs a route's action, on the record if it changes something.
    private func perform(_ entry: Entry, _ request: HandlerRequest) async throws -> HandlerResponse
    {
        let isRead = [.get, .head].contains(entry.description.method)
        guard let auditor, !isRead else {
            do {
                return try await entry.action(request)
            } catch {
                await recorder?.record(ProblemDetails(error), of: request, entry.description)
                throw error
            }
        }
        var record = AccessRecord(request, operation: entry.description.operationID)
        let begun = try await auditor.willPerform(record)
        var response: HandlerResponse
        do {
            response = try await entry.action(request)
        } catch {
            record.code = ProblemDetails(error).code
            response = request.refusal(error)
        }
        record.status = response.status.code
        record.revision = response.revision ?? ""
        try await auditor.didPerform(record, begun: begun)
        return response
    }

    /// Checks before the body is read, so that a stranger's bytes cost nothing. Who is known is told
    /// even if he may not.
    ///
    /// A token is worth no more than the certificate it is presented with allows: a worker's leaves the
    /// link. A certificate without a token is an identity of its own.
    private func authorize(
        _ access: RouteAccess,
        _ request: inout HandlerRequest
    ) async throws -> Identity? {
        if access == .open { return request.identity }
        var identity = request.identity
        let certificate = request.peerCertificate
        if identity == nil, let authenticator, let token = request.bearerToken {
            identity = try await authenticator.identity(forToken: token)
                .map { certificate.map($0.capped(by:)) ?? $0 }
        } else if identity == nil, let certificate {
            identity = Identity(certificate)
        }
        guard let identity else { throw HTTPHandlingError.unauthenticated() }
        request.identity = identity
        if case .permission(let permission) = access, !identity.may(permission) {
            throw HTTPHandlingError.forbidden(permission)
        }
        return identity
    }
}

extension AccessRecorder {
    /// Tells of a request that was refused for who sent it.
    fileprivate func record(
        _ problem: ProblemDetails,
        of request: HandlerRequest,
        _ route: RouteDescription
    ) async {
        guard [401, 403, 409].contains(problem.status) else { return }
        var refused = AccessRecord(request, operation: route.operationID)
        refused.status = problem.status
        refused.code = problem.code
        await record(refused)
    }
}

/// The table's shorthand.
extension RouteTable {
    /// Adds a `GET` route; see ``on(_:_:operationID:access:maximumBodyBytes:perform:)``.
    public mutating func get(
        _ pattern: String,
        operationID: String,
        access: RouteAccess,
        perform action: @escaping Action
    ) throws {
        try on(.get, pattern, operationID: operationID, access: access, perform: action)
    }

    /// Adds a `POST` route.
    public mutating func post(
        _ pattern: String,
        operationID: String,
        access: RouteAccess,
        maximumBodyBytes: Int? = nil,
        perform action: @escaping Action
    ) throws {
        try on(
            .post,
            pattern,
            operationID: operationID,
            access: access,
            maximumBodyBytes: maximumBodyBytes,
            perform: action
        )
    }

    /// Adds a `PUT` route.
    public mutating func put(
        _ pattern: String,
        operationID: String,
        access: RouteAccess,
        maximumBodyBytes: Int? = nil,
        perform action: @escaping Action
    ) throws {
        try on(
            .put,
            pattern,
            operationID: operationID,
            access: access,
            maximumBodyBytes: maximumBodyBytes,
            perform: action
        )
    }

    /// Adds a `DELETE` route.
    public mutating func delete(
        _ pattern: String,
        operationID: String,
        access: RouteAccess,
        perform action: @escaping Action
    ) throws {
        try on(.delete, pattern, operationID: operationID, access: access, perform: action)
    }
}
#endif
