internal import ArtifactStore
internal import ClusterMembership
internal import ClusterRole
internal import DeviceRegistry
internal import Logging
internal import OperationQueue
internal import Synchronization

/// One life of a manager: it competes for the lease with the real ``Coordinator``, and while it has it,
/// writes with the real façades; it serves workers whatever it is.
final class SimulatedManager: Sendable {
    /// What a manager has while it is the coordinator.
    struct Session: Sendable {
        let capability: WriteCapability
        let operations: any OperationStorage
        let releases: any ReleaseStorage
        let enqueuer: OperationEnqueuer
        let timers: ActivityTimers
        let expiry: ExpiryTask
    }

    /// What a manager answers to a spool it has applied.
    struct Mark: Sendable {
        var number: Int64
        var revision: Revision
        var epoch: Epoch
    }

    private let life: SimulatedLife
    private let world: SimulatedCluster
    private let session = Mutex<Session?>(nil)
    private let replicas: any ReplicaSource
    private let releases: any ReleaseStorage

    init(_ life: SimulatedLife, in world: SimulatedCluster) {
        self.life = life
        self.world = world
        let script = FaultScript(carriedBy: StoreConnection(life: life, world: world, epoch: nil))
        replicas = FailingReplicaSource(world.store.operations, script)
        releases = CarriedReleaseStorage(base: world.store.releases, script: script)
    }

    /// Works until its task is cancelled.
    func run() async {
        let coordinator = makeCoordinator()
        world.witness.change { state in
            state.holders.append { [weak coordinator, life] in
                life.isOver ? nil : coordinator?.capability.map { _ in life.node.id }
            }
        }
        world.managers.withLock { $0[life.node.id] = self }
        await withDiscardingTaskGroup { group in
            group.addTask { await self.life.node.network.serve(self.life.node.id) }
            group.addTask { try? await coordinator.run() }
            group.addTask { await self.doDuties() }
        }
    }

    private func makeCoordinator() -> Coordinator {
        let node = life.node
        let leases = world.plan.parts.leases(world.store.leases)
        let script = FaultScript(carriedBy: StoreConnection(life: life, world: world, epoch: nil))
        return Coordinator(
            CoordinatorConfiguration(node: node.id, timing: world.plan.lease, logger: .quiet),
            store: FailingLeaseStore(leases, script),
            clock: node.clock,
            random: node.random,
            onGain: { [weak self] in self?.begin($0) },
            onLoss: { [weak self] _ in self?.end() }
        )
    }

    private func begin(_ capability: WriteCapability) {
        let node = life.node
        node.trace.note("became coordinator", at: node.id, capability.epoch.rawValue)
        world.witness.change { $0.counts.elections += 1 }
        let script = FaultScript(
            carriedBy: StoreConnection(life: life, world: world, epoch: capability.epoch)
        )
        let operations = FailingOperationStorage(
            world.plan.parts.operations(world.store.operations, world.store.ledger),
            script
        )
        let made = Session(
            capability: capability,
            operations: operations,
            releases: CarriedReleaseStorage(base: world.store.releases, script: script),
            enqueuer: OperationEnqueuer(
                storage: operations,
                capability: capability,
                clock: node.clock,
                random: node.random,
                logger: .quiet
            ),
            timers: ActivityTimers(
                storage: operations,
                capability: capability,
                clock: node.clock,
                logger: .quiet
            ),
            expiry: ExpiryTask(
                storage: operations,
                capability: capability,
                clock: node.clock,
                logger: .quiet
            )
        )
        session.withLock { $0 = made }
    }

    private func end() {
        life.node.trace.note("no longer coordinator", at: life.node.id)
        session.withLock { $0 = nil }
    }

    /// What time alone makes due.
    private func doDuties() async {
        while !Task.isCancelled {
            let pause = life.node.random.duration(in: .seconds(4)...(.seconds(8)))
            do { try await life.node.clock.sleep(for: pause) } catch { return }
            guard let session = session.withLock({ $0 }) else { continue }
            let now = life.node.clock.now()
            _ = try? await session.timers.tick(at: now)
            _ = try? await session.expiry.tick(at: now)
        }
    }

    /// - Throws: ``SimulatedFault`` `notCoordinator`.
    private func authority() throws -> Session {
        guard let session = session.withLock({ $0 }) else {
            throw SimulatedFault(.notCoordinator)
        }
        return session
    }

    // MARK: - What administrators ask

    func enqueue(_ request: EnqueueRequest) async throws -> EnqueueReceipt {
        try await authority().enqueuer.enqueue(request)
    }

    func cancel(_ activity: ActivityID) async throws {
        let session = try authority()
        _ = try await session.operations.change(
            activity,
            .close(.cancelled),
            tenant: .standard,
            epoch: session.capability.requireEpoch(),
            at: life.node.clock.now()
        )
    }

    func publish(_ release: PublishedRelease) async throws {
        let session = try authority()
        let latest = try await session.releases.latest(
            of: release.release.channel,
            tenant: release.release.tenant
        )
        if let latest, latest.release.number >= release.release.number { return }
        _ = try await session.releases.append(
            release,
            after: latest?.release.number,
            epoch: session.capability.requireEpoch()
        )
        life.node.trace.note("published", at: life.node.id, release.release.number.rawValue)
    }

    // MARK: - What workers ask

    func page(
        after: Revision?,
        cursor: ReplicaCursor?,
        for node: NodeID
    ) async throws -> ReplicaPage {
        try await replicas.page(
            after: after,
            cursor: cursor,
            limit: world.plan.pageRows,
            for: node
        )
    }

    /// Applies a worker's entries, as the link's endpoint does.
    func apply(
        _ entries: [SpooledEntry],
        of history: HistoryID,
        upTo mark: SpoolMark
    ) async throws -> Mark {
        let session = try authority()
        let current = try await replicas.currentRevision()
        guard current.history == history else { throw SimulatedFault(.unreachable) }
        let epoch = try session.capability.requireEpoch()
        let receipt = try await session.operations.apply(
            entries,
            from: mark,
            epoch: epoch,
            at: life.node.clock.now()
        )
        return Mark(
            number: receipt.mark?.number ?? mark.number,
            revision: receipt.revision,
            epoch: epoch
        )
    }

    func latestRelease(
        of channel: ChannelName,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        guard let latest = try await releases.latest(of: channel, tenant: .standard) else {
            return .empty
        }
        return latest.revision == revision ? .unchanged : .release(latest)
    }

    func acknowledge(_ applied: AppliedRelease) async throws {
        let session = try authority()
        _ = try await session.releases.record(
            applied,
            tenant: .standard,
            epoch: session.capability.requireEpoch()
        )
    }
}
