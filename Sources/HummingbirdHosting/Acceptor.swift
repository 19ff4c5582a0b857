#if Server
internal import Hummingbird
internal import NIOCore
internal import Synchronization

/// The listening channel of a server, as far as accepting connections is concerned.
final class Acceptor: Sendable {
    /// How long connections that were accepted just before a pause are given to be taken up. They need an
    /// event loop's turn; this is a thousand of them.
    static let settleTime = TimeAmount.milliseconds(250)

    private let channel = Mutex<(any Channel)?>(nil)

    func set(_ channel: any Channel) { self.channel.withLock { $0 = channel } }

    /// Accepts nothing more, lets what was accepted settle, and then calls `body`.
    ///
    /// Whoever connects meanwhile waits in the system's backlog and is refused when the server closes.
    func pause(then body: @escaping @Sendable () -> Void) {
        guard let channel = channel.withLock({ $0 }) else { return body() }
        channel.setOption(.autoRead, value: false).whenComplete { _ in
            channel.eventLoop.scheduleTask(in: Self.settleTime) { body() }
        }
    }
}
#endif
