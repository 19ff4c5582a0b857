#if Server
public import AsyncHTTPClient
public import ClusterRole
internal import ClusterTransport
public import Logging
internal import NIOCore
internal import NIOHTTP1
internal import OperationQueue

/// The worker's calls to its managers: one instance a process.
///
/// It fails over between the managers it was given, and throws ``ClusterLinkError`` when none
/// answers. It keeps no state beside which manager answered last, and it never retries by itself:
/// ``WorkerLink`` does that for the replica and the spool, callers do for the rest.
public final class LinkClient: Sendable {
    let connection: LinkConnection
    let trustMemory = TrustMemory()
    /// The name of this node, as its token has it.
    public let node: NodeID
    let logger: Logger

    /// - Parameters:
    ///   - node: the name the token stands for.
    ///   - configuration: the managers' addresses, the token and timeouts.
    ///   - http: shared with others or one's own; whoever made it shuts it down. It should not
    ///     repeat failed connections by itself, or a manager that is gone holds up the fail-over.
    ///     With the configuration's credentials there is none: the link makes its own, anew whenever
    ///     they change, and those it made before end with their last request.
    ///   - random: chooses the first manager.
    ///   - time: by which certificates are valid.
    ///   - logger: where it logs.
    /// - Throws: ``ClusterLinkError`` with code `invalidConfiguration`.
    public init(
        node: NodeID,
        configuration: LinkClientConfiguration,
        http: HTTPClient = LinkClient.standardHTTP,
        random: any RandomSource = SystemRandomSource(),
        time: any TimeSource = SystemTimeSource(),
        logger: Logger = Logger(label: "reeve.link")
    ) throws(ClusterLinkError) {
        connection = try LinkConnection(
            client: http,
            configuration: configuration,
            random: random,
            time: time,
            logger: logger
        )
        self.node = node
        self.logger = logger
    }

    /// The client of links that are given none: it gives up at once where nobody listens, and lives as
    /// long as the process.
    public static let standardHTTP = HTTPClient(
        eventLoopGroupProvider: .singleton,
        configuration: standardConfiguration
    )

    static var standardConfiguration: HTTPClient.Configuration {
        var configuration = HTTPClient.Configuration()
        configuration.timeout.connect = .seconds(2)
        configuration.connectionPool.retryConnectionEstablishment = false
        // Shorter than a server's patience, so that no request goes to a connection about to close.
        configuration.connectionPool.idleTimeout = .seconds(30)
        // Polls that wait hold one each; the rest is for enrolments in a rush.
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 32
        return configuration
    }

    /// Says hello.
    func hello(_ hello: LinkHello) async throws -> LinkWelcome {
        try await connection.send(try .post("/hello", json: hello)).decode()
    }

    /// Says that this node is still there, or that it leaves.
    func heartbeat(_ heartbeat: LinkHeartbeat) async throws -> LinkWelcome {
        try await connection.send(try .post("/heartbeat", json: heartbeat)).decode()
    }

    /// The next page of what the replica lacks; waits at the manager when there is nothing new.
    ///
    /// - Returns: the page, and the nonce by which it is acknowledged.
    func page(
        after revision: Revision?,
        cursor: ReplicaCursor?,
        limit: Int,
        wait: Duration,
        answering before: PageAnswer? = nil
    ) async throws -> (page: ReplicaPage, nonce: String?) {
        var query = "limit=\(limit)&wait=\(wait.components.seconds)"
        if let revision { query += "&after=\(percentEncoded(revision.description))" }
        if let cursor { query += "&cursor=\(percentEncoded(cursor.token))" }
        var request = LinkRequest.get("/replica?\(query)")
        request.wait = wait
        switch before {
        case .taken(let nonce): request.headers = [(LinkFormat.acknowledgeField, nonce)]
        case .refused(let nonce, let code):
            request.headers = [(LinkFormat.refuseField, "\(nonce) \(code)")]
        case nil: break
        }
        let answer = try await connection.send(request)
        let nonce = answer.headers.first(name: LinkFormat.nonceField)
        do {
            return (try ReplicaPage(decoding: answer.body), nonce)
        } catch {
            throw ClusterLinkError(
                .badAnswer,
                "A replica page cannot be read. Compare versions.",
                cause: error
            )
        }
    }

    /// Hands entries on.
    func upload(_ batch: SpoolBatch) async throws -> LinkMark {
        try await connection.send(.post("/spool", bytes: batch.encoded())).decode()
    }
}

/// What became of a page, as the next request says it.
enum PageAnswer: Sendable {
    case taken(nonce: String)
    case refused(nonce: String, code: String)
}
#endif
