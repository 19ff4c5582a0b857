public import ClusterRole
internal import Synchronization

/// What every message of a simulation is exposed to, beside partitions.
public struct NetworkWeather: Hashable, Sendable {
    /// The share of messages that never arrive: 0…1. Requests and answers alike.
    public var loss: Double
    /// The share of requests that arrive twice.
    public var duplication: Double
    /// How long a message is under way. Messages overtake each other within it.
    public var delay: ClosedRange<Duration>
    /// The share of messages that are under way ten times as long as the longest: those that are
    /// overtaken by what was sent long after them.
    public var stragglers: Double

    public init(
        loss: Double = 0,
        duplication: Double = 0,
        delay: ClosedRange<Duration> = .milliseconds(1)...(.milliseconds(10)),
        stragglers: Double = 0
    ) {
        self.loss = loss
        self.duplication = duplication
        self.delay = delay
        self.stragglers = stragglers
    }

    /// Nothing is lost, nothing comes twice.
    public static let fair = NetworkWeather()
    /// One message in fifty is lost, one in thirty comes twice, some come late.
    public static let rough = NetworkWeather(
        loss: 0.02,
        duplication: 0.03,
        delay: .milliseconds(1)...(.milliseconds(60)),
        stragglers: 0.02
    )
}

/// What simulated code meets when a fault hits it.
public struct SimulatedFault: CodedError, Hashable {
    /// The kind of fault.
    public enum Kind: String, Hashable, Sendable {
        /// No answer came in time; whether it was done is not known.
        case unreachable
        /// The disk refused; nothing was written.
        case diskError
        /// The disk failed while it wrote; whether it was written is known after a restart.
        case diskPoisoned
        /// The process is dead. Nothing it does from here on has any effect.
        case crashed
        /// The node asked is not the coordinator.
        case notCoordinator
    }

    public let kind: Kind
    public init(_ kind: Kind) { self.kind = kind }

    public var codeName: String { "testkit.simulated-\(kind.rawValue)" }
    public var category: ErrorCategory { .unavailable }
    public var message: String { "The simulation made this call fail (\(kind.rawValue))." }
}

/// The network of a simulation: calls between nodes, each of whose messages can be lost, late, doubled
/// or cut off.
public final class SimulatedNetwork: Sendable {
    typealias Request = @Sendable () async -> Void

    private struct Cut: Hashable {
        var from: NodeID
        var to: NodeID
    }

    private struct State {
        var weather = NetworkWeather.fair
        /// Counted, because partitions overlap.
        var cuts: [Cut: Int] = [:]
        var servers: [NodeID: AsyncStream<Request>.Continuation] = [:]
    }

    private enum Fate {
        case arrives(after: Duration)
        case isLost
    }

    private let scheduler: SimulatedScheduler
    private let trace: SimulationTrace
    private let random: SeededRandomSource
    private let state = Mutex(State())

    init(_ scheduler: SimulatedScheduler, _ trace: SimulationTrace, random: SeededRandomSource) {
        self.scheduler = scheduler
        self.trace = trace
        self.random = random
    }

    /// What messages are exposed to from now on.
    public var weather: NetworkWeather {
        get { state.withLock { $0.weather } }
        set { state.withLock { $0.weather = newValue } }
    }

    /// Lets nothing pass from one node to another, in this direction, until it is mended as often as it
    /// was cut.
    public func cut(from: NodeID, to: NodeID) {
        state.withLock { $0.cuts[Cut(from: from, to: to), default: 0] += 1 }
    }

    public func mend(from: NodeID, to: NodeID) {
        state.withLock { state in
            let cut = Cut(from: from, to: to)
            guard let count = state.cuts[cut] else { return }
            state.cuts[cut] = count > 1 ? count - 1 : nil
        }
    }

    /// Mends everything and makes the weather fair.
    public func heal() {
        state.withLock { state in
            state.cuts = [:]
            state.weather = .fair
        }
    }

    /// Whether messages pass in this direction.
    public func isOpen(from: NodeID, to: NodeID) -> Bool {
        state.withLock { $0.cuts[Cut(from: from, to: to)] == nil }
    }

    // MARK: - Serving

