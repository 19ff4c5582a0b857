import ClusterMembership
import ClusterRole
import ClusterTestKit

/// Several nodes' cores over one table of slots, in simulated time: every call takes a while, and the
/// order of everything follows from the seed.
struct TaskSimulation {
    enum Action {
        case deliver(node: Int, life: Int, Answer)
        case store(node: Int, life: Int, askedAt: Duration, ClusterTaskCore.Directive)
        case bodyEnds(node: Int, life: Int, TaskRun)
    }

    enum Answer {
        case tick(Int)
        case renewed([TaskSlot], of: [TaskSlotClaim], askedAt: Duration)
        case looked([TaskSlot], [Member])
        case acquired([TaskSlot], of: [TaskSlotID], askedAt: Duration)
        case released
        case advanced(TaskSlotClaim)
        case advanceFailed(TaskSlotClaim, isLost: Bool)
        case ended(TaskRun)
    }

    struct Node {
        var name: NodeID
        var core: ClusterTaskCore
        var life = 0
        var isUp = false
        var isLeaving = false
        var timer = 0
        /// Frozen until then: it neither acts nor ends anything.
        var pausedUntil = Duration.zero
        /// When its going was noticed by the others.
        var goneAt: Duration?
        var bodies: [TaskRun] = []
    }

    struct Pending {
        var at: Duration
        var number: Int
        var action: Action
    }

    let random: SeededRandomSource
    let tasks: [ClusterTask]
    var table = TaskSlotTable()
    var nodes: [Node] = []
    var now = Duration.zero
    var queue: [Pending] = []
    var numbered = 0
    /// Starts and effects by run.
    var starts: [String: Int] = [:]
    var effects: [String: Int] = [:]
    var dues: [TaskSlotID: [Timestamp]] = [:]
    var skipped = 0
    var problems: [String] = []
    /// Failure detection takes so long.
    let detection = Duration.seconds(5)

    init(seed: UInt64, nodes count: Int, tasks: [ClusterTask]) {
        random = SeededRandomSource(seed: seed)
        self.tasks = tasks
        for index in 0..<count {
            let name = NodeID(rawValue: "node-\(index)")
            nodes.append(Node(name: name, core: Self.core(name, tasks)))
        }
    }

    private static func core(_ name: NodeID, _ tasks: [ClusterTask]) -> ClusterTaskCore {
        ClusterTaskCore(
            node: name,
            tasks: tasks,
            timing: .standard,
            handOverLimit: .seconds(20)
        )
    }

    var wall: Timestamp { ManualTimeSource.standardStart + now }

    // MARK: What a schedule does

    mutating func start(_ index: Int) {
        nodes[index].life += 1
        nodes[index].core = Self.core(nodes[index].name, tasks)
        nodes[index].isUp = true
        nodes[index].isLeaving = false
        nodes[index].goneAt = nil
        nodes[index].bodies = []
        perform(nodes[index].core.onStart(at: moment), on: index)
    }

    mutating func shutDown(_ index: Int) {
        nodes[index].isLeaving = true
        perform(nodes[index].core.onShutdown(at: moment), on: index)
    }

    /// Without a good-bye: nothing it had under way happens any more.
    mutating func crash(_ index: Int) {
        nodes[index].isUp = false
        nodes[index].goneAt = now + detection
        nodes[index].bodies = []
    }

    mutating func pause(_ index: Int, for duration: Duration) {
        nodes[index].pausedUntil = now + duration
    }

    mutating func run(for duration: Duration) {
        let end = now + duration
        while let next = popNext(until: end) {
            now = max(now, next.at)
            act(next)
        }
        now = end
    }

    // MARK: The machine

    var moment: ClusterTaskCore.Moment { .init(wall: wall, monotonic: now) }

    private func delay(upTo milliseconds: UInt64) -> Duration {
        .milliseconds(Int64(random.number(below: milliseconds) + 1))
    }

    private mutating func push(_ action: Action, after delay: Duration) {
        numbered += 1
        queue.append(Pending(at: now + delay, number: numbered, action: action))
    }

    private mutating func popNext(until end: Duration) -> Pending? {
        let index = queue.indices.min {
            (queue[$0].at, queue[$0].number) < (queue[$1].at, queue[$1].number)
        }
        guard let index, queue[index].at <= end else { return nil }
        return queue.remove(at: index)
    }

    private mutating func act(_ pending: Pending) {
        switch pending.action {
        case .deliver(let node, let life, let answer):
            guard isThere(node, life, or: pending) else { return }
            deliver(answer, to: node)
        case .bodyEnds(let node, let life, let run):
            guard isThere(node, life, or: pending), nodes[node].bodies.contains(run) else { return }
            nodes[node].bodies.removeAll { $0 == run }
            // The effect is fenced by the slot's epoch, as a store would.
            let slot = table.slots(at: now).first { $0.id == run.slot }
            // A second attempt finds it done by its key.
            if slot?.epoch == run.epoch, effects[run.key] == nil { effects[run.key] = 1 }
            deliver(.ended(run), to: node)
        case .store(let node, let life, let askedAt, let directive):
            // What was sent reaches the store whatever became of the sender.
            answer(directive, node, life, askedAt)
        }
    }

