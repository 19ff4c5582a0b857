internal import ArtifactStore
internal import ClusterMembership
internal import ClusterRole
internal import DeviceRegistry
internal import Logging
internal import OperationQueue
internal import Synchronization

/// One life of a worker: the real exchange over a replica and a spool, kept up to date by the link's
/// loops, and the real activation of releases on a directory of its own.
final class SimulatedWorker: Sendable {
    let exchange: DeviceExchange
    let replica: SimulatedReplica
    private let contacts: ContactBatcher
    private let life: SimulatedLife
    private let world: SimulatedCluster
    private let sync: ArtifactSync?
    /// Whom it asks now.
    private let choice: ManagerChoice

    init(
        _ life: SimulatedLife,
        in world: SimulatedCluster,
        disk: SimulatedDisk<SpoolFile>,
        directory: String?
    ) {
        self.life = life
        self.world = world
        let node = life.node
        let witness = world.witness
        replica = SimulatedReplica(disk: disk, life: life) { revision, epoch in
            node.trace.note("reached a revision", at: node.id, revision.number)
            witness.onReached(revision, epoch, by: node.id)
        }
        let reader = world.plan.parts.reader(replica)
        let inbox = world.plan.parts.inbox(replica)
        contacts = ContactBatcher(inbox: inbox, clock: node.clock, logger: .quiet)
        var settings = DeviceExchange.Settings(clock: node.clock, random: node.random)
        settings.logger = .quiet
        exchange = DeviceExchange(
            reader: reader,
            inbox: inbox,
            contacts: contacts,
            settings: settings
        )
        choice = ManagerChoice(life, world)
        sync = directory.flatMap { Self.sync(life, world, in: $0) }
    }

    private static func sync(
        _ life: SimulatedLife,
        _ world: SimulatedCluster,
        in directory: String
    ) -> ArtifactSync? {
        guard let releases = world.plan.releases else { return nil }
        var configuration = SyncConfiguration(node: life.node.id)
        configuration.pollInterval = world.plan.releasePolls
        configuration.maximumRetryInterval = world.plan.releasePolls
        configuration.drainTimeout = .seconds(2)
        configuration.verifyInterval = nil
        configuration.time = life.node.clock
        configuration.random = life.node.random
        configuration.executor = life.makeExecutor()
        configuration.logger = .quiet
        let source = SimulatedReleaseSource(life, world, objects: releases.objects)
        return ArtifactSync(
            channel: releases.channel,
            source: source,
            directory: directory,
            deployer: world.plan.parts.deployer(life.node.id),
            trusted: releases.trusted,
            configuration: configuration
        )
    }

    /// What the worker serves now.
    var active: ReleaseNumber? { sync?.active?.release.number }

    /// Works until its task is cancelled.
    func run() async {
        let node = life.node
        world.workers.withLock { $0[node.id] = self }
        await withDiscardingTaskGroup { group in
            group.addTask { await node.network.serve(node.id) }
            group.addTask { await self.follow() }
            group.addTask { await self.drain() }
            group.addTask { await self.flushContacts() }
            if let sync {
                group.addTask { try? await sync.runUntilCancelled() }
                group.addTask { await self.serveRequests(sync) }
            }
        }
    }

    // MARK: - The link

    /// Follows the managers' revisions: a snapshot first, then changes.
    private func follow() async {
        var cursor: ReplicaCursor?
        while !Task.isCancelled {
            do {
                let (after, position) = (replica.position.revision, cursor)
                let page = try await choice.ask("page") { [id = life.node.id] in
                    try await $0.page(after: after, cursor: position, for: id)
                }
                try await replica.apply(page)
                cursor = page.next
                if page.next == nil {
                    let pause = life.node.random.jittered(world.plan.linkPolls, by: 0.3)
                    try await life.node.clock.sleep(for: pause)
                }
            } catch {
                if Task.isCancelled { return }
                cursor = nil
                await pauseAfterFailure(error)
            }
        }
    }

    /// Hands the spool on.
    private func drain() async {
        var signals = replica.spoolSignals().makeAsyncIterator()
        while !Task.isCancelled {
            do {
                while try await handOn() {}
                guard await signals.next() != nil else { return }
                // Entries that come together go together.
                let pause = life.node.random.duration(in: .milliseconds(200)...(.seconds(1)))
                try await life.node.clock.sleep(for: pause)
            } catch {
                if Task.isCancelled { return }
                await pauseAfterFailure(error)
            }
        }
    }

