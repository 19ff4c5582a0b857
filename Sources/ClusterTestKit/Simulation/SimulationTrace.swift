public import ClusterRole
internal import Synchronization

/// One thing that happened in a simulation.
public struct SimulationEvent: Hashable, Sendable, CustomStringConvertible {
    /// Counted from 1.
    public var number: Int
    /// Since the simulation began.
    public var at: Duration
    public var node: NodeID
    /// What happened, in a few words that never change.
    public var what: String
    /// How much, how many or which.
    public var value: Int64
    /// Whether the simulation did it to the node, rather than the node by itself.
    public var isFault: Bool

    public var description: String {
        let seconds = Double(at.milliseconds) / 1_000
        return "#\(number) \(seconds) s \(node): \(isFault ? "*** " : "")\(what) \(value)"
    }
}

/// What happened in a simulation, in order: a running hash over all of it, and the newest events.
public final class SimulationTrace: Sendable {
    /// The newest events that are kept: more than anybody reads, little enough for thousands of runs.
    public static let maximumKept = 512

    private struct State {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        var count = 0
        var kept: [Kept] = []
        var oldest = 0
    }

    private let scheduler: SimulatedScheduler
    private let state = Mutex(State())
    /// A bare closure would be wrapped once more with each access to the lock.
    private struct Observer: Sendable {
        var call: (@Sendable () -> Void)?
    }

    /// What is kept of an event: its text is made when somebody reads it.
    private struct Kept: Sendable {
        var number: Int
        var at: Duration
        var node: NodeID
        var what: StaticString
        var value: Int64
        var isFault: Bool

        var event: SimulationEvent {
            SimulationEvent(
                number: number,
                at: at,
                node: node,
                what: "\(what)",
                value: value,
                isFault: isFault
            )
        }
    }

    private let observer = Mutex(Observer())

    init(_ scheduler: SimulatedScheduler) { self.scheduler = scheduler }

    /// How many events there were.
    public var count: Int { state.withLock { $0.count } }

    /// FNV-1a over every event so far. Equal runs have equal hashes.
    public var hash: UInt64 { state.withLock { $0.hash } }

    /// The newest events, oldest first, at most ``maximumKept``.
    public var newest: [SimulationEvent] {
        state.withLock { ($0.kept[$0.oldest...] + $0.kept[..<$0.oldest]).map(\.event) }
    }

    /// Notes an event.
    ///
    /// - Parameters:
    ///   - what: what happened.
    ///   - node: where.
    ///   - value: how much; nothing that differs between equal runs, such as a path or an address.
    public func note(_ what: StaticString, at node: NodeID, _ value: Int64 = 0) {
        note(what, at: node, value, isFault: false)
    }

    func note(_ what: StaticString, at node: NodeID, _ value: Int64, isFault: Bool) {
        let now = scheduler.now
        state.withLock { state in
            state.count += 1
            var hash = state.hash
            func mix(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
            func mix(_ number: Int64) {
                // Whole words: the hash only has to tell runs apart.
                hash = (hash ^ UInt64(bitPattern: number)) &* 0x100_0000_01B3
                hash ^= hash >> 29
            }
            what.withUTF8Buffer { for byte in $0 { mix(byte) } }
            for byte in node.rawValue.utf8 { mix(byte) }
            mix(value)
            mix(now.milliseconds)
            state.hash = hash
            let event = Kept(
                number: state.count,
                at: now,
                node: node,
                what: what,
                value: value,
                isFault: isFault
            )
            if state.kept.count < Self.maximumKept {
                state.kept.append(event)
            } else {
                state.kept[state.oldest] = event
                state.oldest = (state.oldest + 1) % Self.maximumKept
            }
        }
        observer.withLock { $0.call }?()
    }

    /// Calls `observer` after each event, until it is replaced.
    func observe(_ observer: (@Sendable () -> Void)?) {
        self.observer.withLock { $0.call = observer }
    }
}
