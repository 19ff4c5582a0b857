public import ClusterRole
public import Logging
public import ServiceLifecycle

/// Reads the members of the cluster. Every node may hold one.
public struct ClusterMembers: Sendable {
    private let registry: any MemberRegistry

    /// - Parameter registry: keeps the members.
    public init(registry: any MemberRegistry) { self.registry = registry }

    /// All members by id, also suspect, failed and departed ones that are not yet forgotten.
    ///
    /// - Throws: ``ClusterMembershipError`` with `storage`.
    public func all() async throws(ClusterMembershipError) -> [Member] {
        do {
            return try await registry.members()
        } catch {
            throw ClusterMembershipError.storage(error)
        }
    }

    /// One member, or `nil`.
    public func member(_ node: NodeID) async throws(ClusterMembershipError) -> Member? {
        try await all().first { $0.node == node }
    }

    /// Whether some member may be coordinator and is preferred to a node: it is alive, takes work, may
    /// write, and its property ``Member/coordinatorRank`` is a lower number. A member without the
    /// property is no candidate.
    ///
    /// - Parameters:
    ///   - rank: the node's own.
    ///   - node: whose place is judged.
    public func hasCandidate(preferredTo rank: Int, of node: NodeID) async -> Bool {
        // Who cannot be read is not preferred: a store that fails is no reason to hand over.
        let members = (try? await all()) ?? []
        return members.contains { member in
            guard member.node != node, member.state == .alive, member.role.mayWrite,
                member.effectiveMode == .active,
                let other = member.properties[Member.coordinatorRank].flatMap({ Int($0) })
            else { return false }
            return other < rank
        }
    }

    /// Mints the coordinator's writer. Make one for each capability, not one for each call: it counts
    /// silence from when it was made.
    public func writer(
        for capability: WriteCapability,
        configuration: ClusterMembersConfiguration = ClusterMembersConfiguration(),
        clock: any TimeSource = SystemTimeSource()
    ) -> ClusterMembersWriter {
        ClusterMembersWriter(registry, capability, configuration, clock)
    }
}

/// How the coordinator keeps the members.
public struct ClusterMembersConfiguration: Sendable {
    public var timeouts: MemberTimeouts
    /// How often ``ClusterMembersWriter/run()`` looks for silent members. 250 ms: what it adds to the
    /// time in which a loss is seen.
    public var sweepEvery: Duration
    /// A heartbeat that only says "still here" is stored at most so often. 5 s: a store write for every
    /// heartbeat of every worker would be for nothing.
    public var storeEvery: Duration
    /// The most members. 10,000.
    public var maximumMembers: Int
    public var logger: Logger

    public init(
        timeouts: MemberTimeouts = .standard,
        sweepEvery: Duration = .milliseconds(250),
        storeEvery: Duration = .seconds(5),
        maximumMembers: Int = 10_000,
        logger: Logger = Logger(label: "reeve.members")
    ) {
        self.timeouts = timeouts
        self.sweepEvery = sweepEvery
        self.storeEvery = storeEvery
        self.maximumMembers = maximumMembers
        self.logger = logger
    }
}