    private func handOn() async throws -> Bool {
        let position = replica.position
        guard let revision = position.revision else { return false }
        let entries = try await replica.pendingEntries(limit: 64)
        guard let last = entries.last else { return false }
        let mark = SpoolMark(
            node: life.node.id,
            incarnation: position.incarnation,
            number: last.number
        )
        let taken = try await choice.ask("spool") {
            try await $0.apply(entries, of: revision.history, upTo: mark)
        }
        try await replica.heard(from: taken.epoch)
        replica.handedOn(upTo: taken.number, at: taken.revision)
        life.node.trace.note("handed on", at: life.node.id, taken.number)
        return true
    }

    private func pauseAfterFailure(_ error: any Error) async {
        let pause = life.node.random.duration(in: .milliseconds(300)...(.seconds(3)))
        try? await life.node.clock.sleep(for: pause)
    }

    /// As the batcher does by itself, without waiting for a graceful shutdown.
    private func flushContacts() async {
        while !Task.isCancelled {
            do { try await life.node.clock.sleep(for: contacts.flushInterval) } catch { return }
            try? await contacts.flush()
        }
    }

    // MARK: - Releases

    /// Requests of the worker's own clients.
    private func serveRequests(_ sync: ArtifactSync) async {
        let node = life.node
        while !Task.isCancelled {
            let pause = node.random.duration(in: world.plan.requestInterval)
            do { try await node.clock.sleep(for: pause) } catch { return }
            guard sync.active != nil else { continue }
            do {
                let request = world.plan.parts.request
                let number = try await sync.withActiveRelease { release in
                    try await request(SimulatedRequest(release: release, life: life))
                    return release.release.number
                }
                if !life.isOver { world.witness.onServed(number, by: node.id) }
            } catch is CancellationError {
                return
            } catch {
                if life.isOver { return }
                world.witness.fail(.atomicActivation, "A request to \(node.id) failed: \(error)")
            }
        }
    }
}

/// Asks the manager it believes in; after a failure the next one.
final class ManagerChoice: Sendable {
    private let life: SimulatedLife
    private let world: SimulatedCluster
    private let index: Mutex<Int>

    init(_ life: SimulatedLife, _ world: SimulatedCluster) {
        self.life = life
        self.world = world
        index = Mutex(life.node.random.index(below: world.managerIDs.count))
    }

    func ask<Answer: Sendable>(
        _ what: StaticString,
        _ body: @escaping @Sendable (SimulatedManager) async throws -> Answer
    ) async throws -> Answer {
        let before = index.withLock { $0 }
        let asked = world.managerIDs[before % world.managerIDs.count]
        let world = world
        do {
            return try await life.call(what, to: asked, within: .seconds(6)) {
                guard let manager = world.managers.withLock({ $0[asked] }) else {
                    throw SimulatedFault(.unreachable)
                }
                return try await body(manager)
            }
        } catch {
            index.withLock { $0 = before + 1 }
            throw error
        }
    }
}

/// Where a simulated worker takes releases from: any manager, over the simulated network.
private struct SimulatedReleaseSource: ReleaseSource {
    private let life: SimulatedLife
    private let objects: InMemoryObjectStorage
    private let choice: ManagerChoice

    init(_ life: SimulatedLife, _ world: SimulatedCluster, objects: InMemoryObjectStorage) {
        self.life = life
        self.objects = objects
        choice = ManagerChoice(life, world)
    }

    func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        try await choice.ask("release") {
            try await $0.latestRelease(of: channel, unlessAt: revision)
        }
    }

    func trust(
        of channel: ChannelName,
        tenant: TenantID,
        afterRoot version: Int64
    ) async throws -> TrustAnswer { TrustAnswer() }

    func bundle(_ bundle: BundleDescription, from offset: Int64) async throws -> ByteChunks {
        let objects = objects
        let bytes = try await choice.ask("bundle") { _ in
            try await objects.read(bundle.object, from: offset).collect(upTo: 1 << 24)
        }
        return ByteChunks([bytes])
    }

    func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {
        life.node.trace.note("acknowledges", at: life.node.id, applied.number.rawValue)
        try await choice.ask("acknowledge") { try await $0.acknowledge(applied) }
    }
}
