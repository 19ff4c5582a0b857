internal import ClusterRole

/// What holds in a simulation whatever happens.
public struct SimulationInvariant: RawRepresentable, Hashable, Sendable, CustomStringConvertible,
    ExpressibleByStringLiteral
{
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public init(stringLiteral value: String) { rawValue = value }
    public var description: String { rawValue }

    /// At no moment do two nodes hold the right to write.
    public static let oneCoordinator: SimulationInvariant = "one coordinator"
    /// The store accepts no write of an epoch that is not the newest.
    public static let fencing: SimulationInvariant = "writes of the newest epoch only"
    /// An operation whose enqueuing was acknowledged is there, once.
    public static let enqueuedOnce: SimulationInvariant = "acknowledged operations are there once"
    /// A result whose exchange was answered reaches the store.
    public static let resultsKept: SimulationInvariant = "acknowledged results are kept"
    /// No entry of a spool is applied twice.
    public static let resultsAppliedOnce: SimulationInvariant = "results are applied once"
    /// An execution gets one final state and keeps it.
    public static let oneFinalState: SimulationInvariant = "one final state"
    /// A device is given its operations in the order of their numbers.
    public static let orderPerDevice: SimulationInvariant = "order per device"
    /// What a worker has seen of the store never goes back, restarts included.
    public static let revisionsForward: SimulationInvariant = "revisions never go back"
    /// A request sees one release, whole, and none older than one it saw before.
    public static let atomicActivation: SimulationInvariant = "release N or N+1, never a mixture"
    /// Once everything is well again, all of it agrees.
    public static let convergence: SimulationInvariant = "everything converges"
    /// Nothing runs outside of the simulation.
    public static let noEscape: SimulationInvariant = "no work leaves the simulation"
}

/// An invariant that did not hold.
public struct SimulationFailure: Hashable, Sendable, CustomStringConvertible {
    public var invariant: SimulationInvariant
    public var message: String
    /// How many events there were: a run of the same seed and plan with so many events fails too.
    public var event: Int
    /// The events from the last fault before it on: the shortest part of the trace that tells how it
    /// came.
    public var tail: [SimulationEvent]

    public var description: String {
        let lines = tail.map { "\n    \($0)" }.joined()
        return "\(invariant), at event \(event): \(message)\(lines)"
    }
}

/// What a simulation came to.
public struct SimulationReport: Hashable, Sendable, CustomStringConvertible {
    /// What to run it with again.
    public var seed: UInt64
    public var events: Int
    /// Over every event: equal runs have equal hashes, on every machine and in every process.
    public var hash: UInt64
    /// The simulated time that has passed.
    public var duration: Duration
    /// Jobs that left the simulated executor; 0, or the run cannot be repeated.
    public var escapedJobs: Int
    public var counts: SimulationCounts
    /// In the order in which they were found; at most ``maximumFailures``.
    public var failures: [SimulationFailure]

    /// More are not kept: the first one tells the most.
    public static let maximumFailures = 16

    /// Adds a failure of ``SimulationInvariant/noEscape``.
    mutating func note(_ message: String) {
        failures.append(
            SimulationFailure(invariant: .noEscape, message: message, event: events, tail: [])
        )
    }

    /// Whether every invariant held.
    public var isGood: Bool { failures.isEmpty }

    public var description: String {
        let head =
            "seed \(seed): \(events) events in \(duration), hash \(String(hash, radix: 16)), "
            + "\(failures.count) failures"
        return failures.reduce(head) { "\($0)\n  \($1)" }
    }
}

/// How much happened, so that a test can see that its simulation does something.
public struct SimulationCounts: Hashable, Sendable {
    /// Exchanges of devices that were answered.
    public var exchanges = 0
    /// Those of them that were answered while no manager's process ran.
    public var exchangesWithoutManagers = 0
    /// Results in them.
    public var results = 0
    public var enqueued = 0
    /// How often a manager became the coordinator.
    public var elections = 0
    /// Requests answered from a release.
    public var requests = 0
    /// Lives of processes beyond the first ones.
    public var restarts = 0

    public init() {}
}
