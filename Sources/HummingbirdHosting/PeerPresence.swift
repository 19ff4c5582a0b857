#if Server
internal import NIOCore
internal import Synchronization

/// Whether the peer of a connection is still there, for requests that wait long.
///
/// The server keeps half-closed connections open, because a peer may close its sending side and still
/// read. One that does so while its request waits is taken to be gone.
final class PeerPresence: Sendable {
    private struct State {
        var isGone = false
        var waiting: [UInt64: AsyncStream<Void>.Continuation] = [:]
        var lastID: UInt64 = 0
    }

    private let state = Mutex(State())

    /// Returns once the peer has gone away, or when cancelled.
    func untilGone() async {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        let id = state.withLock { state -> UInt64? in
            if state.isGone { return nil }
            state.lastID += 1
            state.waiting[state.lastID] = continuation
            return state.lastID
        }
        guard let id else { return continuation.finish() }
        for await _ in stream {}
        state.withLock { $0.waiting[id] = nil }
    }

    fileprivate func leave() {
        let waiting = state.withLock { state in
            state.isGone = true
            defer { state.waiting = [:] }
            return state.waiting.values.map { $0 }
        }
        for continuation in waiting { continuation.finish() }
    }
}

/// Notices that the peer has closed its side.
final class PeerPresenceHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Never

    let presence = PeerPresence()

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event as? ChannelEvent == .inputClosed { presence.leave() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        presence.leave()
        context.fireChannelInactive()
    }
}

/// It lives on its event loop.
@available(*, unavailable)
extension PeerPresenceHandler: Sendable {}

extension Channel {
    /// Returns once the peer of this connection has gone away, or when cancelled.
    func untilPeerIsGone() async {
        let presence = try? await eventLoop.submit {
            try self.pipeline.syncOperations.handler(type: PeerPresenceHandler.self).presence
        }.get()
        await presence?.untilGone()
    }
}
#endif