/// Takes joins, heartbeats and departures, and judges silence: the coordinator's half.
///
/// It knows the newest of every member from its heartbeats and is the only writer of its epoch. Calls
/// are applied one after the other. After its capability is revoked every call throws
/// `ClusterRoleError` `revoked` as the cause of a `storage` error.
public actor ClusterMembersWriter: Service {
    private let registry: any MemberRegistry
    private let capability: WriteCapability
    private let configuration: ClusterMembersConfiguration
    private let clock: any TimeSource
    private var core: MembershipCore
    private var isLoaded = false
    private var isBusy = false
    private var waiting: [CheckedContinuation<Void, Never>] = []
    /// Who waits for the next word of a member.
    private var listeners: [Int: (node: NodeID, sink: AsyncStream<Never>.Continuation)] = [:]
    private var numbered = 0

    /// The most calls that wait for a member's word at once; the next one is told it is silent. 64.
    public static let maximumListeners = 64

    init(
        _ registry: any MemberRegistry,
        _ capability: WriteCapability,
        _ configuration: ClusterMembersConfiguration,
        _ clock: any TimeSource
    ) {
        self.registry = registry
        self.capability = capability
        self.configuration = configuration
        self.clock = clock
        core = MembershipCore(
            timeouts: configuration.timeouts,
            storeEvery: configuration.storeEvery,
            maximumMembers: configuration.maximumMembers
        )
    }

    /// A node joins, or joins again as it is now. Its state and times are set here.
    ///
    /// - Returns: what an administrator asked of it.
    /// - Throws: ``ClusterMembershipError`` with `invalidMember` or `storage`.
    @discardableResult
    public func join(_ member: Member) async throws(ClusterMembershipError) -> MemberMode {
        try await change { core, now, monotonic throws(ClusterMembershipError) in
            try core.onJoin(member, at: now, monotonic: monotonic)
        }
        return core.askedMode(of: member.node)
    }

    /// A member is alive.
    ///
    /// - Parameters:
    ///   - node: who.
    ///   - applied: the newest revision it has applied; `nil` leaves what is known.
    ///   - properties: its properties from now on; `nil` leaves them.
    ///   - mode: what it says of its readiness for work; `nil` leaves what is known.
    /// - Returns: what an administrator asked of it.
    /// - Throws: ``ClusterMembershipError`` with `notJoined`, `invalidMember` or `storage`.
    @discardableResult
    public func heartbeat(
        _ node: NodeID,
        applied: Revision? = nil,
        properties: [String: String]? = nil,
        mode: MemberMode? = nil
    ) async throws(ClusterMembershipError) -> MemberMode {
        // Before it queues: a store that is slow makes nobody silent.
        heard(node)
        try await change { core, now, monotonic throws(ClusterMembershipError) in
            try core.onHeartbeat(
                node,
                applied: applied,
                properties: properties,
                mode: mode,
                at: now,
                monotonic: monotonic
            )
        }
        return core.askedMode(of: node)
    }

    /// A member has spoken, in whatever way; for what is no heartbeat. Harmless if it is no member.
    public func heard(_ node: NodeID) {
        core.onHeard(node, monotonic: clock.monotonic())
        for (_, listener) in listeners where listener.node == node { listener.sink.finish() }
    }

    /// Waits until a member speaks.
    ///
    /// - Returns: whether it did so in time.
    public func waitForWord(of node: NodeID, within limit: Duration) async -> Bool {
        guard listeners.count < Self.maximumListeners else { return false }
        let (word, sink) = AsyncStream.makeStream(of: Never.self)
        numbered += 1
        let number = numbered
        listeners[number] = (node, sink)
        defer { listeners[number] = nil }
        let clock = clock
        return await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                for await _ in word {}
                return !Task.isCancelled
            }
            group.addTask {
                try? await clock.sleep(for: limit)
                return false
            }
            defer { group.cancelAll() }
            return await group.next() ?? false
        }
    }

    /// Asks a member to take work, to drain, or to be in maintenance. It is told with its next heartbeat,
    /// everybody else by the registry, and it stays so until it is asked otherwise.
    ///
    /// - Throws: ``ClusterMembershipError`` with `notJoined` or `storage`.
    public func ask(_ node: NodeID, for mode: MemberMode) async throws(ClusterMembershipError) {
        try await change { core, _, monotonic throws(ClusterMembershipError) in
            try core.onModeAsked(mode, of: node, monotonic: monotonic)
        }
    }

    /// A member says good-bye. Harmless if it is none.
    public func leave(_ node: NodeID) async throws(ClusterMembershipError) {
        try await change { core, _, monotonic throws(ClusterMembershipError) in
            core.onLeave(node, monotonic: monotonic)
        }
    }

    /// Judges every member's silence once.
    public func sweep() async throws(ClusterMembershipError) { try await sweep(every: nil) }

    private func sweep(every interval: Duration?) async throws(ClusterMembershipError) {
        try await change { core, _, monotonic throws(ClusterMembershipError) in
            core.onSweep(monotonic: monotonic, every: interval)
        }
    }

    /// The members as this writer knows them, newer than the store where a heartbeat said nothing new.
    public func current() async throws(ClusterMembershipError) -> [Member] {
        try await change { _, _, _ throws(ClusterMembershipError) in [] }
        return core.members
    }

    /// Sweeps until graceful shutdown, cancellation, or until the capability is revoked.
    public func run() async throws {
        while !Task.isShuttingDownGracefully && !Task.isCancelled && !capability.isRevoked {
            do {
                try await sweep(every: configuration.sweepEvery)
            } catch {
                if error.isLossOfRight { return }
                configuration.logger.warning("sweep failed", metadata: ["error": "\(error)"])
            }
            let (clock, pause) = (clock, configuration.sweepEvery)
            _ = try? await cancelWhenGracefulShutdown { try await clock.sleep(for: pause) }
        }
    }

    private func change(
        _ body: (inout MembershipCore, Timestamp, Duration) throws(ClusterMembershipError) ->
            [MembershipCore.Directive]
    ) async throws(ClusterMembershipError) {
        if isBusy { await withCheckedContinuation { waiting.append($0) } } else { isBusy = true }
        defer { if waiting.isEmpty { isBusy = false } else { waiting.removeFirst().resume() } }
        if !isLoaded {
            do {
                core.onLoaded(try await registry.members(), at: clock.monotonic())
                isLoaded = true
            } catch {
                throw ClusterMembershipError.storage(error)
            }
        }
        for directive in try body(&core, clock.now(), clock.monotonic()) {
            try await obey(directive)
        }
    }

    private func obey(_ directive: MembershipCore.Directive) async throws(ClusterMembershipError) {
        do {
            let epoch = try capability.requireEpoch()
            switch directive {
            case .store(let member):
                _ = try await registry.put(member, epoch: epoch)
                configuration.logger.debug(
                    "member stored",
                    metadata: ["node": "\(member.node)", "state": "\(member.state.rawValue)"]
                )
            case .remove(let node):
                _ = try await registry.remove(node, epoch: epoch)
            }
        } catch {
            if case .store(let member) = directive { core.onStoreFailed(member.node) }
            throw ClusterMembershipError.storage(error)
        }
    }
}

extension ClusterMembershipError {
    /// Wraps what a driver threw.
    static func storage(_ error: any Error) -> ClusterMembershipError {
        if let known = error as? ClusterMembershipError { return known }
        return ClusterMembershipError(
            .storage,
            "The store did not do it. See the cause; the same call may succeed later.",
            retryAfter: (error as? any CodedError)?.retryAfter,
            cause: error
        )
    }

    /// Whether this node is no longer the coordinator.
    var isLossOfRight: Bool {
        let code = (cause as? ClusterRoleError)?.code
        return code == .fenced || code == .revoked
    }
}
