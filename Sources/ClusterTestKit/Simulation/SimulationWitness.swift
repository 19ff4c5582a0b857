internal import ArtifactStore
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import Synchronization

/// Sees everything, takes part in nothing: compares what was promised with what became of it.
final class SimulationWitness: Sendable {
    /// What the store's drivers have been seen to do to one spool.
    struct SpoolSeen: Sendable {
        var applied: Int64 = 0
        var mark: Int64 = 0
    }

    struct Enqueued: Sendable {
        var activity: ActivityID
        var isCancelled = false
    }

    struct State: Sendable {
        var failures: [SimulationFailure] = []
        var counts = SimulationCounts()
        var spools: [IncarnationID: SpoolSeen] = [:]
        /// By their admin's key.
        var enqueued: [String: Enqueued] = [:]
        /// The numbers of operations.
        var numbers: [OperationID: Int64] = [:]
        /// Those an administrator has begun to cancel: a worker that has not heard of it may still give
        /// them out.
        var cancelled: Set<Int64> = []
        /// Results whose exchange was answered, in the order of the answers.
        var acknowledged: [(id: ExecutionID, detail: [UInt8], by: Int)] = []
        /// The newest revision and epoch each worker was seen at.
        var reached: [NodeID: (revision: Revision, epoch: Epoch)] = [:]
        /// The newest operation each device was given for the first time.
        var given: [DeviceID: (newest: Int64, all: Set<OperationID>)] = [:]
        /// The newest release a request of each worker saw.
        var served: [NodeID: ReleaseNumber] = [:]
        /// Who may write, as far as they themselves believe.
        var holders: [@Sendable () -> NodeID?] = []
        var extra: [(SimulationInvariant, @Sendable () -> String?)] = []
    }

    private let trace: SimulationTrace
    private let state = Mutex(State())

    init(_ trace: SimulationTrace) { self.trace = trace }

    func change<Result: Sendable>(_ body: (inout State) -> Result) -> Result {
        state.withLock { body(&$0) }
    }

    var failures: [SimulationFailure] { state.withLock { $0.failures } }
    var counts: SimulationCounts { state.withLock { $0.counts } }

    /// Notes that an invariant did not hold; the first time of each is kept.
    func fail(_ invariant: SimulationInvariant, _ message: String) {
        let newest = trace.newest
        let event = trace.count
        let isNew = state.withLock { state in
            guard state.failures.count < SimulationReport.maximumFailures,
                !state.failures.contains(where: { $0.invariant == invariant })
            else { return false }
            state.failures.append(
                SimulationFailure(
                    invariant: invariant,
                    message: message,
                    event: event,
                    tail: Self.tail(of: newest)
                )
            )
            return true
        }
        if isNew { trace.note("an invariant failed", at: NodeID(rawValue: "witness")) }
    }

    /// From the last fault on, with as many lines before it as people need to see what it hit.
    private static func tail(of events: [SimulationEvent]) -> [SimulationEvent] {
        let fault = events.lastIndex { $0.isFault } ?? max(0, events.count - 20)
        let first = max(0, min(fault, events.count - 12))
        return Array(events[max(first, events.count - 60)...])
    }

    // MARK: - After each event

    func check() {
        let (holders, extra) = state.withLock { ($0.holders, $0.extra) }
        let present = holders.compactMap { $0() }
        if present.count > 1 {
            fail(.oneCoordinator, "\(present.map(\.rawValue)) hold the right to write at once.")
        }
        for (invariant, look) in extra {
            if let message = look() { fail(invariant, message) }
        }
    }

    // MARK: - The store

    /// A write by a holder of `epoch` took a revision while the store was at `current`.
    func onWrite(by node: NodeID, epoch: Epoch, current: Epoch) {
        if epoch < current {
            fail(.fencing, "\(node) wrote with \(epoch); the store is at \(current).")
        }
    }

    func onApplied(_ receipt: ApplyReceipt) {
        guard let mark = receipt.mark else { return }
        let seen = state.withLock { state in
            state.spools[mark.incarnation, default: SpoolSeen()].applied +=
                Int64(receipt.applied + receipt.rejected)
            let newest = max(state.spools[mark.incarnation]?.mark ?? 0, mark.number)
            state.spools[mark.incarnation]?.mark = newest
            return state.spools[mark.incarnation] ?? SpoolSeen()
        }
        if seen.applied > seen.mark {
            fail(
                .resultsAppliedOnce,
                "\(seen.applied) entries of a spool of \(mark.node) were applied; it has \(seen.mark)."
            )
        }
    }

    func onEnqueued(_ operation: DeviceOperation) {
        state.withLock { $0.numbers[operation.id] = operation.number }
    }

    // MARK: - Workers

    func onReached(_ revision: Revision, _ epoch: Epoch, by node: NodeID) {
        let before = state.withLock { state in
            defer { state.reached[node] = (revision, epoch) }
            return state.reached[node]
        }
        guard let before, before.revision.history == revision.history else { return }
        if revision.number < before.revision.number || epoch < before.epoch {
            fail(
                .revisionsForward,
                "\(node) was at \(before.revision.number) of \(before.epoch), and is at "
                    + "\(revision.number) of \(epoch)."
            )
        }
    }

    /// A request was answered from this release.
    func onServed(_ number: ReleaseNumber, by node: NodeID) {
        let before = state.withLock { state in
            state.counts.requests += 1
            defer { state.served[node] = max(number, state.served[node] ?? number) }
            return state.served[node]
        }
        if let before, number < before {
            fail(.atomicActivation, "\(node) served release \(before), and then \(number).")
        }
    }

    // MARK: - Devices

    /// A device was given these, in this order.
    func onGiven(_ operations: [OperationID], to device: DeviceID) {
        let wrong = state.withLock { state -> String? in
            var known = state.given[device] ?? (0, [])
            defer { state.given[device] = known }
            var inAnswer: Int64 = 0
            for id in operations {
                let number = state.numbers[id]
                let isFirst = known.all.insert(id).inserted
                guard let number, !state.cancelled.contains(number) else { continue }
                if number < inAnswer || isFirst && number < known.newest {
                    return
                        "\(device) was given operation \(number) after \(max(inAnswer, known.newest))."
                }
                inAnswer = number
                known.newest = max(known.newest, number)
            }
            return nil
        }
        if let wrong { fail(.orderPerDevice, wrong) }
    }

    func onAcknowledged(_ results: [ExecutionResult]) {
        state.withLock { state in
            state.counts.results += results.count
            let event = trace.count
            state.acknowledged += results.map { ($0.execution, $0.detail, event) }
        }
    }
}
