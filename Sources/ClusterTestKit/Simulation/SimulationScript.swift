public import ClusterRole

/// Which way a partition cuts.
public enum PartitionWay: Hashable, Sendable {
    case both
    /// What the first nodes send is lost; what they are sent arrives.
    case outgoing
    /// The other way.
    case incoming
    /// Both ways, open and shut in turn.
    case flapping(every: Duration)
}

/// One thing a simulation does to its nodes, and when: what a test of one particular story is written
/// with, beside or instead of the faults that the seed draws.
///
/// ```swift
/// plan.script = [
///     .partition(["worker-1"], from: ["manager-1", "manager-2"], at: .seconds(20), for: .seconds(60)),
///     .jumpClock(of: "manager-1", by: .seconds(-3_600), at: .seconds(30)),
///     .crash("worker-2", atPoint: 17),
/// ]
/// ```
public struct SimulationStep: Hashable, Sendable {
    enum Action: Hashable, Sendable {
        case partition([NodeID], [NodeID], PartitionWay, Duration)
        case weather(NetworkWeather, Duration)
        case disk(NodeID, DiskFaults, Duration)
        case jump(NodeID, Duration)
        case pause(NodeID, Duration)
        case pauseAtPoint(NodeID, Int, Duration)
        case crash(NodeID, Duration)
        case crashAtPoint(NodeID, Int, Duration)
    }

    var at: Duration
    var action: Action

    /// Cuts some nodes off from others.
    public static func partition(
        _ nodes: [NodeID],
        from others: [NodeID],
        _ way: PartitionWay = .both,
        at time: Duration,
        for duration: Duration
    ) -> SimulationStep {
        SimulationStep(at: time, action: .partition(nodes, others, way, duration))
    }

    /// Loses messages, each with this probability.
    public static func lose(
        _ share: Double,
        at time: Duration,
        for duration: Duration
    ) -> SimulationStep {
        SimulationStep(at: time, action: .weather(NetworkWeather(loss: share), duration))
    }

    /// Lets every message take its time: messages overtake each other within the range.
    public static func delay(
        _ delay: ClosedRange<Duration>,
        at time: Duration,
        for duration: Duration
    ) -> SimulationStep {
        SimulationStep(at: time, action: .weather(NetworkWeather(delay: delay), duration))
    }

    /// Lets requests arrive twice, each with this probability.
    public static func duplicate(
        _ share: Double,
        at time: Duration,
        for duration: Duration
    ) -> SimulationStep {
        SimulationStep(at: time, action: .weather(NetworkWeather(duplication: share), duration))
    }

    /// Lets messages be overtaken by what was sent long after them, each with this probability.
    public static func reorder(
        _ share: Double,
        at time: Duration,
        for duration: Duration
    ) -> SimulationStep {
        let weather = NetworkWeather(
            delay: .milliseconds(1)...(.milliseconds(100)),
            stragglers: share
        )
        return SimulationStep(at: time, action: .weather(weather, duration))
    }

    /// Exposes every message to this.
    public static func weather(
        _ weather: NetworkWeather,
        at time: Duration,
        for duration: Duration
    ) -> SimulationStep {
        SimulationStep(at: time, action: .weather(weather, duration))
    }

    /// Lets a node's disk fail.
    public static func disk(
        of node: NodeID,
        _ faults: DiskFaults,
        at time: Duration,
        for duration: Duration
    ) -> SimulationStep {
        SimulationStep(at: time, action: .disk(node, faults, duration))
    }

    /// Moves a node's wall clock.
    public static func jumpClock(
        of node: NodeID,
        by duration: Duration,
        at time: Duration
    ) -> SimulationStep {
        SimulationStep(at: time, action: .jump(node, duration))
    }

    /// Stops a node's process for a while.
    public static func pause(
        _ node: NodeID,
        at time: Duration,
        for duration: Duration
    ) -> SimulationStep {
        SimulationStep(at: time, action: .pause(node, duration))
    }

    /// Stops a node's process just after its `number`th call or write, counted from `time` on, was
    /// sent: it is done when the process goes on, which believes that no time has passed.
    public static func pause(
        _ node: NodeID,
        atPoint number: Int,
        from time: Duration = .zero,
        for duration: Duration
    ) -> SimulationStep {
        SimulationStep(at: time, action: .pauseAtPoint(node, number, duration))
    }

    /// Kills a node's process and starts it again.
    public static func crash(
        _ node: NodeID,
        at time: Duration,
        restartAfter restart: Duration = .seconds(5)
    ) -> SimulationStep {
        SimulationStep(at: time, action: .crash(node, restart))
    }

    /// Kills a node's process at its `number`th call or write, counted from `time` on, before that has
    /// any effect. Running through all numbers tries every place a process can die at.
    public static func crash(
        _ node: NodeID,
        atPoint number: Int,
        from time: Duration = .zero,
        restartAfter restart: Duration = .seconds(5)
    ) -> SimulationStep {
        SimulationStep(at: time, action: .crashAtPoint(node, number, restart))
    }
}

/// Faults that the seed draws: how often each comes, on average, over all nodes.
public struct SimulationFaults: Hashable, Sendable {
    /// What messages are exposed to.
    public var weather = NetworkWeather.rough
    /// What workers' disks are exposed to.
    public var disk = DiskFaults(refused: 0.002, poisoned: 0.000_5)
    /// The share of the store's calls that fail, before or after they are done.
    public var storeErrors = 0.005
    /// The mean time between two of the following. 4 s: several at a time.
    public var interval = Duration.seconds(4)
    /// How often each is drawn, against the others.
    public var partitions = 4
    public var pauses = 3
    public var crashes = 3
    public var clockJumps = 2
    /// How long one lasts.
    public var length = Duration.milliseconds(500)...(.seconds(30))

    public init() {}

    /// Nothing goes wrong by itself.
    public static let none: SimulationFaults = {
        var faults = SimulationFaults()
        faults.weather = .fair
        faults.disk = .none
        faults.storeErrors = 0
        (faults.partitions, faults.pauses, faults.crashes, faults.clockJumps) = (0, 0, 0, 0)
        return faults
    }()
}