    /// A paused node's events wait for it.
    private mutating func isThere(_ node: Int, _ life: Int, or pending: Pending) -> Bool {
        guard nodes[node].isUp, nodes[node].life == life else { return false }
        guard nodes[node].pausedUntil <= now else {
            var later = pending
            later.at = nodes[node].pausedUntil
            queue.append(later)
            return false
        }
        return true
    }

    private mutating func deliver(_ answer: Answer, to node: Int) {
        let at = moment
        let directives: [ClusterTaskCore.Directive]
        switch answer {
        case .tick(let number):
            guard number == nodes[node].timer else { return }
            directives = nodes[node].core.onTick(at: at)
        case .renewed(let slots, let claims, let askedAt):
            directives = nodes[node].core
                .onRenewed(slots, of: claims, askedAt: askedAt, at: at)
        case .looked(let slots, let members):
            directives = nodes[node].core.onLooked(slots, members, at: at)
        case .acquired(let slots, let asked, let askedAt):
            directives = nodes[node].core
                .onAcquired(slots, of: asked, askedAt: askedAt, at: at)
        case .released: directives = nodes[node].core.onReleased(at: at)
        case .advanced(let claim): directives = nodes[node].core.onAdvanced(claim, at: at)
        case .advanceFailed(let claim, let isLost):
            directives = nodes[node].core.onAdvanceFailed(claim, isLost: isLost, at: at)
        case .ended(let run): directives = nodes[node].core.onRunEnded(run, at: at)
        }
        perform(directives, on: node)
    }

    private mutating func perform(_ directives: [ClusterTaskCore.Directive], on node: Int) {
        let life = nodes[node].life
        for directive in directives {
            switch directive {
            case .look, .acquire, .release, .advance:
                push(
                    .store(node: node, life: life, askedAt: now, directive),
                    after: delay(upTo: 40)
                )
            case .start(let run): begin(run, on: node)
            case .cancel(let run):
                nodes[node].bodies.removeAll { $0 == run }
                push(.deliver(node: node, life: life, .ended(run)), after: delay(upTo: 5))
            case .scheduleNext(let after):
                nodes[node].timer += 1
                push(.deliver(node: node, life: life, .tick(nodes[node].timer)), after: after)
            case .stop:
                nodes[node].isUp = false
                nodes[node].goneAt = now
            }
        }
    }

    private mutating func begin(_ run: TaskRun, on node: Int) {
        for other in nodes where other.isUp && other.pausedUntil <= now {
            if let body = other.bodies.first(where: { $0.slot == run.slot }) {
                problems.append("\(now): \(run.key) begins while \(body.key) runs on \(other.name)")
            }
        }
        starts[run.key, default: 0] += 1
        // A first attempt may have been stored by a node that was lost before it began.
        if dues[run.slot]?.contains(run.due) != true {
            dues[run.slot, default: []].append(run.due)
            skipped += run.skipped
        }
        nodes[node].bodies.append(run)
        push(
            .bodyEnds(node: node, life: nodes[node].life, run),
            after: delay(upTo: 3_000)
        )
    }

    /// The store does what it is asked, and its answer goes back.
    private mutating func answer(
        _ directive: ClusterTaskCore.Directive,
        _ node: Int,
        _ life: Int,
        _ askedAt: Duration
    ) {
        var answers: [Answer] = []
        let duration = LeaseTiming.standard.duration
        switch directive {
        case .look(let claims):
            let renewed = claims.compactMap { table.renew($0, duration: duration, at: now) }
            answers.append(.renewed(renewed, of: claims, askedAt: askedAt))
            answers.append(.looked(table.slots(at: now), members))
        case .acquire(let slots):
            let name = nodes[node].name
            let taken = slots.compactMap {
                table.acquire($0, holder: name, duration: duration, at: now)
            }
            answers.append(.acquired(taken, of: slots, askedAt: askedAt))
        case .release(let claims):
            for claim in claims { table.release(claim) }
            answers.append(.released)
        case .advance(let claim, let progress):
            do {
                try table.advance(claim, to: progress)
                // Now and then the answer is lost: the holder must ask again without harm.
                let isLost = random.number(below: 50) == 0
                answers.append(
                    isLost ? .advanceFailed(claim, isLost: false) : .advanced(claim)
                )
            } catch {
                answers.append(.advanceFailed(claim, isLost: true))
            }
        default: break
        }
        let pause = delay(upTo: 40)
        for answer in answers {
            push(.deliver(node: node, life: life, answer), after: pause)
        }
    }

    private var members: [Member] {
        nodes.compactMap { node in
            if node.life == 0 { return nil }
            var member = Member(
                node: node.name,
                role: .manager,
                domain: .standard(for: .manager),
                properties: ClusterTask.announcement(of: tasks),
                joinedAt: wall,
                lastHeard: wall
            )
            if let goneAt = node.goneAt, goneAt <= now { member.state = .failed }
            if node.isLeaving { member.state = .left }
            return member
        }
    }
}
