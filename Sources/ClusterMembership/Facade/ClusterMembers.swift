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
    /// How often ``ClusterMembersWriter/run()`` looks for silent members. 5 s.
    public var sweepEvery: Duration
    /// A heartbeat that only says "still here" is stored at most so often. 5 s: a store write for every
    /// heartbeat of every worker would be for nothing.
    public var storeEvery: Duration
    /// The most members. 10,000.
    public var maximumMembers: Int
    public var logger: Logger

    public init(
        timeouts: MemberTimeouts = .standard,
        sweepEvery: Duration = .seconds(5),
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
    /// - Throws: ``ClusterMembershipError`` with `invalidMember` or `storage`.
    public func join(_ member: Member) async throws(ClusterMembershipError) {
        try await change { core, now, monotonic throws(ClusterMembershipError) in
            try core.onJoin(member, at: now, monotonic: monotonic)
        }
    }

    /// A member is alive.
    ///
    /// - Parameters:
    ///   - node: who.
    ///   - applied: the newest revision it has applied; `nil` leaves what is known.
    ///   - properties: its properties from now on; `nil` leaves them.
    /// - Throws: ``ClusterMembershipError`` with `notJoined`, `invalidMember` or `storage`.
    public func heartbeat(
        _ node: NodeID,
        applied: Revision? = nil,
        properties: [String: String]? = nil
    ) async throws(ClusterMembershipError) {
        try await change { core, now, monotonic throws(ClusterMembershipError) in
            try core.onHeartbeat(
                node,
                applied: applied,
                properties: properties,
                at: now,
                monotonic: monotonic
            )
        }
    }

    /// A member says good-bye. Harmless if it is none.
    public func leave(_ node: NodeID) async throws(ClusterMembershipError) {
        try await change { core, _, monotonic throws(ClusterMembershipError) in
            core.onLeave(node, monotonic: monotonic)
        }
    }

    /// Judges every member's silence once.
    public func sweep() async throws(ClusterMembershipError) {
        try await change { core, _, monotonic throws(ClusterMembershipError) in
            core.onSweep(monotonic: monotonic)
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
                try await sweep()
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
