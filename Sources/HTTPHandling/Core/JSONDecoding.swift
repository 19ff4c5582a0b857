#if Server
internal import ClusterRole
internal import FoundationEssentials
internal import HTTPTypes

/// How deep arrays and objects nest in JSON text, found by one pass over the bytes.
///
/// A decoder recurses, so the depth is known before one runs. The scan respects strings and escapes
/// and needs no valid JSON: on malformed text it gives an upper bound of what a decoder would
/// enter.
struct JSONDepthScan {
    private var depth = 0
    private var isInString = false
    private var isEscaped = false

    /// Whether `bytes` nest at most `limit` deep.
    static func accepts(_ bytes: [UInt8], limit: Int) -> Bool {
        var scan = JSONDepthScan()
        for byte in bytes {
            scan.step(byte)
            if scan.depth > limit { return false }
        }
        return true
    }

    private mutating func step(_ byte: UInt8) {
        if isInString {
            if isEscaped {
                isEscaped = false
            } else if byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else if byte == UInt8(ascii: "\"") {
                isInString = false
            }
            return
        }
        switch byte {
        case UInt8(ascii: "\""): isInString = true
        case UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
        case UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
        default: break
        }
    }
}

/// Decodes UTF-8 JSON that came from outside.
///
/// - Throws: ``HTTPHandlingError`` with code `tooDeep` or `invalidJSON`; the message names the path
///   of the wrong field. A `CodedError` that a type's own `init(from:)` throws passes through.
func decodedJSON<Value: Decodable>(
    _ type: Value.Type,
    from bytes: [UInt8],
    maximumDepth: Int
) throws -> Value {
    guard !bytes.isEmpty else {
        throw HTTPHandlingError(.invalidJSON, "The body is empty. Send a JSON object.")
    }
    // A decoder that guesses UTF-16 or UTF-32 would read other brackets than the scan counts.
    guard !bytes.contains(0), bytes[0] < 0xFE else {
        throw HTTPHandlingError(.invalidJSON, "The body is not UTF-8. Send JSON in UTF-8.")
    }
    guard JSONDepthScan.accepts(bytes, limit: maximumDepth) else {
        throw HTTPHandlingError(
            .tooDeep,
            "The body nests deeper than \(maximumDepth) levels. Send a flatter one."
        )
    }
    do {
        return try JSONDecoder().decode(type, from: Data(bytes))
    } catch let error as DecodingError {
        throw HTTPHandlingError(.invalidJSON, explanation(of: error), cause: error)
    } catch let error as any CodedError {
        throw error
    } catch {
        throw HTTPHandlingError(
            .invalidJSON,
            "The body does not have the shape this route takes.",
            cause: error
        )
    }
}

private func explanation(of error: DecodingError) -> String {
    switch error {
    case .keyNotFound(let key, let context):
        return "The field \(fieldPath(context.codingPath + [key])) is missing."
    case .typeMismatch(let type, let context):
        return "The field \(fieldPath(context.codingPath)) must be \(jsonName(of: type))."
    case .valueNotFound(let type, let context):
        return "The field \(fieldPath(context.codingPath)) must be \(jsonName(of: type)), not null."
    case .dataCorrupted(let context) where context.codingPath.isEmpty:
        return "The body is not well-formed JSON."
    case .dataCorrupted(let context):
        return "The field \(fieldPath(context.codingPath)) has a value this route does not take."
    @unknown default:
        return "The body does not have the shape this route takes."
    }
}

/// A coding path as people write it: `results[3].state`. The body itself is `$`.
private func fieldPath(_ path: [any CodingKey]) -> String {
    var result = ""
    for key in path {
        if let index = key.intValue {
            result += "[\(index)]"
        } else {
            result += (result.isEmpty ? "" : ".") + key.stringValue
        }
    }
    return result.isEmpty ? "$" : result
}

/// A Swift type in the words of JSON.
private func jsonName(of type: any Any.Type) -> String {
    switch "\(type)" {
    case "String": "a string"
    case "Bool": "true or false"
    case "Double", "Float": "a number"
    case let name where name.hasPrefix("Array<"): "an array"
    case let name where name.hasPrefix("Dictionary<"): "an object"
    case let name where name.hasPrefix("Int") || name.hasPrefix("UInt"): "a whole number"
    default: "of another type"
    }
}

extension HandlerRequest {
    /// Reads and decodes a JSON body, in an order that costs a bad sender more than this process:
    /// media type, size, depth, and only then the parser.
    ///
    /// - Parameters:
    ///   - type: what the body is decoded to.
    ///   - limit: the largest body in bytes; ``HandlerLimits/maximumBodyBytes`` if `nil`.
    /// - Throws: ``HTTPHandlingError`` with code `wrongContentType` (415), `bodyTooLarge` (413),
    ///   `tooDeep` or `invalidJSON` (400), the last naming the path of the wrong field.
    public func decode<Value: Decodable>(
        _ type: Value.Type = Value.self,
        upTo limit: Int? = nil
    ) async throws -> Value {
        guard isJSON else {
            throw HTTPHandlingError(
                .wrongContentType,
                "Send Content-Type: application/json.",
                headerFields: [.accept: MediaType.json]
            )
        }
        let bytes = try await body.collect(upTo: limit ?? limits.maximumBodyBytes)
        return try decodedJSON(type, from: bytes, maximumDepth: limits.maximumJSONDepth)
    }

    /// `application/json` or a type built on it (`application/…+json`), with any parameters.
    private var isJSON: Bool {
        guard let value = headerFields[.contentType] else { return false }
        let essence = value.prefix { $0 != ";" }.lowercased().filter { $0 != " " && $0 != "\t" }
        return essence == MediaType.json
            || (essence.hasPrefix("application/") && essence.hasSuffix("+json"))
    }
}
#endif
