internal import ClusterRole
internal import Synchronization

/// How a simulated disk fails.
public struct DiskFaults: Hashable, Sendable {
    /// The share of writes that are refused: nothing is written.
    public var refused: Double
    /// The share of writes that fail while they are made durable: they may be there after a restart,
    /// and until then nothing can be written any more.
    public var poisoned: Double

    public init(refused: Double = 0, poisoned: Double = 0) {
        self.refused = refused
        self.poisoned = poisoned
    }

    public static let none = DiskFaults()
}

/// What a node keeps across crashes. A change is there as a whole or not at all.
public final class SimulatedDisk<Contents: Sendable>: Sendable {
    private struct State {
        var contents: Contents
        /// The life in which a write failed half way.
        var poisonedIn: Int?
    }

    private let state: Mutex<State>
    /// How long a write takes.
    private let latency: ClosedRange<Duration> = .milliseconds(0)...(.milliseconds(8))

    /// - Parameter contents: what is on it at first.
    public init(_ contents: Contents) { state = Mutex(State(contents: contents)) }

    /// Reads what is durable.
    public func read<Result: Sendable>(_ body: (Contents) throws -> Result) rethrows -> Result {
        try state.withLock { try body($0.contents) }
    }

    /// Changes what is durable. It takes a while; a process that dies meanwhile has changed nothing.
    ///
    /// - Parameters:
    ///   - life: whose write it is.
    ///   - body: makes the change. If it throws, nothing is changed.
    /// - Throws: ``SimulatedFault``, or what `body` throws.
    public func write<Result: Sendable>(
        by life: SimulatedLife,
        _ body: @Sendable (inout Contents) throws -> Result
    ) async throws -> Result {
        let node = life.node
        try await node.point(of: life)
        try await node.clock.sleep(for: node.random.duration(in: latency))
        if life.isOver { throw SimulatedFault(.crashed) }
        let faults = node.diskFaults.withLock { $0 }
        if state.withLock({ $0.poisonedIn == life.number }) {
            throw SimulatedFault(.diskPoisoned)
        }
        if node.random.happens(faults.refused) {
            node.trace.note("disk refused a write", at: node.id, 0, isFault: true)
            throw SimulatedFault(.diskError)
        }
        let isPoisoned = node.random.happens(faults.poisoned)
        let isWritten = !isPoisoned || node.random.happens(0.5)
        let result = try state.withLock { state -> Result? in
            guard isWritten else { return nil }
            return try body(&state.contents)
        }
        if let result, !isPoisoned { return result }
        state.withLock { $0.poisonedIn = life.number }
        node.trace.note("disk failed", at: node.id, isWritten ? 1 : 0, isFault: true)
        // What is durable is not known any more: a service of this kind is restarted by its supervisor.
        node.scheduler.after(.milliseconds(1_500)) { [weak node] in
            guard let node, !life.isOver else { return }
            node.crash(restartAfter: .seconds(2))
        }
        throw SimulatedFault(.diskPoisoned)
    }
}
