public import ClusterRole

/// What an operator tells nodes to do.
public enum NodeCommand: String, Hashable, Sendable, CaseIterable {
    /// End at once with status 75 (`NodeEnding.restartStatus`), so that a supervisor starts the node anew. Requests
    /// under way are cut off; what was accepted is on disk.
    case restart
    /// Drain, finish requests, hand the spool on, then end as ``restart`` does.
    case gracefulRestart = "graceful-restart"
    /// End at once with status 0.
    case shutdown
    /// Drain, finish requests, hand the spool on, then end with status 0.
    case gracefulShutdown = "graceful-shutdown"
    /// Be not ready for requests, and say so to the cluster, until told otherwise, restarts included.
    case maintenanceOn = "maintenance-on"
    /// End maintenance or draining.
    case maintenanceOff = "maintenance-off"
    /// Be not ready for new requests, and go on with what is there, until told otherwise or restarted.
    case drain

    /// How the node ends by it; `nil` for a command it goes on after.
    public var ending: NodeEnding? {
        switch self {
        case .restart: NodeEnding(isGraceful: false, restarts: true)
        case .gracefulRestart: NodeEnding(isGraceful: true, restarts: true)
        case .shutdown: NodeEnding(isGraceful: false, restarts: false)
        case .gracefulShutdown: NodeEnding(isGraceful: true, restarts: false)
        case .maintenanceOn, .maintenanceOff, .drain: nil
        }
    }
}