    /// Serves calls to `node` until the task is cancelled: each in a task of its own.
    public func serve(_ node: NodeID) async {
        let (requests, sink) = AsyncStream.makeStream(of: Request.self)
        state.withLock { $0.servers[node] = sink }
        await withDiscardingTaskGroup { group in
            for await request in requests { group.addTask { await request() } }
        }
    }

    /// Nobody serves `node` any more.
    func close(_ node: NodeID) {
        let server = state.withLock { $0.servers.removeValue(forKey: node) }
        _ = server
    }

    // MARK: - Calling

    /// Has `node` do something and brings the answer back.
    ///
    /// `body` runs on the other node, never, once or twice, perhaps after the caller has given up.
    ///
    /// - Parameters:
    ///   - what: names the call in the trace.
    ///   - from: who calls.
    ///   - node: who is called.
    ///   - limit: how long the caller waits.
    ///   - body: what is done there.
    /// - Throws: ``SimulatedFault`` `unreachable`, or what `body` throws.
    public func call<Answer: Sendable>(
        _ what: StaticString,
        from: NodeID,
        to node: NodeID,
        within limit: Duration = .seconds(3),
        _ body: @escaping @Sendable () async throws -> Answer
    ) async throws -> Answer {
        let wait = SimulatedWait<Answer>()
        let timer = scheduler.after(limit) {
            wait.resolve(.failure(SimulatedFault(.unreachable)))
        }
        defer { scheduler.cancel(timer) }
        let request: Request = { [self] in
            let result: Result<Answer, any Error>
            do { result = .success(try await body()) } catch { result = .failure(error) }
            deliver(what, from: node, to: from) { wait.resolve(result) }
        }
        let copies = random.happens(weather.duplication) ? 2 : 1
        for _ in 0..<copies {
            deliver(what, from: from, to: node) { [self] in
                let server = state.withLock { $0.servers[node] }
                server?.yield(request)
            }
        }
        return try await wait.value()
    }

    /// Sends one message.
    private func deliver(
        _ what: StaticString,
        from: NodeID,
        to: NodeID,
        _ arrive: @escaping @Sendable () -> Void
    ) {
        guard case .arrives(let delay) = fate(from: from, to: to) else {
            trace.note("message lost", at: from)
            return
        }
        scheduler.after(delay) { [self] in
            guard isOpen(from: from, to: to) else { return }
            trace.note(what, at: to)
            arrive()
        }
    }

    private func fate(from: NodeID, to: NodeID) -> Fate {
        let weather = weather
        guard isOpen(from: from, to: to), !random.happens(weather.loss) else { return .isLost }
        let factor = random.happens(weather.stragglers) ? 10 : 1
        return .arrives(after: random.duration(in: weather.delay) * factor)
    }

    // MARK: - A connection of the caller's own

    /// Does something at another node within the caller's own task, as a database's client library
    /// does: the request can be lost before, the answer after it was done, and a caller that is stopped
    /// between sending and arrival does it when it goes on.
    func carry<Answer: Sendable>(
        _ what: StaticString,
        from: NodeID,
        to node: NodeID,
        clock: SimulatedClock,
        within limit: Duration = .seconds(3),
        _ body: () async throws -> Answer
    ) async throws -> Answer {
        try await pass(what, from: from, to: node, clock, limit)
        let result: Result<Answer, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        try await pass(what, from: node, to: from, clock, limit)
        return try result.get()
    }

    private func pass(
        _ what: StaticString,
        from: NodeID,
        to: NodeID,
        _ clock: SimulatedClock,
        _ limit: Duration
    ) async throws {
        if case .arrives(let delay) = fate(from: from, to: to) {
            try await clock.sleep(for: delay)
            if isOpen(from: from, to: to) { return }
        }
        trace.note("message lost", at: from)
        try await clock.sleep(for: limit)
        throw SimulatedFault(.unreachable)
    }
}

extension RandomSource {
    /// Whether something of this probability happens.
    func happens(_ probability: Double) -> Bool {
        probability > 0 && Double(next() >> 11) < probability * 0x1p53
    }

    func duration(in range: ClosedRange<Duration>) -> Duration {
        let low = range.lowerBound.milliseconds
        let span = range.upperBound.milliseconds - low
        return .milliseconds(low + Int64(number(below: UInt64(max(0, span)) + 1)))
    }

    func index(below count: Int) -> Int { Int(number(below: UInt64(max(1, count)))) }
}
