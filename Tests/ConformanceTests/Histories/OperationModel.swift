import ClusterRole
import DeviceRegistry
import OperationQueue

/// What the queue promises, said a second time in as few words as possible: no code of the module
/// decides anything here. Options of enqueue that are added later get a field in ``Work`` and a line
/// in ``offered(to:limit:again:at:)``.
struct OperationModel {
    typealias Target = DeviceIdentity

    /// One request.
    struct Work {
        var id: ActivityID
        var operation: OperationID?
        var number: Int64
        var priority: Int32
        var isStrict: Bool
        var expiresAt: Timestamp?
        var notBefore: Timestamp?
        var targets: [Target]
        var state = ActivityState.open
        var late = 0
        var rows: [Target: Row] = [:]
    }

    /// What happened on one device.
    struct Row {
        var state: ExecutionState
        var attempt: AttemptID?
        var until: Timestamp?
        var lateAnswer: [UInt8]?
    }

    /// What a device says.
    enum Answer {
        case progress(until: Timestamp)
        case outcome(ResultOutcome, detail: [UInt8])
    }

    var works: [Work] = []
    var members: [GroupID: Set<DeviceID>] = [:]
    var enrolled: [DeviceID: Target] = [:]

    // MARK: What is true

    private static let held: Set<ExecutionState> = [.delivered, .inProgress, .cancelRequested]

    static func isFinal(_ state: ExecutionState) -> Bool {
        [.completed, .failed, .timedOut, .expired, .cancelled, .superseded].contains(state)
    }

    func state(of target: Target, in work: Int) -> ExecutionState {
        let row = works[work].rows[target]?.state
        if let row, Self.isFinal(row) { return row }
        let isHeld = row.map(Self.held.contains) ?? false
        switch works[work].state {
        case .open, .finished: return row ?? .pending
        case .cancelled: return isHeld ? .cancelRequested : .cancelled
        case .expired: return isHeld ? row! : .expired
        case .superseded: return isHeld ? row! : .superseded
        }
    }

    /// Works of a device, in the order in which they are offered.
    private func queue(of target: Target) -> [Int] {
        works.indices.filter { works[$0].targets.contains(target) }.sorted {
            works[$0].priority == works[$1].priority
                ? works[$0].number < works[$1].number : works[$0].priority > works[$1].priority
        }
    }

    func cancellations(of target: Target) -> [Int] {
        queue(of: target).filter { state(of: target, in: $0) == .cancelRequested }
    }

    /// What an exchange hands out.
    func offered(to target: Target, limit: Int, again: Bool, at now: Timestamp) -> [Int] {
        var result: [Int] = []
        for work in queue(of: target) where result.count < limit {
            let state = state(of: target, in: work)
            if Self.isFinal(state) || state == .cancelRequested { continue }
            let isOpen = works[work].state == .open
            let runs = works[work].rows[target]?.until.map { $0 > now } ?? false
            let isHeld = Self.held.contains(state)
            if !isHeld, let end = works[work].expiresAt, end <= now { continue }
            if isHeld && runs && !(again && (isOpen || state == .delivered)) { return result }
            let isEarly = !isHeld && works[work].notBefore.map { $0 > now } ?? false
            if isEarly || state == .awaitingConfirmation || (state == .deferred && runs) {
                if works[work].isStrict { return result }
                continue
            }
            if isOpen { result.append(work) }
        }
        return result
    }

    // MARK: What happens

    mutating func hand(
        _ work: Int,
        to target: Target,
        attempt: AttemptID,
        until: Timestamp,
        operation: OperationID
    ) {
        works[work].operation = operation
        var row = works[work].rows[target] ?? Row(state: .pending)
        row.state = .delivered
        row.attempt = attempt
        row.until = until
        works[work].rows[target] = row
    }

    mutating func take(_ answer: Answer, on work: Int, from target: Target, attempt: AttemptID) {
        let now = state(of: target, in: work)
        var row = works[work].rows[target] ?? Row(state: now)
        let isOld = row.attempt != nil && row.attempt != attempt && !Self.isFinal(row.state)
        if isOld && !answer.isFinal { return }
        if Self.isFinal(now) {
            guard case .outcome(let outcome, let detail) = answer, outcome.verdict != now,
                row.lateAnswer != detail
            else { return }
            row.lateAnswer = detail
            works[work].late += 1
        } else if let next = answer.next(from: now) {
            row.state = next.state
            row.until = next.until
        } else {
            return
        }
        works[work].rows[target] = row
        let isDone = works[work].targets.allSatisfy {
            works[work].rows[$0].map { Self.isFinal($0.state) } ?? false
        }
        if isDone && works[work].state == .open { works[work].state = .finished }
    }

    mutating func close(_ work: Int, as state: ActivityState) {
        if works[work].state == .open { works[work].state = state }
    }

    mutating func expire(at now: Timestamp) {
        for work in works.indices {
            if let end = works[work].expiresAt, end <= now { close(work, as: .expired) }
        }
    }
}

extension OperationModel.Answer {
    fileprivate var isFinal: Bool {
        if case .outcome(let outcome, _) = self { outcome.verdict != nil } else { false }
    }

    /// Where an answer takes work that is not final; `nil` if nowhere.
    fileprivate func next(
        from state: ExecutionState
    ) -> (state: ExecutionState, until: Timestamp?)? {
        let isEnding = state == .cancelRequested
        switch self {
        case .progress(let until): return isEnding ? nil : (.inProgress, until)
        case .outcome(.completed, _): return (.completed, nil)
        case .outcome(.failed, _), .outcome(.failedBecause, _): return (.failed, nil)
        case .outcome(.notNow(let until), _):
            return isEnding ? (.cancelled, nil) : (.deferred, until)
        case .outcome(.awaitingConfirmation, _):
            return isEnding ? (.cancelled, nil) : (.awaitingConfirmation, nil)
        case .outcome(.confirmed, _):
            return state == .awaitingConfirmation ? (.confirmed, nil) : nil
        case .outcome(.cancelled, _): return isEnding ? (.cancelled, nil) : nil
        }
    }
}

extension ResultOutcome {
    /// The final state it says, if it says one.
    fileprivate var verdict: ExecutionState? {
        switch self {
        case .completed: .completed
        case .failed, .failedBecause: .failed
        case .cancelled: .cancelled
        case .notNow, .awaitingConfirmation, .confirmed: nil
        }
    }
}
