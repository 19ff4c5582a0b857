#if Server
public import ClusterRole
public import HTTPHandling
internal import Hummingbird
internal import HummingbirdCore
internal import HummingbirdHTTP2
public import Logging
internal import NIOCore
public import ServiceLifecycle

/// A server for handlers: one `Service` to put into a `ServiceGroup`. It speaks HTTP/1.1 and, with TLS,
/// HTTP/2.
///
/// Request and response bodies are streamed with back-pressure: a handler that does not read holds
/// up its sender, a peer that does not read holds up the handler. On graceful shutdown it stops
/// accepting at once, closes idle connections, lets requests under way finish, and returns. It
/// never installs signal handlers; the application that owns the `ServiceGroup` does.
public final class ReeveServer: Service {
    private let configuration: ReeveServerConfiguration
    private let handler: BoundedHandler
    private let logger: Logger
    private let time: any TimeSource
    private let tls: ServerTLS?
    private let listening = ListeningState()
    private let acceptor = Acceptor()

    /// A server for the handlers of `mounts`; the longest matching prefix wins.
    ///
    /// - Parameters:
    ///   - configuration: where it listens, and its limits.
    ///   - mounts: what it serves.
    ///   - tls: the certificates of both ends; `nil` for connections in the clear.
    ///   - time: paces what waits.
    ///   - logger: where it logs.
    /// - Throws: `HTTPHandlingError` with code `invalidRoute` for a prefix that is malformed or
    ///   there twice.
    public init(
        configuration: ReeveServerConfiguration = ReeveServerConfiguration(),
        mounts: [HandlerMount],
        tls: ServerTLS? = nil,
        time: any TimeSource = SystemTimeSource(),
        logger: Logger
    ) throws {
        var table = RouteTable()
        for mount in mounts { try table.mount(mount.handler, at: mount.prefix) }
        self.configuration = configuration
        handler = BoundedHandler(table, limits: configuration.limits)
        self.tls = tls
        self.time = time
        self.logger = logger
    }

    /// All routes of all mounts that list theirs.
    public var routes: [RouteDescription] { handler.routes }

    /// Where the server listens, as soon as it does; the port is the real one.
    ///
    /// - Throws: `HTTPHandlingError` with code `notListening` if the server ends without listening
    ///   or has ended; `CancellationError` if the caller is cancelled.
    public var boundAddress: ServerAddress {
        get async throws { try await listening.address() }
    }

    /// Listens until graceful shutdown or cancellation. It runs once.
    ///
    /// - Throws: `HTTPHandlingError` with code `notListening` if the address cannot be bound, or on
    ///   a second call.
    public func run() async throws {
        try listening.begin()
        do {
            try await serve()
            listening.end(HTTPHandlingError(.notListening, "The server has ended."))
        } catch is CancellationError {
            listening.end(HTTPHandlingError(.notListening, "The server was cancelled."))
            throw CancellationError()
        } catch {
            let failure = HTTPHandlingError(
                .notListening,
                "The server cannot listen on \(configuration.address): \(error). "
                    + "Free the address or configure another.",
                cause: error
            )
            listening.end(failure)
            throw failure
        }
    }

