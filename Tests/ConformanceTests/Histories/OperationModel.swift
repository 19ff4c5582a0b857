import ClusterRole
import DeviceRegistry
import OperationQueue

/// What the queue promises, said a second time in as few words as possible: no code of the module
/// decides anything here. Options of enqueue that are added later get a field in ``Work`` and a line
/// in ``standing(of:in:again:at:)``.
struct OperationModel {
    typealias Target = DeviceIdentity

    /// Why nobody new is handed it.
    enum Hold { case none, approval, paused, failures }

    /// One request.
    struct Work {
        var id: ActivityID
        var operation: OperationID?
        var number: Int64
        var code: OperationCode
        var priority: Int32
        var isStrict: Bool
        var expiresAt: Timestamp?
        var notBefore: Timestamp?
        var window: MaintenanceWindow?
        var control: RepetitionControl
        var asksUser: Bool
        var retry: RetryPolicy?
        var timeouts: ExecutionTimeouts
        var after: [(work: Int, stops: Bool)]
        var hold: Hold
        var rollout: RolloutPlan?
        var ceiling: Int32
        var wave = -1
        var released = 0
        var waveBegan: Timestamp?
        var waveSucceeded: Timestamp?
        var group: GroupID?
        var targets: [Target]
        var state = ActivityState.open
        var closedAt: Timestamp?
        var late = 0
        var rows: [Target: Row] = [:]
    }

    /// What happened on one device.
    struct Row {
        var state: ExecutionState
        var attempt: AttemptID?
        var until: Timestamp?
        /// What the queue may choose for `until`, until it is known what it chose.
        var bounds: ClosedRange<Timestamp>?
        /// When this attempt was handed out first.
        var started: Timestamp?
        var retries: Int32 = 0
        var hasAgreed = false
        var lateAnswer: [UInt8]?
    }

    var works: [Work] = []
    var members: [GroupID: Set<DeviceID>] = [:]
    var enrolled: [DeviceID: Target] = [:]
    /// What has had an effect.
    var seen: Set<HistoryTerm> = []

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

    /// How a work stands for a device.
    enum Standing {
        case over, ready, inHand
        /// Nobody knows of it, so it blocks nobody.
        case hidden(HistoryTerm)
        /// It waits by itself: if it is strict, the rest waits with it.
        case waiting(HistoryTerm)
    }

    func standing(
        of target: Target,
        in index: Int,
        again: Bool = false,
        at now: Timestamp
    ) -> Standing {
        let work = works[index]
        let state = state(of: target, in: index)
        if Self.isFinal(state) || state == .cancelRequested { return .over }
        let runs = work.rows[target]?.until.map { $0 > now } ?? false
        if Self.held.contains(state) {
            if runs && !(again && (work.state == .open || state == .delivered)) { return .inHand }
            return work.state == .open ? .ready : .over
        }
        if let end = work.expiresAt, end <= now { return .over }
        if state == .awaitingConfirmation { return .waiting(.confirmation) }
        if state == .deferred && runs { return .waiting(.notNow) }
        if state == .pending && runs { return .waiting(.retry) }
        switch work.hold {
        case .none: break
        case .approval: return .hidden(.approval)
        case .paused: return .hidden(.pause)
        case .failures: return .hidden(.rolloutPause)
        }
        if work.id.rank(of: target.device) >= work.ceiling { return .hidden(.wave) }
        for (other, _) in work.after where works[other].targets.contains(target) {
            let before = self.state(of: target, in: other)
            if before == .completed { continue }
            return .hidden(Self.isFinal(before) ? .failedDependency : .dependency)
        }
        if let start = work.notBefore, start > now { return .waiting(.notBefore) }
        if let window = work.window, !window.isOpenDaily(at: now) { return .waiting(.window) }
        return .ready
    }

    /// What an exchange hands out.
    func offered(to target: Target, limit: Int, again: Bool, at now: Timestamp) -> [Int] {
        var result: [Int] = []
        for work in queue(of: target) where result.count < limit {
            switch standing(of: target, in: work, again: again, at: now) {
            case .over, .hidden: continue
            case .ready: result.append(work)
            case .inHand: return result
            case .waiting: if works[work].isStrict { return result }
            }
        }
        return result
    }

