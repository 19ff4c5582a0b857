#if Server
import ClusterRole
import HTTPHandling
import HTTPTypes
import XCTest

final class RouteTableTests: XCTestCase {
    private func answering(_ text: String) -> RouteTable.Action {
        { request in .text(([text] + request.names).joined(separator: " ")) }
    }

    private func table() throws -> RouteTable {
        var table = RouteTable()
        try table.get("/", operationID: "root", access: .open, perform: answering("root"))
        try table.get(
            "/devices/{device}",
            operationID: "device",
            access: .open,
            perform: answering("device")
        )
        try table.get(
            "/devices/mine",
            operationID: "mine",
            access: .open,
            perform: answering("mine")
        )
        try table.put(
            "/devices/{device}/groups/{group}",
            operationID: "join",
            access: .open,
            perform: answering("join")
        )
        try table.delete(
            "/devices/{device}",
            operationID: "remove",
            access: .open,
            perform: answering("remove")
        )
        return table
    }

    func test_route_withParameters_receivesThemDecoded() async throws {
        let table = try table()
        let response = await table.answer(makeRequest(.put, "/devices/a%2Fb%20c/groups/%C3%A9"))
        let text = try await response.bodyText()
        XCTAssertEqual(text, "join device=a/b c group=é")
        XCTAssertEqual(response.operationID, "join")
    }

    func test_route_literalAndParameterMatch_literalWinsWhateverTheOrder() async throws {
        let response = try await table().answer(makeRequest(.get, "/devices/mine"))
        let text = try await response.bodyText()
        XCTAssertEqual(text, "mine")
    }

    func test_root_isRouted() async throws {
        let text = try await table().answer(makeRequest(.get, "/?x=1")).bodyText()
        XCTAssertEqual(text, "root")
    }

    func test_unknownPath_is404AsProblem() async throws {
        for path in [
            "/nothing", "/devices", "/devices/", "/devices//groups/x", "//", "/devices/a/b",
        ] {
            let response = try await table().answer(makeRequest(.get, path))
            XCTAssertEqual(response.status, .notFound, path)
            XCTAssertEqual(response.headerFields[.contentType], "application/problem+json")
            let problem = try await response.problem()
            XCTAssertEqual(problem.code, "http.no-route")
            XCTAssertEqual(problem.instance, path)
        }
    }

    func test_brokenEscape_is400() async throws {
        for path in ["/devices/%", "/devices/%4", "/devices/%zz", "/devices/%ff", "/devices/%00"] {
            let response = try await table().answer(makeRequest(.get, path))
            XCTAssertEqual(response.status, .badRequest, path)
        }
    }

    func test_wrongMethod_is405WithAllow() async throws {
        let response = try await table().answer(makeRequest(.post, "/devices/a"))
        XCTAssertEqual(response.status, .methodNotAllowed)
        XCTAssertEqual(response.headerFields[.allow], "DELETE, GET, HEAD")
        let problem = try await response.problem()
        XCTAssertEqual(problem.code, "http.method-not-allowed")
    }

    func test_head_goesToGetWithoutBodyButWithItsLength() async throws {
        let response = try await table().answer(makeRequest(.head, "/devices/mine"))
        XCTAssertEqual(response.status, .ok)
        XCTAssertEqual(response.headerFields[.contentLength], "4")
        let bytes = try await response.bodyBytes()
        XCTAssertEqual(bytes, [])
    }

