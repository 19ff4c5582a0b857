import Hummingbird

/// The team's application before it became a manager: it knows its users by a session of its own.
struct ShopContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    var user = ""

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
    }
}

/// Lets in who has a session. It knows nothing of Reeve.
struct ShopLogin: RouterMiddleware {
    let users: [String: String]

    func handle(
        _ request: Request,
        context: ShopContext,
        next: (Request, ShopContext) async throws -> Response
    ) async throws -> Response {
        guard let session = request.headers[.cookie], let user = users[session] else {
            throw HTTPError(.unauthorized)
        }
        var context = context
        context.user = user
        return try await next(request, context)
    }
}
