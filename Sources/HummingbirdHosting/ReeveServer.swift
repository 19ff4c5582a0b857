#if Server
public import ClusterRole
public import HTTPHandling
internal import Hummingbird
internal import HummingbirdCore
public import Logging
public import ServiceLifecycle

/// An HTTP/1.1 server for handlers: one `Service` to put into a `ServiceGroup`.
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
    private let listening = ListeningState()
    private let acceptor = Acceptor()

    /// A server for the handlers of `mounts`; the longest matching prefix wins.
    ///
    /// - Throws: `HTTPHandlingError` with code `invalidRoute` for a prefix that is malformed or
    ///   there twice.
    public init(
        configuration: ReeveServerConfiguration = ReeveServerConfiguration(),
        mounts: [HandlerMount],
        time: any TimeSource = SystemTimeSource(),
        logger: Logger
    ) throws {
        var table = RouteTable()
        for mount in mounts { try table.mount(mount.handler, at: mount.prefix) }
        self.configuration = configuration
        handler = BoundedHandler(table, limits: configuration.limits)
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
        let channel = HTTP1Channel.Configuration(
            additionalChannelHandlers: [PeerPresenceHandler()],
            idleTimeout: .nanoseconds(configuration.idleTimeout.milliseconds * 1_000_000),
            httpDecoderConfiguration: .init(
                maxHeaderFieldSize: configuration.limits.maximumHeaderBytes,
                maxHeaderListSize: configuration.limits.maximumHeaderBytes
            )
        )
        return Application(
            responder: HandlerResponder(
                handler: handler,
                limits: configuration.limits,
                time: time,
                stalledWriteTimeout: configuration.stalledWriteTimeout
            ),
            server: .http1(configuration: channel),
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
}

/// Hands Hummingbird's requests to the server's handler.
private struct HandlerResponder: HTTPResponder {
    let handler: any HTTPHandler
    let limits: HandlerLimits
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
        let response = await handler.answer(handlerRequest)
        let connection = WatchedConnection(
            time: time,
            timeout: stalledWriteTimeout,
            roundTrip: context.roundTrip,
            close: context.close
        )
        return Response(response, through: connection)
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
