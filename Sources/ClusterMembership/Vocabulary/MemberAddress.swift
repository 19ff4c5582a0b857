/// Where others dial a member: what it advertises, which need not be where it listens.
///
/// A node that listens on every interface, or behind an address translation, has to be told what others
/// reach it by; any other advertises where it listens.
///
/// ```swift
/// let told = try MemberAddress(validating: "10.0.0.4:8280")
/// let found = MemberAddress(listeningAt: "0.0.0.0", port: 8280)      // nil: nobody can dial that
/// ```
public struct MemberAddress: Hashable, Sendable, CustomStringConvertible {
    /// As it was written: `host:port`, `[2001:db8::4]:8280`, or with `http://` or `https://` before it.
    public let description: String

    /// The longest address, in bytes: what a hello carries.
    public static let maximumBytes = 255

    /// Takes an address that an operator wrote.
    ///
    /// - Throws: ``ClusterMembershipError`` with code `invalidMember` unless it is a host and a port that can
    ///   be dialled.
    public init(validating text: String) throws(ClusterMembershipError) {
        guard Self.canBeDialled(text) else {
            throw ClusterMembershipError(
                .invalidMember,
                "An advertised address is host:port, such as 10.0.0.4:8280 or https://[2001:db8::4]:8280, "
                    + "of a host that others can dial; \(text.prefix(80)) is not."
            )
        }
        description = text
    }

    /// What a node advertises that is told nothing: where it listens.
    ///
    /// `nil` where that names every interface, or a port the system chooses: nobody can dial it.
    public init?(listeningAt host: String, port: Int) {
        let name = host.contains(":") && !host.hasPrefix("[") ? "[\(host)]" : host
        guard Self.canBeDialled("\(name):\(port)") else { return nil }
        description = "\(name):\(port)"
    }

    /// Names of every interface: good to listen on, not to dial.
    private static let everywhere: Set<String> = ["0.0.0.0", "[::]", "[0:0:0:0:0:0:0:0]", "*"]

    private static func canBeDialled(_ text: String) -> Bool {
        guard text.utf8.count <= maximumBytes, text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { return false }
        var rest = Substring(text)
        for scheme in ["http://", "https://"] where text.hasPrefix(scheme) {
            rest = rest.dropFirst(scheme.count)
        }
        guard let colon = rest.lastIndex(of: ":"),
            rest[colon...].utf8.dropFirst().allSatisfy({ (0x30...0x39).contains($0) }),
            let port = Int(rest[rest.index(after: colon)...]), (1...65_535).contains(port)
        else { return false }
        let host = rest[..<colon]
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]") && host.count > 2
        guard isBracketed || !host.contains(where: { ":[]".contains($0) }) else { return false }
        return !host.isEmpty && !host.contains(where: { "/@?#".contains($0) })
            && !everywhere.contains(String(host))
    }
}
