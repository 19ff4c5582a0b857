#if Push
internal import AsyncHTTPClient
internal import ClusterRole
internal import NIOCore
internal import NIOHTTP1
public import NotificationDispatch
public import ServiceLifecycle
internal import Synchronization

/// How ``HTTPWebhookTransport`` calls receivers.
public struct HTTPWebhookConfiguration: Sendable {
    /// Which hosts administrators may name. See ``AllowedHosts`` before leaving it open.
    public var allowedHosts: AllowedHosts
    /// How long a connection may take. 5 s.
    public var connectTimeout: Duration
    /// How long the whole call may take. 20 s, below the dispatcher's limit of an attempt.
    public var timeout: Duration

    public init(
        allowedHosts: AllowedHosts = .any,
        connectTimeout: Duration = .seconds(5),
        timeout: Duration = .seconds(20)
    ) {
        self.allowedHosts = allowedHosts
        self.connectTimeout = connectTimeout
        self.timeout = timeout
    }
}

/// Posts webhooks over HTTP, with the headers of the Standard Webhooks specification: `webhook-id`,
/// `webhook-timestamp`, `webhook-signature`, and `reeve-epoch`.
///
/// Any 2xx is taken; 410 ends the subscription; everything else, redirects included, is tried again, after
/// `Retry-After` in seconds if it is given. No URL appears in logs or failure texts: it may hold a token.
///
/// Call ``close()`` when done, or run it as a service **listed before** the dispatcher, so that it is shut
/// down after it.
public final class HTTPWebhookTransport: WebhookTransport, Service {
    private let configuration: HTTPWebhookConfiguration
    private let client: HTTPClient
    private let isClosed = Mutex(false)

    /// - Parameter configuration: hosts and limits.
    public init(configuration: HTTPWebhookConfiguration = HTTPWebhookConfiguration()) {
        self.configuration = configuration
        var settings = HTTPClient.Configuration()
        settings.redirectConfiguration = .disallow
        settings.timeout.connect = .milliseconds(configuration.connectTimeout.milliseconds)
        settings.timeout.read = .milliseconds(configuration.timeout.milliseconds)
        // A receiver that does not answer is tried again by the dispatcher, which knows when.
        settings.connectionPool.retryConnectionEstablishment = false
        settings.decompression = .disabled
        client = HTTPClient(
            eventLoopGroup: HTTPClient.defaultEventLoopGroup,
            configuration: settings
        )
    }

    /// A transport that was made and never run or closed ends its connections as it goes.
    deinit {
        if !isClosed.withLock({ $0 }) { _ = client.shutdown() }
    }

    public func send(_ request: WebhookRequest) async -> WebhookOutcome {
        guard let url = PushURL(request.url) else {
            return .failed(reason: "the subscription's URL cannot be called")
        }
        guard configuration.allowedHosts.allows(host: url.host, port: url.port) else {
            return .failed(reason: "the subscription's host is not allowed")
        }
        var call = HTTPClientRequest(url: url.text)
        call.method = .POST
        call.headers.add(name: "Content-Type", value: "application/json")
        call.headers.add(name: "webhook-id", value: request.message)
        call.headers.add(name: "webhook-timestamp", value: "\(request.timestamp)")
        call.headers.add(name: "webhook-signature", value: request.signature)
        call.headers.add(name: "reeve-epoch", value: "\(request.epoch.rawValue)")
        call.body = .bytes(ByteBuffer(bytes: request.body))
        do {
            let answer = try await client.execute(
                call,
                timeout: .milliseconds(configuration.timeout.milliseconds)
            )
            _ = try? await answer.body.collect(upTo: HTTPPushTransport.maximumAnswerBytes)
            return Self.outcome(
                status: answer.status.code,
                retryAfter: answer.headers.first(name: "Retry-After")
            )
        } catch {
            return .failed(reason: Self.reason(of: error))
        }
    }

    /// What a status means. `Retry-After` in its date form is passed over.
    static func outcome(status: UInt, retryAfter: String?) -> WebhookOutcome {
        switch status {
        case 200..<300: return .accepted
        case 410: return .gone
        default:
            let after = retryAfter.flatMap { Int64($0) }.flatMap { $0 >= 0 ? $0 : nil }
                .map { Duration.seconds(min($0, 86_400)) }
            return .failed(reason: "status \(status)", retryAfter: after)
        }
    }

    private static func reason(of error: any Error) -> String {
        guard let error = error as? HTTPClientError else {
            return error is CancellationError ? "cancelled" : "could not connect"
        }
        switch error {
        case .connectTimeout, .getConnectionFromPoolTimeout, .tlsHandshakeTimeout:
            return "could not connect in time"
        case .alreadyShutdown: return "the transport is closed"
        case .readTimeout, .writeTimeout, .deadlineExceeded: return "no answer in time"
        case .cancelled: return "cancelled"
        default: return "the connection ended before an answer"
        }
    }

    /// Ends all connections. Afterwards every batch fails. Doing it twice is harmless.
    public func close() async {
        let isFirst = isClosed.withLock { closed in
            defer { closed = true }
            return !closed
        }
        if isFirst { try? await client.shutdown() }
    }

    /// Waits for graceful shutdown or cancellation, then closes.
    public func run() async throws {
        try? await gracefulShutdown()
        await close()
    }
}
#endif
