#if Server
internal import FoundationEssentials
internal import HTTPTypes

/// Reads what proxies say of a request. Every reader is total: what is malformed says nothing.
enum ForwardedFields {
    /// The most hops looked at.
    static let maximumHops = 32

    /// All fields that speak in a proxy's name.
    static let names: [HTTPField.Name] = [
        "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
        "X-Forwarded-Port", "X-Real-IP", "Client-Cert", "Client-Cert-Chain",
        "X-Forwarded-Client-Cert",
    ].compactMap { HTTPField.Name($0) }

    /// One `for`, and the `proto` beside it.
    struct Hop: Equatable {
        var client: String
        var scheme: String?
    }

    /// The values of `X-Forwarded-For`, from the client to the nearest proxy.
    static func xForwardedFor(_ values: [String]) -> [Hop] {
        values.flatMap { $0.split(separator: ",", omittingEmptySubsequences: false) }
            .map { Hop(client: trimmed($0), scheme: nil) }
    }

    /// The elements of `Forwarded` (RFC 7239), from the client to the nearest proxy.
    ///
    /// - Returns: `nil` if it is malformed anywhere: a half-read list could name the wrong hop.
    static func forwarded(_ values: [String]) -> [Hop]? {
        var reader = Reader(values.joined(separator: ","))
        var hops: [Hop] = []
        var hop = Hop(client: "", scheme: nil)
        while true {
            reader.skipSpace()
            if let name = reader.token() {
                guard reader.take("="), let value = reader.value() else { return nil }
                switch name.lowercased() {
                case "for":
                    guard hop.client.isEmpty else { return nil }
                    hop.client = value
                case "proto": hop.scheme = value
                default: break
                }
            }
            reader.skipSpace()
            if reader.take(";") { continue }
            hops.append(hop)
            hop = Hop(client: "", scheme: nil)
            if reader.isAtEnd { return hops }
            guard reader.take(",") else { return nil }
        }
    }

    /// The DER bytes in `Client-Cert` (RFC 9440): `:BASE64:`.
    static func clientCert(_ values: [String]) -> [UInt8]? {
        guard values.count == 1 else { return nil }
        let text = trimmed(values[0][...])
        guard text.count > 2, text.first == ":", text.last == ":",
            let data = Data(base64Encoded: String(text.dropFirst().dropLast())), !data.isEmpty
        else { return nil }
        return Array(data)
    }

    /// The DER bytes of `Cert` in Envoy's `X-Forwarded-Client-Cert`: a percent-encoded PEM. The last element
    /// is the nearest proxy's.
    static func envoyCert(_ values: [String]) -> [UInt8]? {
        guard values.count == 1 else { return nil }
        var reader = Reader(values[0])
        var found: String?
        while true {
            guard let name = reader.token(), reader.take("="), let value = reader.value() else {
                return nil
            }
            if name.lowercased() == "cert" { found = value }
            if reader.take(";") { continue }
            if reader.isAtEnd { break }
            guard reader.take(",") else { return nil }
            found = nil
        }
        return found.flatMap { percentDecoded($0, plusIsSpace: false) }.flatMap { der(ofPEM: $0) }
    }

    private static func der(ofPEM text: String) -> [UInt8]? {
        let lines = text.split(whereSeparator: \.isNewline)
        guard lines.first == "-----BEGIN CERTIFICATE-----",
            lines.last == "-----END CERTIFICATE-----",
            let data = Data(base64Encoded: lines.dropFirst().dropLast().joined()), !data.isEmpty
        else { return nil }
        return Array(data)
    }

    static func trimmed(_ text: Substring) -> String {
        var text = text.drop { $0 == " " || $0 == "\t" }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return String(text)
    }

    /// Tokens, quoted strings and separators of structured header fields.
    private struct Reader {
        private var rest: Substring.UTF8View

        init(_ text: String) { rest = Substring(text).utf8 }

        var isAtEnd: Bool { rest.isEmpty }

        mutating func skipSpace() { rest = rest.drop { $0 == 0x20 || $0 == 0x09 } }

        mutating func take(_ character: Unicode.Scalar) -> Bool {
            guard rest.first == UInt8(ascii: character) else { return false }
            rest = rest.dropFirst()
            return true
        }

        mutating func token() -> String? {
            let taken = rest.prefix { Self.isTokenByte($0) }
            guard !taken.isEmpty else { return nil }
            rest = rest[taken.endIndex...]
            return String(Substring(taken))
        }

        mutating func value() -> String? {
            guard take("\"") else {
                let taken = rest.prefix { Self.isTokenByte($0) || $0 == 0x3A || $0 == 0x25 }
                guard !taken.isEmpty else { return nil }
                rest = rest[taken.endIndex...]
                return String(Substring(taken))
            }
            var bytes: [UInt8] = []
            while let byte = rest.first {
                rest = rest.dropFirst()
                switch byte {
                case UInt8(ascii: "\""): return String(decoding: bytes, as: UTF8.self)
                case UInt8(ascii: "\\"):
                    guard let escaped = rest.first else { return nil }
                    rest = rest.dropFirst()
                    bytes.append(escaped)
                default: bytes.append(byte)
                }
            }
            return nil
        }

        private static func isTokenByte(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "A")...UInt8(ascii: "Z"):
                true
            default: "!#$&'*+-.^_`|~/".utf8.contains(byte)
            }
        }
    }
}
#endif