    /// Remembers what keeps work back from a device.
    mutating func noteStandings(of target: Target, at now: Timestamp) {
        for work in queue(of: target) {
            switch standing(of: target, in: work, at: now) {
            case .hidden(let term): seen.insert(term)
            case .waiting(let term):
                seen.insert(term)
                if works[work].isStrict { seen.insert(.strict) }
            case .over, .ready, .inHand: continue
            }
        }
    }

    // MARK: What is done in place of what

    /// Ends, when a device polls, what it need not do because it does another work instead.
    mutating func supersede(for target: Target, at now: Timestamp) {
        let present = queue(of: target).filter {
            switch standing(of: target, in: $0, at: now) {
            case .over, .hidden, .waiting(.notBefore): false
            case .ready, .inHand, .waiting: works[$0].control != .always
            }
        }
        let ended = present.filter {
            isUntouched($0, target) && isReplaced($0, by: present, target)
        }
        for work in ended {
            seen.insert(works[work].control == .noRepeat ? .noRepeat : .supersede)
            end(work, on: target, as: .superseded)
        }
    }

    private func isUntouched(_ work: Int, _ target: Target) -> Bool {
        works[work].rows[target] == nil
    }

    private func isReplaced(_ index: Int, by present: [Int], _ target: Target) -> Bool {
        let work = works[index]
        return present.contains { other in
            if other == index || works[other].control != work.control { return false }
            if work.control != .noRepeat { return works[other].number > work.number }
            return works[other].code == work.code
                && (!isUntouched(other, target) || works[other].number < work.number)
        }
    }

    /// A work that everybody may have at once closes older ones for the very same target.
    private mutating func replaceOlder(than index: Int, at now: Timestamp) {
        let work = works[index]
        guard case .supersede = work.control, work.state == .open, work.hold == .none,
            work.rollout == nil, work.after.isEmpty, work.notBefore.map({ $0 <= now }) ?? true,
            work.window.map({ $0.isOpenDaily(at: now) }) ?? true
        else { return }
        for older in works.indices.dropLast()
        where works[older].state == .open && works[older].control == work.control
            && works[older].group == work.group
            && (work.group != nil || works[older].targets == work.targets)
        {
            seen.insert(.supersededWhole)
            close(older, as: .superseded, at: now)
        }
    }

    // MARK: What happens

    mutating func enqueue(_ work: Work, at now: Timestamp) {
        works.append(work)
        if work.targets.isEmpty { works[works.count - 1].state = .finished }
        replaceOlder(than: works.count - 1, at: now)
    }

    mutating func hand(
        _ work: Int,
        to target: Target,
        attempt: AttemptID,
        until: Timestamp,
        operation: OperationID,
        at now: Timestamp
    ) {
        works[work].operation = operation
        var row = works[work].rows[target] ?? Row(state: .pending)
        row.state = .delivered
        row.attempt = attempt
        row.until = until
        row.started = row.started ?? now
        works[work].rows[target] = row
    }

    mutating func close(_ work: Int, as state: ActivityState, at now: Timestamp) {
        guard works[work].state == .open else { return }
        works[work].state = state
        works[work].closedAt = now
    }

    mutating func expire(at now: Timestamp) {
        for work in works.indices {
            if let end = works[work].expiresAt, end <= now {
                if works[work].state == .open { seen.insert(.expiry) }
                close(work, as: .expired, at: now)
            }
        }
    }

    /// Gives one execution its final state.
    mutating func end(_ work: Int, on target: Target, as state: ExecutionState) {
        var row = works[work].rows[target] ?? Row(state: .pending)
        row.state = state
        row.until = nil
        row.bounds = nil
        works[work].rows[target] = row
        let isDone = works[work].targets.allSatisfy {
            works[work].rows[$0].map { Self.isFinal($0.state) } ?? false
        }
        if isDone && works[work].state == .open { works[work].state = .finished }
        if state == .completed { return }
        for behind in works.indices
        where works[behind].state == .open && works[behind].targets.contains(target)
            && works[behind].after.contains(where: { $0.work == work && $0.stops })
            && !Self.isFinal(self.state(of: target, in: behind))
        {
            seen.insert(.stop)
            end(behind, on: target, as: .cancelled)
        }
    }
}

extension MaintenanceWindow {
    /// Whether a window of each day, by UTC, is open: all that the histories ask for.
    func isOpenDaily(at now: Timestamp) -> Bool {
        let day: Int64 = 86_400_000
        let into = (now.milliseconds - Int64(start) * 60_000) % day
        return (into < 0 ? into + day : into) < duration.milliseconds
    }
}
