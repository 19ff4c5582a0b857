public import ClusterRole

/// The name of a cluster task, such as `retention`. Unique in the cluster.
public struct ClusterTaskName: NameIdentifier {
    public static let noun = "cluster task"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}

/// Work that the cluster does again and again, each time on one node only.
///
/// A task of one slot is a **singleton**. A task of several is **partitioned**: each slot is a part of
/// the work (a range of devices, say), placed by itself, so that nodes share it.
///
/// ```swift
/// let cleaning = ClusterTask("cleaning", every: .seconds(300))
/// let asking = ClusterTask("asking", slots: 16, every: .seconds(10), missed: .catchUp(atMost: 60))
/// ```
///
/// Due times lie on a grid, ``begins`` plus a multiple of ``frequency``, which every node computes alike.
public struct ClusterTask: Hashable, Sendable {
    public var name: ClusterTaskName
    /// How many parts it has; see ``maximumSlots``. Fewer slots than before leave the others unused.
    public var slots: Int
    /// The time from one due time to the next; at least ``minimumFrequency``.
    public var frequency: Duration
    /// The first due time, and where the grid is anchored.
    public var begins: Timestamp
    /// What happens to due times at which no node was there.
    public var missed: MissedRunPolicy
    /// Where it may run, and where it runs best.
    public var placement: TaskPlacement
    /// A slot is not begun for the first time before so many members may run the task: a cluster that
    /// starts does not put all of it on the first node.
    public var waitsForMembers: Int

    /// The most slots. 1,024: each is a row that its holder renews every few seconds.
    public static let maximumSlots = 1_024
    /// The least frequency. A second: every run is two writes to the store.
    public static let minimumFrequency = Duration.seconds(1)

    public init(
        _ name: ClusterTaskName,
        slots: Int = 1,
        every frequency: Duration,
        begins: Timestamp = .distantPast,
        missed: MissedRunPolicy = .skip,
        placement: TaskPlacement = TaskPlacement(),
        waitsForMembers: Int = 1
    ) {
        self.name = name
        self.slots = slots
        self.frequency = frequency
        self.begins = begins
        self.missed = missed
        self.placement = placement
        self.waitsForMembers = waitsForMembers
    }

    /// Refuses what cannot be placed or kept.
    ///
    /// - Throws: ``ClusterMembershipError`` with code `invalidTask`.
    public func validate() throws(ClusterMembershipError) {
        do {
            _ = try ClusterTaskName(validating: name.rawValue)
        } catch {
            throw ClusterMembershipError(.invalidTask, error.message, cause: error)
        }
        guard (1...Self.maximumSlots).contains(slots), frequency >= Self.minimumFrequency,
            frequency.milliseconds <= Timestamp.distantFuture.milliseconds, waitsForMembers >= 0
        else {
            throw ClusterMembershipError(
                .invalidTask,
                "The task \(name) needs 1 to \(Self.maximumSlots) slots and a frequency of at least "
                    + "\(Self.minimumFrequency)."
            )
        }
        if case .catchUp(let most) = missed, most < 1 {
            throw ClusterMembershipError(
                .invalidTask,
                "The task \(name) catches up on at least one missed run; or let it skip them."
            )
        }
    }

    /// The property by which a member says which tasks it runs: a node that is not upgraded yet is not
    /// given a task that only newer ones know.
    public static let announcement = "reeve.tasks"

    /// The property of a member that runs `tasks`, to be given to its ``Member/properties``.
    public static func announcement(of tasks: [ClusterTask]) -> [String: String] {
        [announcement: tasks.map(\.name.rawValue).sorted().joined(separator: " ")]
    }
}

/// What happens to due times at which no node was there to run a task.
public enum MissedRunPolicy: Hashable, Sendable {
    /// Of several due times that have passed only the newest is run; the others are counted in
    /// ``TaskRun/skipped``. A run that is merely late is not missed.
    case skip
    /// Every due time is run, oldest first, but not more than the newest `atMost`; what is older is
    /// counted in ``TaskRun/skipped``.
    case catchUp(atMost: Int)
}

/// Which members may run a task, and which of them are better.
public struct TaskPlacement: Hashable, Sendable {
    public var roles: Set<NodeRole>
    /// The domain or sub-domain a member must be in; `nil` for any.
    public var domain: ClusterDomain?
    /// Properties a member must have, with these values.
    public var properties: [String: String]
    /// If some members have all of these properties as well, only they are used.
    public var preferred: [String: String]
    /// The only nodes that are eligible; `nil` for any.
    public var nodes: Set<NodeID>?

    /// - Parameters:
    ///   - roles: those that may write, unless said otherwise.
    ///   - domain: see ``domain``.
    ///   - properties: see ``properties``.
    ///   - preferred: see ``preferred``.
    ///   - nodes: see ``nodes``.
    public init(
        roles: Set<NodeRole> = [.manager, .combined],
        domain: ClusterDomain? = nil,
        properties: [String: String] = [:],
        preferred: [String: String] = [:],
        nodes: Set<NodeID>? = nil
    ) {
        self.roles = roles
        self.domain = domain
        self.properties = properties
        self.preferred = preferred
        self.nodes = nodes
    }
}
