#if Server
import Foundation
package import HTTPHandling
import HTTPTypes

/// An OpenAPI document of `Documentation/OpenAPI`, as far as tests hold interfaces against it.
package struct OpenAPIDocument: Sendable {
    package let root: JSONValue

    /// Reads `Documentation/OpenAPI/<name>.json`.
    package init(named name: String, file: String = #filePath) throws {
        let package = URL(fileURLWithPath: file)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let path = package.appendingPathComponent("Documentation/OpenAPI/\(name).json")
        root = try JSONValue(parsing: Array(try Data(contentsOf: path)))
    }

    /// Where the paths begin.
    package var server: String { root["servers"]?[0]?["url"]?.stringValue ?? "" }

    /// One operation of the document.
    package struct Operation: Sendable {
        package let method: String
        /// With the server's part.
        package let path: String
        package let id: String
        /// `x-permission`.
        package let permission: String?
        /// Whether anybody may call it.
        package let isOpen: Bool
        package let requestSchema: JSONValue?
        package let example: JSONValue?
        package let responses: [String: JSONValue]
        /// Names of query items.
        package let query: Set<String>
    }

    /// All operations, in order of path and method.
    package var operations: [Operation] {
        var result: [Operation] = []
        for (path, item) in members(of: root["paths"]) {
            for (method, operation) in members(of: item) where method != "parameters" {
                let content = resolved(operation["requestBody"])?["content"]?["application/json"]
                var responses: [String: JSONValue] = [:]
                for (status, response) in members(of: operation["responses"]) {
                    responses[status] = resolved(response)
                }
                let parameters = elements(of: operation["parameters"]).compactMap { resolved($0) }
                result.append(
                    Operation(
                        method: method.uppercased(),
                        path: server + path,
                        id: operation["operationId"]?.stringValue ?? "",
                        permission: operation["x-permission"]?.stringValue,
                        isOpen: operation["security"] == .array([]),
                        requestSchema: resolved(content?["schema"]),
                        example: content?["example"],
                        responses: responses,
                        query: Set(
                            parameters.filter { $0["in"] == "query" }
                                .compactMap { $0["name"]?.stringValue }
                        )
                    )
                )
            }
        }
        return result.sorted { ($0.path, $0.method) < ($1.path, $1.method) }
    }

    package func operation(_ id: String) -> Operation? { operations.first { $0.id == id } }

    /// Follows `$ref`.
    package func resolved(_ value: JSONValue?) -> JSONValue? {
        guard let reference = value?["$ref"]?.stringValue else { return value }
        var target: JSONValue? = root
        for part in reference.dropFirst(2).split(separator: "/") { target = target?[String(part)] }
        return target
    }

    /// What is wrong with `value`, held against `schema`. Members the schema does not name are wrong.
    package func violations(
        of value: JSONValue,
        against schema: JSONValue?,
        at path: String = "$"
    ) -> [String] {
        guard let schema = resolved(schema) else { return ["\(path): no schema"] }
        if let type = schema["type"], !matches(value, type) { return ["\(path): is no \(type)"] }
        if let allowed = schema["enum"], !elements(of: allowed).contains(value) {
            return ["\(path): \(value) is not listed"]
        }
        var found: [String] = []
        if case .object(let object) = value, schema["type"] != nil {
            for name in elements(of: schema["required"]).compactMap(\.stringValue)
            where object[name] == nil {
                found.append("\(path): lacks \(name)")
            }
            for (name, member) in members(of: value) {
                let inner = schema["properties"]?[name] ?? schema["additionalProperties"]
                found += violations(of: member, against: inner, at: "\(path).\(name)")
                if let names = schema["propertyNames"] {
                    found += violations(of: .string(name), against: names, at: "\(path).\(name)")
                }
            }
        }
        if case .array(let values) = value, let items = schema["items"] {
            for (index, element) in values.enumerated() {
                found += violations(of: element, against: items, at: "\(path)[\(index)]")
            }
        }
        return found
    }

    /// What is wrong with an answer to an operation.
    package func violations(
        of response: HandlerResponse,
        body: [UInt8],
        to operation: Operation
    ) -> [String] {
        let status = String(response.status.code)
        guard let documented = operation.responses[status] else {
            return ["\(operation.id): answers \(status), which is not documented"]
        }
        guard let content = members(of: documented["content"]).first else {
            return body.isEmpty ? [] : ["\(operation.id): \(status) has a body"]
        }
        guard response.headerFields[.contentType] == content.0 else {
            return ["\(operation.id): \(status) is not \(content.0)"]
        }
        guard content.0.hasSuffix("json") else { return [] }
        guard let value = try? JSONValue(parsing: body) else {
            return ["\(operation.id): \(status) is no JSON"]
        }
        return violations(of: value, against: content.1["schema"])
            .map { "\(operation.id): \(status): \($0)" }
    }

    private func matches(_ value: JSONValue, _ type: JSONValue) -> Bool {
        if case .array(let types) = type { return types.contains { matches(value, $0) } }
        return switch (type.stringValue, value) {
        case ("object", .object), ("array", .array), ("string", .string), ("boolean", .bool),
            ("integer", .integer), ("number", .integer), ("number", .number), ("null", .null):
            true
        default: false
        }
    }
}

/// The members of an object, in order of name.
package func members(of value: JSONValue?) -> [(String, JSONValue)] {
    guard case .object(let members) = value else { return [] }
    return members.sorted { $0.key < $1.key }
}

/// The elements of an array.
package func elements(of value: JSONValue?) -> [JSONValue] {
    guard case .array(let elements) = value else { return [] }
    return elements
}
#endif
