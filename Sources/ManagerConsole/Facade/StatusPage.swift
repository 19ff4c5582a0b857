#if Server
internal import ClusterRole
internal import FoundationEssentials
public import HTTPHandling
internal import HTTPTypes
internal import Mustache

/// One plain page that shows how the cluster stands: nodes, channels, activities, wake-ups.
///
/// Mount it at ``prefix``, beside the admin API. The caller needs the permission `read`: the host has set
/// the identity, or the bearer token names it, or, so that a browser can show the page, HTTP Basic
/// (RFC 7617) does, with the token as the password and any user name.
///
/// A browser sends Basic credentials again by itself, wherever a request to this origin comes from. Nothing
/// can be changed with them: the page is all that takes them, it has no form and no link, and the admin
/// API takes bearer tokens only. No text on it is unescaped, and its Content-Security-Policy allows
/// neither scripts nor anything from elsewhere.
public struct StatusPage: HTTPHandler, RouteListing {
    /// Where it is mounted.
    public static let prefix = "/"

    private let authenticator: (any BearerAuthenticator)?
    private let table: RouteTable

    /// - Parameters:
    ///   - services: what it shows; nothing is changed.
    ///   - authenticator: asked for requests whose host set no identity.
    /// - Throws: `HTTPHandlingError` with code `invalidRoute`; it does not happen for this table.
    public init(_ services: AdminServices, authenticator: (any BearerAuthenticator)?) throws {
        self.authenticator = authenticator
        let template = try MustacheTemplate(string: statusTemplate)
        let fields = Self.headerFields
        var table = RouteTable(authenticator: authenticator)
        try table.get("/", operationID: "statusPage", access: .permission(.read)) { request in
            let model = try await StatusPageModel(services, tenant: request.tenant)
            var response = HandlerResponse.html(template.render(model))
            response.headerFields.append(contentsOf: fields)
            return response
        }
        self.table = table
    }

    public var routes: [RouteDescription] { table.routes }

    public func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
        var request = request
        if request.identity == nil, let authenticator, let token = request.basicPassword {
            request.identity = try await authenticator.identity(forToken: token)
        }
        var response = try await table.handle(request)
        if response.status == .unauthorized {
            response.headerFields[.wwwAuthenticate] = #"Basic realm="reeve", charset="UTF-8""#
        }
        return response
    }

    private static var headerFields: HTTPFields {
        // The SHA-256 of the one style the page has.
        let digest = Data(TokenDigest(of: PageText(statusStyle).renderText).bytes)
            .base64EncodedString()
        var fields: HTTPFields = [.cacheControl: "no-store", .xContentTypeOptions: "nosniff"]
        fields[.contentSecurityPolicy] =
            "default-src 'none'; style-src 'sha256-\(digest)'; base-uri 'none'; "
            + "form-action 'none'; frame-ancestors 'none'"
        fields[.referrerPolicy] = "no-referrer"
        return fields
    }
}

extension HTTPField.Name {
    static let referrerPolicy = HTTPField.Name("Referrer-Policy")!
}

extension HandlerRequest {
    /// The password of `Authorization: Basic …` (RFC 7617), if there is one.
    var basicPassword: String? {
        guard let value = headerFields[.authorization] else { return nil }
        let parts = value.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: true)
        guard parts.count == 2, parts[0].lowercased() == "basic",
            let data = Data(base64Encoded: String(parts[1].drop { $0 == " " })),
            let pair = String(validating: Array(data), as: UTF8.self),
            let colon = pair.firstIndex(of: ":")
        else { return nil }
        let password = pair[pair.index(after: colon)...]
        return password.isEmpty ? nil : String(password)
    }
}
#endif
