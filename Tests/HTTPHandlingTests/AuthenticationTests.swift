#if Server
import ClusterRole
import HTTPHandling
import HTTPTypes
import XCTest

final class AuthenticationTests: XCTestCase {
    private let reader = Identity(
        name: "reader",
        tenant: .init(rawValue: "acme"),
        permissions: [.read]
    )
    private var secret: String { "s3cr3t-token" }

    private func table() throws -> RouteTable {
        var table = RouteTable(authenticator: InMemoryTokens([secret: reader]))
        try table.get("/open", operationID: "open", access: .open) {
            .text($0.identity?.name ?? "-")
        }
        try table.get("/known", operationID: "known", access: .authenticated) {
            .text(try $0.requireIdentity().tenant.rawValue)
        }
        try table.get("/read", operationID: "read", access: .permission(.read)) { _ in .text("read")
        }
        try table.post("/publish", operationID: "publish", access: .permission(.publish)) { _ in
            .text("published")
        }
        return table
    }

    func test_missingOrUnknownToken_is401WithChallenge() async throws {
        for value in [nil, "Bearer wrong", "Bearer", "Bearer ", "Basic \(secret)", secret, ""] {
            var fields: HTTPFields = [:]
            fields[.authorization] = value
            let response = try await table().answer(makeRequest(.get, "/known", fields: fields))
            XCTAssertEqual(response.status, .unauthorized, value ?? "none")
            XCTAssertEqual(response.headerFields[.wwwAuthenticate], "Bearer realm=\"reeve\"")
            let problem = try await response.problem()
            XCTAssertEqual(problem.code, "http.unauthenticated")
        }
    }

    func test_knownToken_givesIdentityWithItsTenant() async throws {
        for scheme in ["Bearer", "bearer", "BEARER "] {
            let request = makeRequest(
                .get,
                "/known",
                fields: [.authorization: "\(scheme) \(secret)"]
            )
            let response = try await table().answer(request)
            XCTAssertEqual(response.status, .ok)
            let text = try await response.bodyText()
            XCTAssertEqual(text, "acme")
        }
    }

    func test_missingPermission_is403NamingIt_beforeTheBodyIsRead() async throws {
        let chunks = ListedChunks(chunks: [[1], [2]])
        let request = makeRequest(
            .post,
            "/publish",
            fields: [.authorization: "Bearer \(secret)"],
            body: HandlerBody(chunks)
        )
        let response = try await table().answer(request)
        XCTAssertEqual(response.status, .forbidden)
        let problem = try await response.problem()
        XCTAssertEqual(problem.code, "http.forbidden")
        XCTAssertTrue(problem.detail?.contains("publish") == true)
        XCTAssertEqual(chunks.taken.value, 0)
    }

    func test_identityOfHost_isTakenInsteadOfToken() async throws {
        let identity = Identity(name: "host", permissions: [.publish])
        let response = try await table().answer(
            makeRequest(.post, "/publish", identity: identity)
        )
        XCTAssertEqual(response.status, .ok)
        let other = try await table().answer(makeRequest(.get, "/read", identity: identity))
        XCTAssertEqual(other.status, .forbidden)
    }

    func test_openRoute_asksNobody() async throws {
        let text = try await table().answer(makeRequest(.get, "/open")).bodyText()
        XCTAssertEqual(text, "-")
    }

    func test_authenticatorThatCannotTell_isNot401() async throws {
        struct Unreachable: BearerAuthenticator {
            func identity(forToken token: String) async throws -> Identity? {
                throw ClusterRoleError(.revoked, "No coordinator is known. Repeat the call.")
            }
        }
        var table = RouteTable(authenticator: Unreachable())
        try table.get("/", operationID: "x", access: .authenticated) { _ in .empty() }
        let response = await table.answer(
            makeRequest(.get, "/", fields: [.authorization: "Bearer x"])
        )
        XCTAssertEqual(response.status, .serviceUnavailable)
        XCTAssertEqual(response.headerFields[.retryAfter], "1")
    }

    func test_tokens_issuedAndRevoked_keepDigestsOnly() async throws {
        let tokens = InMemoryTokens()
        let token = tokens.issue(reader, from: SystemRandomSource())
        XCTAssertEqual(token.utf8.count, 64)
        let found = try await tokens.identity(forToken: token)
        XCTAssertEqual(found, reader)
        let none = try await tokens.identity(forToken: String(token.dropLast()))
        XCTAssertNil(none)
        var dumped = ""
        dump(tokens, to: &dumped)
        XCTAssertFalse(dumped.contains(token))
        tokens.revoke(name: "reader")
        let revoked = try await tokens.identity(forToken: token)
        XCTAssertNil(revoked)
    }

    func test_digest_isSHA256_andComparesWhole() {
        let digest = TokenDigest(of: "abc")
        XCTAssertEqual(digest.bytes.prefix(4), [0xBA, 0x78, 0x16, 0xBF])
        XCTAssertTrue(digest.matches(TokenDigest(of: "abc")))
        var last = digest.bytes
        last[31] ^= 1
        XCTAssertEqual(TokenDigest(bytes: last).map(digest.matches), false)
        XCTAssertNil(TokenDigest(bytes: [1, 2]))
    }
}
#endif