    /// Runs the application in a group of its own, so that accepting ends **before** it is told to shut
    /// down: a connection accepted in the very moment in which the server closes would stop the process
    /// (NIO traps when such a channel is dropped unopened).
    private func serve() async throws {
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: [application()], logger: logger)
        )
        // Detached, so that the application hears of the shutdown from its own group only. It is awaited,
        // and cancelled with this task.
        let serving = Task.detached { try await group.run() }
        try await withTaskCancellationHandler {
            try await withGracefulShutdownHandler {
                try await serving.value
            } onGracefulShutdown: { [acceptor] in
                acceptor.pause { Task { await group.triggerGracefulShutdown() } }
            }
        } onCancel: {
            serving.cancel()
        }
    }

    private func application() -> some Service {
        let address = configuration.address
        return Application(
            responder: HandlerResponder(
                handler: handler,
                limits: configuration.limits,
                tls: tls,
                time: time,
                stalledWriteTimeout: configuration.stalledWriteTimeout
            ),
            server: builder(),
            configuration: ApplicationConfiguration(
                address: .hostname(address.host, port: address.port),
                backlog: configuration.backlog,
                availableConnectionsDelegate: .maximum(
                    configuration.maximumConnections,
                    logger: logger
                )
            ),
            onServerRunning: { [listening, acceptor] channel in
                acceptor.set(channel)
                let port = channel.localAddress?.port ?? address.port
                listening.listen(ServerAddress(host: address.host, port: port))
            },
            logger: logger
        )
    }

    /// The channels of connections: HTTP/1.1 in the clear, or what the handshake agreed on.
    private func builder() -> HTTPServerBuilder {
        let channel = HTTP1Channel.Configuration(
            additionalChannelHandlers: [PeerPresenceHandler()],
            idleTimeout: .nanoseconds(configuration.idleTimeout.milliseconds * 1_000_000),
            httpDecoderConfiguration: .init(
                maxHeaderFieldSize: configuration.limits.maximumHeaderBytes,
                maxHeaderListSize: configuration.limits.maximumHeaderBytes
            )
        )
        guard let tls else { return .http1(configuration: channel) }
        let idle = configuration.idleTimeout
        return HTTPServerBuilder { responder in
            SecureChannel(
                tls: tls,
                http1: HTTP1Channel(responder: responder, configuration: channel),
                http2: HTTP2Channel(
                    responder: responder,
                    configuration: HTTP2ChannelConfiguration(
                        idleTimeout: idle,
                        gracefulCloseTimeout: idle,
                        streamConfiguration: channel
                    )
                )
            )
        }
    }
}

/// Hands Hummingbird's requests to the server's handler.
private struct HandlerResponder: HTTPResponder {
    let handler: any HTTPHandler
    let limits: HandlerLimits
    let tls: ServerTLS?
    let time: any TimeSource
    let stalledWriteTimeout: Duration

    func respond(to request: Request, context: ConnectionContext) async throws -> Response {
        var handlerRequest = HandlerRequest(
            request,
            remoteAddress: context.remoteAddress,
            limits: limits,
            logger: context.logger
        )
        handlerRequest.untilCallerIsGone = context.untilPeerIsGone
        let response = await answer(&handlerRequest)
        let connection = WatchedConnection(
            time: time,
            timeout: stalledWriteTimeout,
            roundTrip: context.roundTrip,
            close: context.close
        )
        return Response(response, through: connection)
    }

    /// Asks again whether the connection's certificate counts: it may have been taken back since.
    private func answer(_ request: inout HandlerRequest) async -> HandlerResponse {
        if let tls, let peer = ConnectedPeer.current {
            do {
                try tls.check(peer)
            } catch {
                let response = request.refusal(error)
                tls.refusals?.refused(
                    PeerRefusal(
                        peer: peer,
                        remoteAddress: request.remoteAddress,
                        verb: "\(request.method.rawValue) \(request.target.path.prefix(255))",
                        code: response.problemCode ?? ProblemDetails.internalCode,
                        status: response.status.code
                    )
                )
                return response
            }
            request.peerCertificate = peer
        }
        return await handler.answer(request)
    }
}

/// What the server keeps of a connection for one request.
private struct ConnectionContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let remoteAddress: String?
    let roundTrip: @Sendable () async throws -> Void
    let close: @Sendable () -> Void
    let untilPeerIsGone: @Sendable () async -> Void

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        let channel = source.channel
        remoteAddress = channel.remoteAddress?.ipAddress
        roundTrip = { try await channel.eventLoop.submit {}.get() }
        close = { channel.close(promise: nil) }
        untilPeerIsGone = { await channel.untilPeerIsGone() }
    }
}
#endif
