public import ClusterRole
internal import Synchronization

/// Names a driver's method in a ``FaultScript``. A method of your own driver is a literal.
public struct DriverMethod: RawRepresentable, Hashable, Sendable, ExpressibleByStringLiteral,
    CustomStringConvertible
{
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public init(stringLiteral value: String) { rawValue = value }
    public var description: String { rawValue }

    public static let enqueue: DriverMethod = "enqueue"
    public static let change: DriverMethod = "change"
    public static let command: DriverMethod = "command"
    public static let cancelAll: DriverMethod = "cancelAll"
    public static let fireTimers: DriverMethod = "fireTimers"
    public static let rollouts: DriverMethod = "rollouts"
    public static let addressedCount: DriverMethod = "addressedCount"
    public static let wakeUp: DriverMethod = "wakeUp"
    public static let apply: DriverMethod = "apply"
    public static let expired: DriverMethod = "expired"
    public static let openWork: DriverMethod = "openWork"
    public static let activity: DriverMethod = "activity"
    public static let activities: DriverMethod = "activities"
    public static let executions: DriverMethod = "executions"
    public static let events: DriverMethod = "events"
    public static let largeResult: DriverMethod = "largeResult"
    public static let chunk: DriverMethod = "chunk"
    public static let clearUploads: DriverMethod = "clearUploads"
    public static let closedActivities: DriverMethod = "closedActivities"
    public static let historyCounts: DriverMethod = "historyCounts"
    public static let purge: DriverMethod = "purge"
    public static let forgetEvidence: DriverMethod = "forgetEvidence"
    public static let forgetDevices: DriverMethod = "forgetDevices"
    public static let commit: DriverMethod = "commit"
    public static let device: DriverMethod = "device"
    public static let devices: DriverMethod = "devices"
    public static let groups: DriverMethod = "groups"
    public static let information: DriverMethod = "information"
    public static let profile: DriverMethod = "profile"
    public static let locations: DriverMethod = "locations"
    public static let history: DriverMethod = "history"
    public static let livenessCounts: DriverMethod = "livenessCounts"
    public static let contacts: DriverMethod = "contacts"
    public static let unsettledGroups: DriverMethod = "unsettledGroups"
    public static let accept: DriverMethod = "accept"
    public static let expand: DriverMethod = "expand"
    public static let due: DriverMethod = "due"
    public static let settle: DriverMethod = "settle"
    public static let nextDue: DriverMethod = "nextDue"
    public static let counters: DriverMethod = "counters"
    public static let wake: DriverMethod = "wake"
    public static let acquire: DriverMethod = "acquire"
    public static let renew: DriverMethod = "renew"
    public static let release: DriverMethod = "release"
    public static let page: DriverMethod = "page"
    public static let currentRevision: DriverMethod = "currentRevision"
}

/// What a failing driver throws unless the script names another error.
public struct InjectedFault: CodedError {
    public let method: DriverMethod
    /// Which call of the method it was, counted from 1.
    public let call: Int
    /// Whether the call had been applied before it failed: the caller cannot know.
    public let isAfterCommit: Bool

    public var codeName: String { "testkit.injected-fault" }
    public var category: ErrorCategory { .unavailable }
    public var message: String {
        "A test made call \(call) of \(method) fail\(isAfterCommit ? " after it was applied" : "")."
    }
}

/// Says which calls of a driver fail, wait, or are applied and then fail. Shared by as many failing
/// decorators as take part in one test.
///
/// ```swift
/// let faults = FaultScript()
/// let storage = FailingOperationStorage(operations, faults)
/// faults.failNext(2, of: .apply)             // the next two calls throw and change nothing
/// faults.crashAfterCommit(of: .enqueue)      // the next one is applied, and throws all the same
/// let gate = faults.hold(.openWork)          // calls wait here
/// try await gate.waitForWaiting(1)
/// gate.open()
/// ```
///
/// Without rules it changes nothing. Rules are tried in the order in which they were added; the first
/// that matches a call decides.
public final class FaultScript: Sendable {
    private struct Rule {
        enum Moment { case before, afterCommit }
        enum Condition {
            /// Numbers of calls, counted from 1 since the script was made.
            case calls(ClosedRange<Int>)
            case when(@Sendable () -> Bool)
        }

        var method: DriverMethod
        var condition: Condition
        var moment: Moment
        var error: (any Error)?
    }

    private struct State {
        var rules: [Rule] = []
        var calls: [DriverMethod: Int] = [:]
        var gates: [DriverMethod: FaultGate] = [:]
    }

    private let state = Mutex(State())
    /// Brings calls to where they are done; `nil` where they are made.
    private let carrier: (any CallCarrier)?

    public init() { carrier = nil }

    /// For a simulation: every call goes through `carrier`.
    init(carriedBy carrier: any CallCarrier) { self.carrier = carrier }

    /// How often a method was called, failed calls included.
    public func callCount(of method: DriverMethod) -> Int {
        state.withLock { $0.calls[method] ?? 0 }
    }

    /// Lets the next `count` calls throw without being applied.
    ///
    /// - Parameters:
    ///   - count: how many calls.
    ///   - method: which calls.
    ///   - error: what they throw; `nil` for ``InjectedFault``.
    public func failNext(
        _ count: Int = 1,
        of method: DriverMethod,
        with error: (any Error)? = nil
    ) {
        add(next: count, of: method, .before, error)
    }

    /// Lets one call throw without being applied: the `number`th since the script was made.
    public func failCall(
        _ number: Int,
        of method: DriverMethod,
        with error: (any Error)? = nil
    ) {
        let rule = Rule(
            method: method,
            condition: .calls(number...number),
            moment: .before,
            error: error
        )
        state.withLock { $0.rules.append(rule) }
    }