    func test_mountedTable_seesPathBelowItsPrefix_andListsItsRoutesAboveIt() async throws {
        var outer = RouteTable()
        try outer.mount(try table(), at: "/admin/v1")
        try outer.get("/admin/v1/own", operationID: "own", access: .open) { _ in .text("own") }
        let joined = try await outer.answer(makeRequest(.put, "/admin/v1/devices/a/groups/b"))
            .bodyText()
        XCTAssertEqual(joined, "join device=a group=b")
        let own = try await outer.answer(makeRequest(.get, "/admin/v1/own")).bodyText()
        XCTAssertEqual(own, "own")
        let root = try await outer.answer(makeRequest(.get, "/admin/v1")).bodyText()
        XCTAssertEqual(root, "root")
        XCTAssertEqual(
            outer.routes.map { "\($0.method.rawValue) \($0.path) \($0.operationID)" },
            [
                "GET /admin/v1 root", "DELETE /admin/v1/devices/{device} remove",
                "GET /admin/v1/devices/{device} device",
                "PUT /admin/v1/devices/{device}/groups/{group} join",
                "GET /admin/v1/devices/mine mine", "GET /admin/v1/own own",
            ].sorted { $0.split(separator: " ")[1] < $1.split(separator: " ")[1] }
        )
    }

    func test_mounts_longestPrefixWins() async throws {
        var outer = RouteTable()
        try outer.mount(ClosureHandler { _ in .text("rest") }, at: "/")
        try outer.mount(ClosureHandler { _ in .text("link") }, at: "/link/v1")
        for (path, expected) in [
            ("/link/v1/x", "link"), ("/link/v1", "link"), ("/link/v10", "rest"), ("/", "rest"),
        ] {
            let text = try await outer.answer(makeRequest(.get, path)).bodyText()
            XCTAssertEqual(text, expected, path)
        }
    }

    func test_addingRoute_malformedOrTwice_throwsInvalidRoute() async throws {
        for pattern in ["devices", "/a//b", "/a/", "/{a}/{a}", "/x{a}", "/{}", "/a%20b", ""] {
            _ = await assertThrowsCode(.invalidRoute) {
                var table = RouteTable()
                try table.get(pattern, operationID: "x", access: .open) { _ in .empty() }
            }
        }
        let table = try table()
        for (pattern, id) in [("/devices/{other}", "new"), ("/new", "device")] {
            _ = await assertThrowsCode(.invalidRoute) {
                var table = table
                try table.get(pattern, operationID: id, access: .open) { _ in .empty() }
            }
        }
        _ = await assertThrowsCode(.invalidRoute) {
            var table = table
            try table.mount(ClosureHandler { _ in .empty() }, at: "/{tenant}")
        }
    }

    func test_parameter_asName_isValidated() async throws {
        var table = RouteTable()
        try table.get("/{node}", operationID: "node", access: .open) { request in
            .text(try request.parameters.require("node", as: NodeID.self).rawValue)
        }
        let good = await table.answer(makeRequest(.get, "/worker-1"))
        XCTAssertEqual(good.status, .ok)
        let bad = await table.answer(makeRequest(.get, "/a%2Fb"))
        XCTAssertEqual(bad.status, .badRequest)
        let problem = try await bad.problem()
        XCTAssertEqual(problem.code, "role.invalid-name")
    }

    func test_target_absoluteForm_isReadLikeOriginForm() {
        let target = RequestTarget("http://node:80/a/b?x=1&y=a+b%21&x=2#z")
        XCTAssertEqual(target.path, "/a/b")
        XCTAssertEqual(target.segments, ["a", "b"])
        XCTAssertEqual(target.query.values("x"), ["1", "2"])
        XCTAssertEqual(target.query["y"], "a b!")
        XCTAssertEqual(RequestTarget("http://node").segments, [])
        XCTAssertEqual(RequestTarget("*").segments, ["*"])
    }

    func test_query_integer_isBounded() async throws {
        let query = RequestTarget("/?limit=10&bad=x&big=1000").query
        XCTAssertEqual(try query.integer("limit", in: 1...100), 10)
        XCTAssertNil(try query.integer("none", in: 1...100))
        for name in ["bad", "big"] {
            let error = await assertThrowsCode(.invalidParameter) {
                _ = try query.integer(name, in: 1...100)
            }
            XCTAssertTrue(error?.message.contains(name) == true)
        }
    }
}

extension HandlerRequest {
    fileprivate var names: [String] {
        ["device", "group"].compactMap { name in parameters[name].map { "\(name)=\($0)" } }
    }
}
#endif
