#if Server && SQLite
internal import ClusterMembership
internal import ClusterRole
internal import ManagerConsole
internal import OperationQueue
internal import SQLiteStore

/// The tasks a manager shares with the other managers of its store.
///
/// Only what may be divided is here. Expiry, timers, liveness, retention and the like are guarded writes
/// of the coordinator, so they run where its lease is, and need no lease of their own.
enum ManagerTasks {
    /// Into how many parts the devices of periodic tasks are divided. Four: a cluster has a handful of
    /// managers, and each part costs two small writes every time.
    static let periodicSlots = 4

    /// Asks devices what periodic tasks want of them.
    static var periodic: ClusterTask {
        ClusterTask(
            "periodic-tasks",
            slots: periodicSlots,
            every: PeriodicTaskRunner.Settings().interval
        )
    }
}

extension AdminServices.Cluster {
    /// What the admin API shows of the cluster, and may ask of its members.
    init(
        _ configuration: ManagerConfiguration,
        _ store: EmbeddedStore,
        keeper: ClusterMembersWriter,
        members: ClusterMembers,
        messaging: ManagerMessaging,
        capability: WriteCapability
    ) {
        self.init(
            node: configuration.node,
            role: configuration.profile.role,
            capability: capability,
            members: members,
            revisions: store,
            wakes: store,
            messaging: AdminServices.Messaging(
                commands: messaging.commands,
                messenger: messaging.messenger,
                operators: configuration.tenant
            )
        )
        operators = configuration.tenant
        self.keeper = { keeper }
        probe = MemberProbe(
            members: members,
            writer: { keeper },
            direct: configuration.prober,
            clock: configuration.time
        )
    }
}

extension ManagerNode {
    /// Runs periodic tasks, partitioned: each slot looks after its share of the devices.
    func makePeriodicTasks() throws -> ClusterTaskRunner {
        var settings = ClusterTaskRunner.Settings()
        settings.clock = configuration.time
        settings.logger = configuration.logger
        let (clock, runner) = (configuration.time, tasks)
        let job = ClusterTaskRunner.Job(ManagerTasks.periodic) { run in
            let partition = TaskPartition(part: run.slot.number, of: run.slots)
            _ = try await runner.tick(at: clock.now(), in: partition)
        }
        // The file is this process's: there is nobody to share with.
        var own = try configuration.ownMember()
        own.properties.merge(ClusterTask.announcement(of: [job.task])) { $1 }
        let announced = own
        return try ClusterTaskRunner(
            node: configuration.node,
            storage: store,
            jobs: [job],
            settings: settings
        ) { [announced] }
    }
}
#endif
