#if Push
/// Which hosts a device may have this node call.
///
/// A push registration is a URL that a **device** chose, called from inside the manager's network: left
/// open, an enrolled device can make the manager send (empty) requests to internal addresses, and learn
/// from whether it is woken again what answers there (server-side request forgery, CWE-918). The default,
/// ``any``, refuses nothing but what is no plain `http` or `https` URL. In production name the hosts of
/// your push service, or send the traffic through an egress proxy that does.
///
/// Names are compared before they are resolved: a name you allow must not be one that somebody else may
/// point at an internal address. Redirects are never followed.
public struct AllowedHosts: Hashable, Sendable {
    private enum Rule: Hashable, Sendable {
        case any
        case only([Pattern])
    }

    private struct Pattern: Hashable, Sendable {
        var host: String
        var isSuffix: Bool
        var port: Int?
    }

    private let rule: Rule

    private init(_ rule: Rule) { self.rule = rule }

    /// Every host.
    public static let any = AllowedHosts(.any)

    /// Only hosts that match a pattern; none without patterns.
    ///
    /// A pattern is a host name or address (`push.example.com`, `10.0.0.7`, `[::1]`), or `*.` with a
    /// domain, which stands for every name below it but not for the domain itself. With `:port` only that
    /// port matches; without, every port. Case does not matter.
    public static func only(_ patterns: [String]) -> AllowedHosts {
        AllowedHosts(.only(patterns.map(parse)))
    }

    private static func parse(_ text: String) -> Pattern {
        var host = text[...]
        var port: Int?
        // The last colon is a port's unless it is inside an IPv6 address.
        if let colon = text.lastIndex(of: ":"), let number = Int(text[text.index(after: colon)...]),
            !text[..<colon].contains(":") || text[..<colon].hasSuffix("]")
        {
            host = text[..<colon]
            port = number
        }
        let isSuffix = host.hasPrefix("*.")
        if isSuffix { host = host.dropFirst() }
        return Pattern(host: normalized(String(host)), isSuffix: isSuffix, port: port)
    }

    /// Whether a host, as a URL names it, may be called at a port.
    public func allows(host: String, port: Int) -> Bool {
        guard case .only(let patterns) = rule else { return true }
        let host = AllowedHosts.normalized(host)
        return patterns.contains { pattern in
            guard pattern.port.map({ $0 == port }) ?? true else { return false }
            return pattern.isSuffix
                ? host.hasSuffix(pattern.host) && host.count > pattern.host.count
                : host == pattern.host
        }
    }

    /// Lower case, without an IPv6 address's brackets and a name's final dot.
    private static func normalized(_ host: String) -> String {
        var name = host.lowercased()[...]
        if name.hasPrefix("["), name.hasSuffix("]") { name = name.dropFirst().dropLast() }
        if name.hasSuffix(".") { name = name.dropLast() }
        return String(name)
    }
}
#endif
