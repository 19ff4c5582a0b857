#if Server
public import AsyncHTTPClient
public import ClusterMembership
public import ClusterRole
internal import FoundationEssentials
internal import NIOCore
internal import NIOHTTP1

/// Dials the address a node advertises and asks `/healthz`.
public struct HTTPNodeProber: NodeProber {
    private let client: HTTPClient

    /// - Parameter client: shared with others or one's own; whoever made it shuts it down.
    public init(client: HTTPClient = LinkClient.standardHTTP) { self.client = client }

    public func probe(_ node: NodeID, at address: String) async throws {
        let base = address.contains("://") ? address : "http://" + address
        let response = try await client.execute(
            HTTPClientRequest(url: base + "/healthz"),
            timeout: .seconds(2),
            logger: nil
        )
        // Bounded, and read so that the connection can be used again.
        _ = try await response.body.collect(upTo: 64 << 10)
        guard response.status == .ok else {
            throw ClusterLinkError(
                .badAnswer,
                "\(node) answers at \(address) with status \(response.status.code)."
            )
        }
    }
}

/// Asks another manager whether it reaches a node: a path around a network that is cut in one place only.
public struct ManagerNodeProber: NodeProber {
    private let client: HTTPClient
    private let manager: String
    private let token: String

    /// - Parameters:
    ///   - manager: its base address, such as `http://10.0.0.5:8180`.
    ///   - token: of an administrator there, or of this manager; it needs the permission to operate.
    ///   - client: shared with others or one's own; whoever made it shuts it down.
    public init(
        manager: String,
        token: String,
        client: HTTPClient = LinkClient.standardHTTP
    ) {
        self.manager = manager
        self.token = token
        self.client = client
    }

    public func probe(_ node: NodeID, at address: String) async throws {
        var request = HTTPClientRequest(
            url: "\(manager)/admin/v1/nodes/\(percentEncoded(node.rawValue))/probe?others=false"
        )
        request.method = .POST
        request.headers.add(name: "Authorization", value: "Bearer \(token)")
        let response = try await client.execute(request, timeout: .seconds(4), logger: nil)
        let body = try await response.body.collect(upTo: 64 << 10)
        struct Answer: Decodable { var isThere: Bool }
        guard response.status == .ok,
            try JSONDecoder().decode(Answer.self, from: Data(body.readableBytesView)).isThere
        else {
            throw ClusterLinkError(
                .badAnswer,
                "The manager at \(manager) does not reach \(node) (status \(response.status.code))."
            )
        }
    }
}
#endif
