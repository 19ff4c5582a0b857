#if Server
public import HTTPHandling
public import Hummingbird
internal import HTTPTypes
internal import Logging

extension RouterMethods {
    /// Mounts a handler in an application of your own, under its middleware and authentication.
    ///
    /// ```swift
    /// let router = Router()
    /// router.add(middleware: CompanyLogin())
    /// router.mount(adminRoutes, at: "/fleet/admin/v1") { request, context in
    ///     Identity(name: context.user, permissions: Permission.everything)
    /// }
    /// ```
    ///
    /// Middleware added before this call runs before the handler; the handler sees the path below
    /// `prefix` and below the groups around it. Limits on connections and heads are those of your
    /// application.
    ///
    /// - Parameters:
    ///   - handler: answers every request below the prefix.
    ///   - prefix: literal segments.
    ///   - limits: limits on bodies, JSON and requests at once.
    ///   - identity: who is calling, as your application knows it; `nil` leaves it to the bearer
    ///     token the handler itself understands. An error it throws is your application's to
    ///     answer.
    @discardableResult
    public func mount(
        _ handler: any HTTPHandler,
        at prefix: String,
        limits: HandlerLimits = HandlerLimits(),
        identity: @escaping @Sendable (Request, Context) async throws -> Identity? = { _, _ in nil }
    ) -> Self {
        let bounded = BoundedHandler(handler, limits: limits)
        let group = self.group(RouterPath(prefix))
        let methods: [HTTPRequest.Method] = [.get, .head, .post, .put, .patch, .delete, .options]
        for method in methods {
            for path in ["", "**"] {
                group.on(RouterPath(path), method: method) { request, context in
                    let handlerRequest = HandlerRequest(
                        request,
                        remoteAddress: (context as? any RemoteAddressRequestContext)?
                            .remoteAddress?.ipAddress,
                        identity: try await identity(request, context),
                        limits: limits,
                        logger: context.logger
                    )
                    let depth = mountDepth(of: request.uri.path, under: context.endpointPath)
                    let response = await bounded.answer(handlerRequest.mounted(below: depth))
                    return Response(response, through: nil)
                }
            }
        }
        return self
    }
}

/// How many segments of `path` the router's pattern consumed before `**`.
///
/// The router ignores empty segments, `RequestTarget` keeps them: they are counted where they
/// stand.
func mountDepth(of path: String, under pattern: String?) -> Int {
    var wanted = (pattern ?? "").split(separator: "/").filter { $0 != "**" }.count
    var depth = 0
    for segment in path.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
        if wanted == 0 { break }
        depth += 1
        if !segment.isEmpty { wanted -= 1 }
    }
    return depth
}
#endif
