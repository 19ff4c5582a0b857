internal import ClusterRole
internal import Synchronization

/// A step of a release on its way through a ``Deployer``.
public enum DeployerStep: String, Hashable, Sendable, Codable, CaseIterable {
    case prepare
    case checkHealth
    case activate
    case drain
    case remove
}

/// How long each step may take. A step that takes longer is cancelled and its release refused; the
/// other channels go on.
public struct DeployerTimeouts: Hashable, Sendable {
    /// 5 minutes: loading a large application.
    public var prepare: Duration = .seconds(300)
    /// 1 minute.
    public var checkHealth: Duration = .seconds(60)
    /// 1 minute: what takes long belongs into `prepare`.
    public var activate: Duration = .seconds(60)
    /// 1 minute, after the requests have left or ``SyncConfiguration/drainTimeout`` is over.
    public var drain: Duration = .seconds(60)
    /// 1 minute.
    public var remove: Duration = .seconds(60)

    /// The defaults.
    public init() {}

    /// The time of one step.
    public subscript(step: DeployerStep) -> Duration {
        get { self[keyPath: Self.path(of: step)] }
        set { self[keyPath: Self.path(of: step)] = newValue }
    }

    private static func path(of step: DeployerStep) -> WritableKeyPath<Self, Duration> {
        switch step {
        case .prepare: \.prepare
        case .checkHealth: \.checkHealth
        case .activate: \.activate
        case .drain: \.drain
        case .remove: \.remove
        }
    }
}

/// Calls one channel's deployer, one step at a time, each with its time.
///
/// A deployer that does not even react to being cancelled goes on in the nursery; until it returns,
/// its channel takes no other step.
final class DeployerCalls: Sendable {
    /// A step that did not end in time.
    struct Overdue: Hashable {
        let step: DeployerStep
        let release: ActiveRelease
    }

    private enum Stage {
        case running
        case abandoned
        case ended((any Error)?)
    }

    private let timeouts: DeployerTimeouts
    private let time: any TimeSource
    private let nursery: Nursery
    private let stuck = Mutex<Overdue?>(nil)

    init(timeouts: DeployerTimeouts, time: any TimeSource, nursery: Nursery) {
        self.timeouts = timeouts
        self.time = time
        self.nursery = nursery
    }

    /// The step the deployer still has not come back from.
    var overdue: Overdue? { stuck.withLock { $0 } }

    /// Makes one call.
    ///
    /// - Throws: what the deployer throws; ``ArtifactStoreError`` with code `deploymentTimedOut`
    ///   when it takes too long or has not come back from an earlier step; `CancellationError` when
    ///   this task is cancelled.
    func call(
        _ step: DeployerStep,
        _ release: ActiveRelease,
        _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        if let overdue { throw Self.timedOut(overdue) }
        let call = Call(body)
        let isTaken = nursery.start { [self] in
            await call.run { self.stuck.withLock { $0 = nil } }
        }
        let limit = timeouts[step]
        let stage = await withTaskGroup(of: Void.self, returning: Stage.self) { group in
            group.addTask { await call.done.wait() }
            group.addTask { [time] in try? await time.sleep(for: limit) }
            if !isTaken { group.addTask { await call.run {} } }
            await group.next()
            let overdue = Overdue(step: step, release: release)
            let stage = call.stage {
                if isTaken { self.stuck.withLock { $0 = overdue } }
            }
            group.cancelAll()
            return stage
        }
        switch stage {
        case .ended(nil): return
        case .ended(let error?): throw error
        case .running, .abandoned:
            try Task.checkCancellation()
            throw Self.timedOut(Overdue(step: step, release: release))
        }
    }

    private static func timedOut(_ overdue: Overdue) -> ArtifactStoreError {
        ArtifactStoreError(
            .deploymentTimedOut,
            "The deployer did not come back from \(overdue.step.rawValue) of release "
                + "\(overdue.release.release.number) in time. Mend it and publish again."
        )
    }

    /// One call under way.
    private final class Call: Sendable {
        let done = Signal()
        private let body: @Sendable () async throws -> Void
        private let current = Mutex<Current>(Current())
        private let ending = Signal()

        private struct Current { var stage = Stage.running }

        init(_ body: @escaping @Sendable () async throws -> Void) { self.body = body }

        /// - Parameter comesBackLate: called when it ends after it was abandoned.
        func run(_ comesBackLate: @Sendable () -> Void) async {
            let result = await withTaskGroup(of: Result<Void, any Error>?.self) { [body] group in
                group.addTask {
                    do { return .success(try await body()) } catch { return .failure(error) }
                }
                group.addTask { [ending] in
                    await ending.wait()
                    return nil
                }
                var result: Result<Void, any Error>?
                while let next = await group.next() {
                    group.cancelAll()
                    if let next { result = next }
                }
                return result
            }
            var failure: (any Error)?
            if case .failure(let error) = result { failure = error }
            let wasAbandoned = current.withLock { current in
                if case .abandoned = current.stage { return true }
                current.stage = .ended(failure)
                return false
            }
            if wasAbandoned { comesBackLate() } else { done.raise() }
        }

        /// How it stands; what has not ended is given up, in the same moment.
        func stage(abandoning note: () -> Void) -> Stage {
            let stage = current.withLock { current -> Stage in
                if case .running = current.stage {
                    current.stage = .abandoned
                    note()
                    return .abandoned
                }
                return current.stage
            }
            if case .abandoned = stage { ending.raise() }
            return stage
        }
    }
}
