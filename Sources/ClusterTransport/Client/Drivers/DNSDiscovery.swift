#if Server
public import ClusterMembership
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#elseif canImport(Darwin)
internal import Darwin
#endif
internal import Dispatch

/// Looks up the addresses of a name.
public protocol NameResolver: Sendable {
    /// Numeric addresses, as the system prefers them: `10.0.0.4`, `fd00::4`.
    ///
    /// - Throws: ``ClusterLinkError`` with `unresolved`, or anything.
    func addresses(of name: String) async throws -> [String]
}

/// Managers behind a name of DNS: one record for each, as the headless service of an orchestrator gives.
public struct DNSDiscovery: MemberDiscovery {
    private let name: String
    private let port: Int
    private let scheme: String
    private let resolver: any NameResolver

    /// The most addresses taken of one name. 64: a cluster has a handful of managers, and an answer of
    /// any length must not become a list of that length.
    public static let maximumAddresses = 64

    /// - Parameters:
    ///   - name: such as `managers.example.internal`.
    ///   - port: where all of them listen.
    ///   - scheme: `http` or `https`.
    ///   - resolver: the system's unless a test brings its own.
    public init(
        name: String,
        port: Int,
        scheme: String = "http",
        resolver: any NameResolver = SystemNameResolver()
    ) {
        self.name = name
        self.port = port
        self.scheme = scheme
        self.resolver = resolver
    }

    public func addresses() async throws -> [String] {
        var found: [String] = []
        for address in try await resolver.addresses(of: name) {
            let host = address.contains(":") ? "[\(address)]" : address
            let base = "\(scheme)://\(host):\(port)"
            if !found.contains(base) { found.append(base) }
        }
        return Array(found.prefix(Self.maximumAddresses))
    }
}

/// The system's resolver (getaddrinfo), on a thread of its own queue: it blocks while it asks.
public struct SystemNameResolver: NameResolver {
    private static let queue = DispatchQueue(label: "reeve.names", attributes: .concurrent)

    public init() {}

    public func addresses(of name: String) async throws -> [String] {
        try await withCheckedThrowingContinuation { continuation in
            Self.queue.async {
                continuation.resume(with: Result { try Self.lookUp(name) })
            }
        }
    }

    private static func lookUp(_ name: String) throws -> [String] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        #if canImport(Glibc)
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        #else
        hints.ai_socktype = SOCK_STREAM
        #endif
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(name, nil, &hints, &list)
        guard status == 0 else {
            throw ClusterLinkError(
                .unresolved,
                "The name \(name) has no address: \(String(cString: gai_strerror(status))).",
                retryAfter: .seconds(5)
            )
        }
        defer { freeaddrinfo(list) }
        var found: [String] = []
        var next = list
        while let entry = next {
            var text = [CChar](repeating: 0, count: 128)
            let isText = getnameinfo(
                entry.pointee.ai_addr,
                entry.pointee.ai_addrlen,
                &text,
                socklen_t(text.count),
                nil,
                0,
                NI_NUMERICHOST
            )
            if isText == 0 {
                let bytes = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
                found.append(String(decoding: bytes, as: UTF8.self))
            }
            next = entry.pointee.ai_next
        }
        return found
    }
}
#endif
