#if Server
internal import ClusterRole
internal import HTTPHandling
internal import HummingbirdCore
internal import HummingbirdHTTP2
internal import Logging
internal import NIOCore
internal import NIOSSL
internal import NIOTLS
internal import NodeCertificates
internal import Synchronization

/// The certificate behind the connection whose requests the current task answers.
///
/// Bound once a connection, around everything that is done on it, streams of HTTP/2 included: their
/// channels are children, and asking the parent's TLS handler would cost a hop a request.
enum ConnectedPeer {
    @TaskLocal static var current: PeerCertificate?
}

/// A connection with TLS in front of Hummingbird's own HTTP/1.1 and HTTP/2.
///
/// Hummingbird's TLS channels make their context once and keep what they verified to themselves; this
/// one asks ``ServerTLS`` for the context of each connection, and knows its peer.
struct SecureChannel: HTTPChannelHandler {
    enum Negotiated: Sendable {
        case http1(HTTP1Channel.Value)
        case http2(HTTP2Channel.Value)
    }

    struct Session: Sendable {
        let connection: Negotiated
        let peer: PeerCertificate?
    }

    struct Value: ServerChildChannelValue {
        let session: EventLoopFuture<Session>
        let channel: any Channel
    }

    let tls: ServerTLS
    let http1: HTTP1Channel
    let http2: HTTP2Channel
    var responder: Responder { http1.responder }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let (context, trust) = tls.contextAndTrust()
            let peer = VerifiedPeer(tls: tls, trust: trust, channel: channel)
            let handshake = HandshakeHandler(peer: peer, logger: logger)
            let negotiation = NIOTypedApplicationProtocolNegotiationHandler<Session> { result in
                handshake.onSuccess()
                return self.begin(result, channel, logger).map {
                    Session(connection: $0, peer: peer.certificate)
                }
            }
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(
                NIOSSLServerHandler(
                    context: context,
                    customVerificationCallback: { peer.verify($0, $1) },
                    configuration: .init()
                )
            )
            try pipeline.addHandler(handshake)
            try pipeline.addHandler(negotiation)
            handshake.begin(on: channel, within: tls.handshakeTimeout)
            return Value(session: negotiation.protocolNegotiationResult, channel: channel)
        }
    }

    private func begin(
        _ result: ALPNResult,
        _ channel: any Channel,
        _ logger: Logger
    ) -> EventLoopFuture<Negotiated> {
        if case .negotiated("h2") = result {
            return http2.setup(channel: channel, logger: logger).map { .http2($0) }
        }
        return http1.setup(channel: channel, logger: logger).map { .http1($0) }
    }

    func handle(value: Value, logger: Logger) async {
        let session: Session
        do {
            session = try await value.session.get()
        } catch {
            // The handshake handler has said why.
            return
        }
        await ConnectedPeer.$current.withValue(session.peer) {
            switch session.connection {
            case .http1(let value): await http1.handle(value: value, logger: logger)
            case .http2(let value): await http2.handle(value: value, logger: logger)
            }
        }
    }
}

/// Verifies what the peer of one connection presents, and remembers who it is.
///
/// A session that is resumed without a verification has no peer here, and so no more rights than a
/// stranger.
final class VerifiedPeer: Sendable {
    private let tls: ServerTLS
    private let trust: CertificateTrust
    private let remoteAddress: String?
    private let verified = Mutex<PeerCertificate?>(nil)

    init(tls: ServerTLS, trust: CertificateTrust, channel: any Channel) {
        self.tls = tls
        self.trust = trust
        remoteAddress = channel.remoteAddress?.ipAddress
    }

    var certificate: PeerCertificate? { verified.withLock { $0 } }

    func verify(
        _ chain: [NIOSSLCertificate],
        _ promise: EventLoopPromise<NIOSSLVerificationResult>
    ) {
        promise.completeWithTask {
            do {
                let bytes = try chain.map { try $0.toDERBytes() }
                let peer = try await self.trust.verify(bytes, as: .client, at: self.tls.time.now())
                self.verified.withLock { $0 = peer }
                return .certificateVerified
            } catch {
                self.refuse((error as? any CodedError)?.codeName ?? "certificate.unreadable")
                return .failed
            }
        }
    }

    /// A handshake that ended because the peer presented nothing.
    func refuseWithoutCertificate() { refuse(NodeCertificateError.Code.missing.rawValue) }

    private func refuse(_ code: String) {
        tls.refusals?.refused(
            PeerRefusal(remoteAddress: remoteAddress, verb: PeerRefusal.handshake, code: code)
        )
    }
}

/// Bounds the handshake in time, tells of its failure, and gives up when the server stops meanwhile.
final class HandshakeHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Any

    private let peer: VerifiedPeer
    private let logger: Logger
    private var isUnderWay = true
    private var timeout: Scheduled<Void>?

    init(peer: VerifiedPeer, logger: Logger) {
        self.peer = peer
        self.logger = logger
    }

    func begin(on channel: any Channel, within limit: Duration) {
        timeout = channel.eventLoop.scheduleTask(
            in: .nanoseconds(limit.milliseconds * 1_000_000)
        ) { channel.close(promise: nil) }
    }

    func onSuccess() {
        isUnderWay = false
        timeout?.cancel()
        timeout = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard isUnderWay else { return context.fireErrorCaught(error) }
        logger.debug("A TLS handshake failed", metadata: ["error": "\(error)"])
        if "\(error)".contains("PEER_DID_NOT_RETURN_A_CERTIFICATE") {
            peer.refuseWithoutCertificate()
        }
        context.close(promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if isUnderWay, event is ChannelShouldQuiesceEvent { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        onSuccess()
        context.fireChannelInactive()
    }
}

/// It lives on its event loop.
@available(*, unavailable)
extension HandshakeHandler: Sendable {}
#endif
