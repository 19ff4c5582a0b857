#if Server
internal import FoundationEssentials

/// The value of `Repr-Digest` or `Content-Digest` (RFC 9530) for a SHA-256.
public func digestField(_ digest: [UInt8]) -> String {
    "sha-256=:\(Data(digest).base64EncodedString()):"
}

/// The SHA-256 in the value of `Repr-Digest` or `Content-Digest` (RFC 9530): a dictionary of structured
/// fields. Algorithms beside `sha-256` are passed by.
///
/// - Returns: `nil` if it names no SHA-256.
/// - Throws: ``HTTPHandlingError`` with code `invalidParameter` if it is none of that form.
public func sha256(ofDigestField value: String) throws -> [UInt8]? {
    var found: [UInt8]?
    for member in value.split(separator: ",", omittingEmptySubsequences: false) {
        let trimmed = member.drop { $0 == " " || $0 == "\t" }
        guard let equals = trimmed.firstIndex(of: "=") else { throw badDigestField }
        let rest = trimmed[trimmed.index(after: equals)...]
        guard rest.first == ":", let end = rest.dropFirst().firstIndex(of: ":"),
            let bytes = Data(base64Encoded: String(rest[rest.index(after: rest.startIndex)..<end]))
        else { throw badDigestField }
        if trimmed[..<equals].lowercased() == "sha-256" {
            guard bytes.count == 32 else { throw badDigestField }
            found = Array(bytes)
        }
    }
    return found
}

private let badDigestField = HTTPHandlingError(
    .invalidParameter,
    "A digest field is written sha-256=:BASE64:, as RFC 9530 has it."
)
#endif
