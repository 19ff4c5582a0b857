public import ServiceLifecycle

/// How a node is to end.
public struct NodeEnding: Hashable, Sendable {
    public var isGraceful: Bool
    /// Whether a supervisor is to start it again.
    public var restarts: Bool

    public init(isGraceful: Bool, restarts: Bool) {
        self.isGraceful = isGraceful
        self.restarts = restarts
    }

    /// What a process exits with when it is to be started again: 75, `EX_TEMPFAIL` of sysexits(3). For
    /// systemd: `RestartForceExitStatus=75`.
    public static let restartStatus: Int32 = 75

    /// What the process exits with.
    public var status: Int32 { restarts ? Self.restartStatus : 0 }
}

/// A node that may be told to end, by an operator rather than by a signal.
///
/// It never ends the process by itself: whoever owns that runs it as a service, waits for ``ended()``
/// beside it, shuts down gracefully or at once, and exits with ``NodeEnding/status``.
public protocol CommandedService: Service {
    /// Waits until the node is told to end.
    ///
    /// - Returns: how; `nil` once the task is cancelled.
    func ended() async -> NodeEnding?
}
