#if Server
package import HTTPHandling
import HTTPTypes

/// Bad input to every route of a handler, made from its routes and its document.
///
/// Each row is sent and must be answered with the right status, a typed problem, and nothing the
/// document does not list. What goes wrong is returned as text, one line a finding.
package struct BadInputTable: Sendable {
    private let caller: HandlerCaller
    private let routes: [RouteDescription]
    /// What to put for the `{names}` of paths so that they name something that exists.
    private let names: [String: String]
    /// A token that is known and allows nothing; `nil` if the interface has no permissions.
    private let powerlessToken: String?

    package init(
        _ caller: HandlerCaller,
        routes: [RouteDescription],
        names: [String: String],
        powerlessToken: String? = nil
    ) {
        self.caller = caller
        self.routes = routes
        self.names = names
        self.powerlessToken = powerlessToken
    }

    /// Sends every row.
    ///
    /// - Returns: the findings, and how many rows were sent.
    package func run() async throws -> (findings: [String], rows: Int) {
        var findings: [String] = []
        var count = 0
        for route in routes {
            for row in rows(of: route) {
                count += 1
                let sender = caller(for: row)
                let answer = try await sender.send(
                    row.method ?? route.method,
                    row.path,
                    fields: row.fields,
                    body: row.body
                )
                for finding in Self.findings(answer, expecting: row) {
                    findings.append(
                        "\(route.method.rawValue) \(route.path), \(row.name): \(finding)"
                    )
                }
            }
        }
        return (findings, count)
    }

    private enum Token { case good, none, wrong, powerless }

    private struct Row {
        var name: String
        var path: String
        var method: HTTPRequest.Method?
        var fields: HTTPFields = [:]
        var body: [UInt8] = []
        var token = Token.good
        var statuses: Set<Int>
        var code: String?
    }

    private func caller(for row: Row) -> HandlerCaller {
        switch row.token {
        case .good: caller
        case .none: caller.with(token: nil)
        case .wrong: caller.with(token: "wrong")
        case .powerless: caller.with(token: powerlessToken)
        }
    }

    private static func findings(_ answer: HandlerCaller.Answer, expecting row: Row) -> [String] {
        guard row.statuses.contains(answer.status) else {
            return [
                "answers \(answer.status) \(answer.code ?? "-") instead of \(row.statuses.sorted())"
            ]
        }
        var found = answer.violations
        if answer.status >= 400 {
            if answer.response.headerFields[.contentType] != "application/problem+json" {
                found.append("no problem")
            }
            if answer.json?["status"]?.integerValue != Int64(answer.status) {
                found.append("the problem has another status")
            }
            if answer.code?.isEmpty ?? true { found.append("the problem has no code") }
            if answer.json?["detail"]?.stringValue?.isEmpty ?? true {
                found.append("the problem says nothing")
            }
        }
        if let code = row.code, answer.code != code {
            found.append("code \(answer.code ?? "-"), not \(code)")
        }
        return found
    }

    private func path(
        of route: RouteDescription,
        replacing name: String? = nil,
        by value: String = ""
    )
        -> String
    {
        route.path.split(separator: "/", omittingEmptySubsequences: false).map { part in
            guard part.first == "{" else { return String(part) }
            let parameter = String(part.dropFirst().dropLast())
            return parameter == name ? value : names[parameter] ?? "unknown"
        }.joined(separator: "/")
    }

    private func rows(of route: RouteDescription) -> [Row] {
        guard
            let operation = caller.document.operations.first(where: {
                $0.method == route.method.rawValue && $0.path == route.path
            })
        else { return [] }
        return accessRows(route, operation) + pathRows(route, operation)
            + queryRows(route, operation) + bodyRows(route, operation)
    }

    // MARK: - Rows

    private func accessRows(
        _ route: RouteDescription,
        _ operation: OpenAPIDocument.Operation
    ) -> [Row] {
        let path = path(of: route)
        var rows = [
            Row(
                name: "unknown method",
                path: path,
                method: .trace,
                statuses: [405],
                code: "http.method-not-allowed"
            )
        ]
        if operation.isOpen { return rows }
        rows.append(Row(name: "no token", path: path, token: .none, statuses: [401]))
        rows.append(Row(name: "wrong token", path: path, token: .wrong, statuses: [401]))
        rows.append(
            Row(
                name: "10 MB from a stranger",
                path: path,
                body: Self.tenMegabytes,
                token: .wrong,
                statuses: [401]
            )
        )
        if powerlessToken != nil {
            rows.append(
                Row(
                    name: "wrong role",
                    path: path,
                    token: .powerless,
                    statuses: [403],
                    code: "http.forbidden"
                )
            )
        }
        return rows
    }

    private func pathRows(
        _ route: RouteDescription,
        _ operation: OpenAPIDocument.Operation
    ) -> [Row] {
        let parameters = route.path.split(separator: "/").filter { $0.first == "{" }
            .map { String($0.dropFirst().dropLast()) }
        let fields: HTTPFields = operation.example == nil ? [:] : [.contentType: "application/json"]
        let body = operation.example.flatMap { try? $0.encoded() } ?? []
        return parameters.flatMap { parameter in
            let bad = [
                "%20", "a%20b", "%0A", "%7F", "..", "%2E%2E", "%2F", "a%2F%2Fb",
                String(repeating: "n", count: 300), "%C2%85",
            ]
            let broken = ["%", "%4", "%zz", "%ff", "%00", "a%C3"]
            return bad.map {
                Row(
                    name: "{\(parameter)} is \($0)",
                    path: path(of: route, replacing: parameter, by: $0),
                    fields: fields,
                    body: body,
                    statuses: [400, 404]
                )
            }
                + broken.map {
                    Row(
                        name: "{\(parameter)} is \($0)",
                        path: path(of: route, replacing: parameter, by: $0),
                        fields: fields,
                        body: body,
                        statuses: [400],
                        code: "http.invalid-path"
                    )
                }
        }
    }

    private func queryRows(
        _ route: RouteDescription,
        _ operation: OpenAPIDocument.Operation
    ) -> [Row] {
        guard operation.query.contains("limit") else { return [] }
        return ["0", "-1", "1001", "x", "", "1e3", "9999999999999999999999"].map {
            Row(
                name: "limit=\($0)",
                path: path(of: route) + "?limit=\($0)",
                statuses: [400],
                code: "http.invalid-parameter"
            )
        }
    }

    private func bodyRows(
        _ route: RouteDescription,
        _ operation: OpenAPIDocument.Operation
    ) -> [Row] {
        guard let schema = operation.requestSchema, let example = operation.example else {
            return []
        }
        let path = path(of: route)
        let json: HTTPFields = [.contentType: "application/json"]
        func row(_ name: String, _ body: [UInt8], _ statuses: Set<Int>, _ code: String? = nil)
            -> Row
        {
            Row(
                name: name,
                path: path,
                fields: json,
                body: body,
                statuses: statuses,
                code: code
            )
        }
        let deep = String(repeating: "[", count: 10_000)
        let closed = deep + String(repeating: "]", count: 10_000)
        var rows = [
            row("empty body", [], [400], "http.invalid-json"),
            row("malformed JSON", Array(#"{"a":"#.utf8), [400], "http.invalid-json"),
            row("trailing bytes", Array("{} {}".utf8), [400], "http.invalid-json"),
            row("an array", Array("[]".utf8), [400], "http.invalid-json"),
            row("a string", Array(#""x""#.utf8), [400], "http.invalid-json"),
            row("null", Array("null".utf8), [400], "http.invalid-json"),
            row("no UTF-8", [0x7B, 0xFF, 0xFE, 0x7D], [400], "http.invalid-json"),
            row("UTF-16", Array("{}".utf16).flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }, [400]),
            row("10 MB", Self.tenMegabytes, [413], "http.body-too-large"),
            row("nesting", Array((#"{"unknown":"# + deep).utf8), [400], "http.too-deep"),
            row(
                "closed nesting",
                Array((#"{"unknown":"# + closed + "}").utf8),
                [400],
                "http.too-deep"
            ),
            Row(
                name: "no media type",
                path: path,
                body: Array("{}".utf8),
                statuses: [415],
                code: "http.wrong-content-type"
            ),
            Row(
                name: "a form",
                path: path,
                fields: [.contentType: "application/x-www-form-urlencoded"],
                body: Array("a=b".utf8),
                statuses: [415],
                code: "http.wrong-content-type"
            ),
        ]
        for (name, wrong) in wrongValues(of: schema, in: example) {
            rows.append(row(name, (try? wrong.encoded()) ?? [], [400]))
        }
        return rows
    }

    /// Objects like the example in which one member is of a wrong type or missing, at every depth.
    private func wrongValues(of schema: JSONValue, in example: JSONValue) -> [(String, JSONValue)] {
        guard case .object(let object) = example else { return [] }
        var result: [(String, JSONValue)] = []
        for name in elements(of: schema["required"]).compactMap(\.stringValue) {
            var less = object
            less[name] = nil
            result.append(("without \(name)", .object(less)))
        }
        for (name, property) in members(of: schema["properties"]) {
            guard let property = caller.document.resolved(property),
                let type = property["type"]
            else { continue }
            for wrong in Self.values(unlike: type) {
                var changed = object
                changed[name] = wrong
                result.append(("\(name) is \(wrong)", .object(changed)))
            }
            var inner: [(String, JSONValue)] = []
            if type == "object" {
                inner = wrongValues(of: property, in: object[name] ?? [:])
            } else if let item = caller.document.resolved(property["items"]) {
                let first = object[name]?[0] ?? [:]
                inner = wrongValues(of: item, in: first).map { ($0, [$1]) }
                if let itemType = item["type"] {
                    inner += Self.values(unlike: itemType).map { ("item \($0)", [$0]) }
                }
            }
            for (text, value) in inner {
                var changed = object
                changed[name] = value
                result.append(("\(name): \(text)", .object(changed)))
            }
        }
        return result
    }

    private static func values(unlike type: JSONValue) -> [JSONValue] {
        switch type.stringValue {
        case "string": [7, true, [], [:]]
        case "integer": ["7", 1.5, true, [], 1e300]
        case "number": ["7", true, [:]]
        case "boolean": ["true", 1, []]
        case "array": ["x", 1, ["0": 1]]
        case "object": ["x", 1, []]
        default: ["x", [:]]
        }
    }

    private static let tenMegabytes =
        Array(#"{"unknown":""#.utf8)
        + [UInt8](repeating: UInt8(ascii: "x"), count: 10 << 20) + Array(#""}"#.utf8)
}
#endif
