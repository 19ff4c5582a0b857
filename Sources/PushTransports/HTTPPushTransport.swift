#if Push
internal import AsyncHTTPClient
internal import ClusterRole
internal import DeviceRegistry
internal import FoundationEssentials
public import Logging
internal import NIOCore
internal import NIOHTTP1
public import NotificationDispatch
public import ServiceLifecycle
internal import Synchronization

/// How ``HTTPPushTransport`` calls devices.
public struct HTTPPushConfiguration: Sendable {
    /// Which hosts devices may name. See ``AllowedHosts`` before leaving it open.
    public var allowedHosts: AllowedHosts
    /// How long a connection may take. 5 s.
    public var connectTimeout: Duration
    /// How long the whole call may take. 10 s.
    public var timeout: Duration
    /// Connections to one host at once. 8. Over all hosts the dispatcher's concurrency is the limit.
    public var connectionsPerHost: Int
    /// The value of the header `Topic` (RFC 8030, section 5.4): a service that stores wake-ups keeps the
    /// newest of a topic only. 1 to 32 characters of base64url.
    public var topic: String
    /// Whom a 429 or 503 concerns: the device, where every device names a host of its own; the transport,
    /// where all name one service.
    public var overloadScope: PushOutcome.RetryScope
    public var logger: Logger

    public init(
        allowedHosts: AllowedHosts = .any,
        connectTimeout: Duration = .seconds(5),
        timeout: Duration = .seconds(10),
        connectionsPerHost: Int = 8,
        overloadScope: PushOutcome.RetryScope = .device,
        logger: Logger = Logger(label: "reeve.push.http")
    ) {
        self.allowedHosts = allowedHosts
        self.connectTimeout = connectTimeout
        self.timeout = timeout
        self.connectionsPerHost = connectionsPerHost
        topic = "reeve-wake"
        self.overloadScope = overloadScope
        self.logger = logger
    }
}

/// Wakes devices by an HTTP `POST` without content to the URL they registered.
///
/// The request carries `Reeve-Epoch` (the coordinator's epoch: a receiver may refuse lower ones than it
/// has seen) and `Topic`. Any 2xx is a wake-up taken; 404 and 410 mean that the registration is dead; 429
/// and 503 are tried again, after `Retry-After` in seconds if it is given; other 5xx too; every other
/// status, redirects included, gives the wake-up up. No address appears in logs or failure texts.
///
/// Call ``close()`` when done, or run it as a service **listed before** the dispatcher, so that it is shut
/// down after it.
public final class HTTPPushTransport: PushTransport, Service {
    private let configuration: HTTPPushConfiguration
    private let client: HTTPClient
    private let isClosed = Mutex(false)

    /// - Parameter configuration: hosts and limits.
    public init(configuration: HTTPPushConfiguration = HTTPPushConfiguration()) {
        self.configuration = configuration
        var settings = HTTPClient.Configuration()
        settings.redirectConfiguration = .disallow
        settings.timeout.connect = .milliseconds(configuration.connectTimeout.milliseconds)
        settings.timeout.read = .milliseconds(configuration.timeout.milliseconds)
        settings.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit =
            max(1, configuration.connectionsPerHost)
        // A device that does not answer is tried again by the dispatcher, which knows when.
        settings.connectionPool.retryConnectionEstablishment = false
        settings.decompression = .disabled
        client = HTTPClient(
            eventLoopGroup: HTTPClient.defaultEventLoopGroup,
            configuration: settings
        )
    }

    /// A transport that was made and never run or closed ends its connections as it goes: a node that
    /// could not be opened drops it without having started it.
    deinit {
        if !isClosed.withLock({ $0 }) { _ = client.shutdown() }
    }

    /// The most bytes of an answer that are read so that its connection can be used again.
    static let maximumAnswerBytes = 16_384

    public func wake(_ request: PushRequest) async -> PushOutcome {
        guard let url = PushURL(request.registration.address) else {
            return .rejected(reason: "the registration is no http or https URL")
        }
        guard configuration.allowedHosts.allows(host: url.host, port: url.port) else {
            configuration.logger.notice(
                "a device registered a host that is not allowed",
                metadata: ["tenant": "\(request.tenant)", "device": "\(request.device)"]
            )
            return .rejected(reason: "the registration's host is not allowed")
        }
        var call = HTTPClientRequest(url: url.text)
        call.method = .POST
        call.headers.add(name: "Reeve-Epoch", value: "\(request.epoch.rawValue)")
        call.headers.add(name: "Topic", value: configuration.topic)
        do {
            let answer = try await client.execute(
                call,
                timeout: .milliseconds(configuration.timeout.milliseconds)
            )
            _ = try? await answer.body.collect(upTo: HTTPPushTransport.maximumAnswerBytes)
            return outcome(
                status: answer.status.code,
                retryAfter: answer.headers.first(name: "Retry-After")
            )
        } catch {
            return outcome(of: error)
        }
    }

    /// Ends all connections. Afterwards every wake-up is put off. Doing it twice is harmless.
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

    /// What a status means. `Retry-After` in its date form is passed over: the dispatcher's own backoff
    /// holds then.
    func outcome(status: UInt, retryAfter: String?) -> PushOutcome {
        let after = retryAfter.flatMap { Int64($0) }.flatMap { $0 >= 0 ? $0 : nil }
            .map { Duration.seconds(min($0, 86_400)) }
        switch status {
        case 200..<300:
            return .accepted
        case 404, 410:
            return .deadToken(since: nil)
        case 429, 503:
            return .retry(
                after: after,
                scope: configuration.overloadScope,
                reason: "status \(status)"
            )
        case 500...:
            return .retry(after: after, scope: .device, reason: "status \(status)")
        default:
            return .rejected(reason: "status \(status)")
        }
    }

    private func outcome(of error: any Error) -> PushOutcome {
        guard let error = error as? HTTPClientError else {
            if error is CancellationError { return .unknown(reason: "cancelled") }
            // Refused, unreachable, unknown name: nothing was sent.
            return .retry(after: nil, scope: .device, reason: "could not connect")
        }
        switch error {
        case .connectTimeout, .getConnectionFromPoolTimeout, .tlsHandshakeTimeout:
            return .retry(after: nil, scope: .device, reason: "could not connect in time")
        case .alreadyShutdown:
            return .retry(after: nil, scope: .transport, reason: "the transport is closed")
        case .readTimeout, .writeTimeout, .deadlineExceeded:
            return .unknown(reason: "no answer in time")
        case .cancelled:
            return .unknown(reason: "cancelled")
        default:
            return .unknown(reason: "the connection ended before an answer")
        }
    }
}

/// A registration's address, if it is a URL this transport calls.
struct PushURL: Hashable, Sendable {
    let text: String
    let host: String
    let port: Int

    /// Takes absolute `http` and `https` URLs with a host, and nothing that two parsers might read in two
    /// ways: no user information, no control character, white space or backslash.
    init?(_ address: String) {
        let isClean = address.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x5C }
        guard isClean, address.utf8.count <= PushRegistration.maximumAddressBytes,
            let url = URL(string: address), let scheme = url.scheme?.lowercased(),
            scheme == "http" || scheme == "https",
            let host = url.host(percentEncoded: true), !host.isEmpty, !host.contains("%"),
            url.user(percentEncoded: true) == nil, url.password(percentEncoded: true) == nil
        else { return nil }
        text = url.absoluteString
        self.host = host
        port = url.port ?? (scheme == "https" ? 443 : 80)
    }
}
#endif