    /// Lets every call throw while a condition holds. The condition is asked once a call, on whatever
    /// task calls, and must not call the driver.
    public func fail(
        _ method: DriverMethod,
        with error: (any Error)? = nil,
        while condition: @escaping @Sendable () -> Bool
    ) {
        let rule = Rule(method: method, condition: .when(condition), moment: .before, error: error)
        state.withLock { $0.rules.append(rule) }
    }

    /// Lets the next `count` calls be applied and then throw, as when a process dies between commit and
    /// answer.
    public func crashAfterCommit(
        _ count: Int = 1,
        of method: DriverMethod,
        with error: (any Error)? = nil
    ) {
        add(next: count, of: method, .afterCommit, error)
    }

    private func add(
        next count: Int,
        of method: DriverMethod,
        _ moment: Rule.Moment,
        _ error: (any Error)?
    ) {
        guard count > 0 else { return }
        state.withLock { state in
            let first = (state.calls[method] ?? 0) + 1
            let rule = Rule(
                method: method,
                condition: .calls(first...first + count - 1),
                moment: moment,
                error: error
            )
            state.rules.append(rule)
        }
    }

    /// Lets calls wait until the gate is opened. A second call returns the same gate while it is shut.
    @discardableResult
    public func hold(_ method: DriverMethod) -> FaultGate {
        state.withLock { state in
            if let gate = state.gates[method], !gate.isOpen { return gate }
            let gate = FaultGate()
            state.gates[method] = gate
            return gate
        }
    }

    /// Forgets all rules and opens all gates; counts go on.
    public func reset() {
        let gates = state.withLock { state in
            defer {
                state.rules = []
                state.gates = [:]
            }
            return state.gates.values.map { $0 }
        }
        for gate in gates { gate.open() }
    }

    /// Runs one call of a driver under this script: what every failing decorator does, and one of your
    /// own driver does too.
    public func around<Result: Sendable>(
        _ method: DriverMethod,
        _ call: () async throws -> Result
    ) async throws -> Result {
        let (number, gate, rules) = state.withLock { state in
            let number = (state.calls[method] ?? 0) + 1
            state.calls[method] = number
            let rules = state.rules.filter { $0.method == method }
            return (number, state.gates[method], rules)
        }
        if let gate { try await gate.pass() }
        let match = rules.first { rule in
            switch rule.condition {
            case .calls(let numbers): numbers.contains(number)
            case .when(let condition): condition()
            }
        }
        if let match, match.moment == .before {
            throw match.error
                ?? InjectedFault(method: method, call: number, isAfterCommit: false)
        }
        let result: Result
        if let carrier {
            result = try await carrier.carry(method, call)
        } else {
            result = try await call()
        }
        if let match {
            throw match.error ?? InjectedFault(method: method, call: number, isAfterCommit: true)
        }
        return result
    }
}

/// Brings the calls of failing decorators to where they are done.
protocol CallCarrier: Sendable {
    func carry<Result: Sendable>(
        _ method: DriverMethod,
        _ call: () async throws -> Result
    ) async throws -> Result
}

/// Where calls held by ``FaultScript/hold(_:)`` wait.
public final class FaultGate: Sendable {
    private struct State {
        var isOpen = false
        var nextID = 0
        var waiting: [Int: CheckedContinuation<Void, any Error>] = [:]
        var cancelled: Set<Int> = []
        var watchers: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
    }

    private let state = Mutex(State())

    init() {}

    public var isOpen: Bool { state.withLock { $0.isOpen } }

    /// How many calls wait now.
    public var waitingCount: Int { state.withLock { $0.waiting.count } }

    /// Lets all calls go on, and later ones pass.
    public func open() {
        let (waiting, watchers) = state.withLock { state in
            state.isOpen = true
            defer {
                state.waiting = [:]
                state.watchers = []
            }
            let inOrder = state.waiting.sorted { $0.key < $1.key }.map(\.value)
            return (inOrder, state.watchers.map(\.continuation))
        }
        for call in waiting { call.resume() }
        for watcher in watchers { watcher.resume() }
    }

    /// Returns once at least `count` calls wait here, or the gate is open.
    public func waitForWaiting(_ count: Int) async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if state.isOpen || state.waiting.count >= count { return true }
                state.watchers.append((count, continuation))
                return false
            }
            if isThere { continuation.resume() }
        }
    }

    /// Waits for the gate; throws `CancellationError` when the task is cancelled first.
    func pass() async throws {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let (isOpen, isCancelled, watchers) = state.withLock { state in
                    if state.isOpen { return (true, false, [CheckedContinuation<Void, Never>]()) }
                    if state.cancelled.remove(id) != nil { return (false, true, []) }
                    state.waiting[id] = continuation
                    let present = state.waiting.count
                    let satisfied = state.watchers.filter { $0.count <= present }
                    state.watchers.removeAll { $0.count <= present }
                    return (false, false, satisfied.map(\.continuation))
                }
                if isOpen { continuation.resume() }
                if isCancelled { continuation.resume(throwing: CancellationError()) }
                for watcher in watchers { watcher.resume() }
            }
        } onCancel: {
            let call = state.withLock { state -> CheckedContinuation<Void, any Error>? in
                if let call = state.waiting.removeValue(forKey: id) { return call }
                if !state.isOpen { state.cancelled.insert(id) }
                return nil
            }
            call?.resume(throwing: CancellationError())
        }
    }
}
