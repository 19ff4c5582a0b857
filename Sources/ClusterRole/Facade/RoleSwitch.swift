public import Logging
public import ServiceLifecycle
internal import Synchronization

/// The half of a node that may write: what a ``RoleSwitch`` opens, runs and ends.
///
/// Opening it is winning the right to write: each opening has a higher epoch. Its `run()` returns after
/// graceful shutdown with everything given back, so that it can be opened again in the same process.
public protocol ManagingHalf: Service {
    /// The epoch its writers were minted for.
    var epoch: Epoch { get }

    /// Ends its right to write at once: every writer made from it throws
    /// ``ClusterRoleError/Code/revoked``. Doing it twice is harmless.
    func revoke()

    /// Revokes, and gives back what opening took, whether it was run or not. Called last, and harmless when
    /// repeated.
    func close() async throws
}

/// One node that is promoted to manager and demoted to worker while it runs.
///
/// The worker's half serves without a break; the manager's half is opened by ``promote()`` and ended by
/// ``demote()``. Demoting revokes its writers at once, lets requests under way finish or fail with a typed
/// error, and gives the store back: another process may open it then.
///
/// Where both halves are members of the cluster each has a name of its own: the worker's dials the manager's
/// over the link, like any worker.
///
/// ```swift
/// let node = RoleSwitch(serving: worker) { try await ManagerNode.open(configuration) }
/// app.addServices(node)
/// …
/// let epoch = try await node.promote()
/// try await node.demote()
/// ```
public final class RoleSwitch: Service {
    /// Opens the manager's half.
    public typealias Opening = @Sendable () async throws -> any ManagingHalf

    /// Calls of ``promote()`` and ``demote()`` that may wait for each other; the next one is refused.
    private static let maximumWaitingCalls = 64

    private enum Event: Sendable {
        case promote(CheckedContinuation<Epoch, any Error>)
        case demote(CheckedContinuation<Void, any Error>)
        case ended((any Error)?)
    }

    private struct Standing {
        var epoch: Epoch?
        var wasRun = false
    }

    private let serving: (any Service)?
    private let open: Opening
    private let logger: Logger
    private let events: AsyncStream<Event>
    private let sender: AsyncStream<Event>.Continuation
    private let standing = Mutex(Standing())

    /// - Parameters:
    ///   - serving: the worker's half, which runs all the time; `nil` for a manager that stands by.
    ///   - logger: told of each change.
    ///   - open: opens the manager's half; called by each ``promote()``.
    public init(
        serving: (any Service)? = nil,
        logger: Logger = Logger(label: "reeve.role"),
        opening open: @escaping Opening
    ) {
        self.serving = serving
        self.logger = logger
        self.open = open
        (events, sender) = AsyncStream.makeStream(
            bufferingPolicy: .bufferingOldest(Self.maximumWaitingCalls)
        )
    }

    /// The epoch of the manager's half; `nil` while there is none.
    public var epoch: Epoch? { standing.withLock { $0.epoch } }

    /// What the node is now.
    public var role: NodeRole {
        if epoch == nil { return .worker }
        return serving == nil ? .manager : .combined
    }

    /// Opens and starts the manager's half.
    ///
    /// - Returns: the new epoch, higher than all before it.
    /// - Throws: ``ClusterRoleError`` with code `wrongTransition` if there is one already, or the node does
    ///   not run; what opening it throws, with the node left as it was.
    @discardableResult
    public func promote() async throws -> Epoch {
        try await withCheckedThrowingContinuation { call in
            send(.promote(call)) { call.resume(throwing: $0) }
        }
    }

    /// Revokes the manager's half and ends it. When this returns its store is closed; the worker's half goes
    /// on.
    ///
    /// - Throws: ``ClusterRoleError`` with code `wrongTransition` if there is none, or the node does not run.
    public func demote() async throws {
        try await withCheckedThrowingContinuation { (call: CheckedContinuation<Void, any Error>) in
            send(.demote(call)) { call.resume(throwing: $0) }
        }
    }

    private func send(_ event: Event, orElse refuse: (ClusterRoleError) -> Void) {
        if case .enqueued = sender.yield(event) { return }
        refuse(Self.wrong("This node does not run, or has too many changes of role waiting."))
    }

    private static func wrong(_ message: String) -> ClusterRoleError {
        ClusterRoleError(.wrongTransition, message)
    }

    /// Runs the worker's half, and the manager's while there is one, until graceful shutdown. It runs once.
    public func run() async throws {
        let isFirst = standing.withLock { state in
            defer { state.wasRun = true }
            return !state.wasRun
        }
        guard isFirst else { throw Self.wrong("This node was run already. Make another one.") }
        let services = [serving, Obedience(node: self)].compactMap { $0 }
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: services, logger: logger)
        )
        defer { refuseWhatWaits() }
        try await group.run()
    }

    private func refuseWhatWaits() { sender.finish() }
}

extension RoleSwitch {
    /// The manager's half under way.
    private struct Half {
        let managing: any ManagingHalf
        let group: ServiceGroup
    }

    /// Does what is asked of the node, one change after the other.
    private struct Obedience: Service {
        let node: RoleSwitch

        func run() async throws { await node.obey() }
    }

    private func obey() async {
        await withTaskGroup(of: Void.self) { running in
            var half: Half?
            var leaving: CheckedContinuation<Void, any Error>?
            for await event in events.cancelOnGracefulShutdown() {
                switch event {
                case .promote(let call):
                    guard half == nil else {
                        call.resume(throwing: Self.wrong("This node is a manager already."))
                        continue
                    }
                    do {
                        let opened = try await begin()
                        half = opened
                        running.addTask { [self] in await see(opened) }
                        call.resume(returning: opened.managing.epoch)
                    } catch {
                        call.resume(throwing: error)
                    }
                case .demote(let call):
                    guard let half, leaving == nil else {
                        call.resume(throwing: Self.wrong("This node is no manager now."))
                        continue
                    }
                    leaving = call
                    half.managing.revoke()
                    await half.group.triggerGracefulShutdown()
                case .ended(let error):
                    half = nil
                    standing.withLock { $0.epoch = nil }
                    tell(error, wasAsked: leaving != nil)
                    leaving?.resume()
                    leaving = nil
                }
            }
            half?.managing.revoke()
            await half?.group.triggerGracefulShutdown()
            await running.waitForAll()
            standing.withLock { $0.epoch = nil }
            leaving?.resume()
            sender.finish()
            for await event in events {
                let ended = Self.wrong("This node has ended.")
                switch event {
                case .promote(let call): call.resume(throwing: ended)
                case .demote(let call): call.resume(throwing: ended)
                case .ended: break
                }
            }
        }
    }

    private func begin() async throws -> Half {
        let managing = try await open()
        let epoch = managing.epoch
        standing.withLock { $0.epoch = epoch }
        logger.notice("this node is a manager", metadata: ["epoch": "\(epoch)"])
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: [managing], logger: logger)
        )
        return Half(managing: managing, group: group)
    }

    /// Runs a manager's half to its end.
    private func see(_ half: Half) async {
        var failure: (any Error)?
        do { try await half.group.run() } catch { failure = error }
        // A group that was told to stop before it began has run nothing that closes.
        do { try await half.managing.close() } catch { failure = failure ?? error }
        sender.yield(.ended(failure))
    }

    /// What ends because its writers were revoked ends as it should.
    private func tell(_ error: (any Error)?, wasAsked: Bool) {
        guard let error, !wasAsked else {
            logger.notice("this node is a worker")
            return
        }
        logger.error("the manager's half failed", metadata: ["error": "\(error)"])
    }
}
