#if Server && SQLite
internal import ArtifactStore
internal import ClusterMembership
internal import ClusterRole
internal import DeviceRegistry
internal import HTTPHandling
internal import NotificationDispatch
internal import OperationQueue
internal import SQLiteStore
internal import ServiceLifecycle

extension ManagerNode {
    /// What runs beside the HTTP server.
    var components: [NodeComponent] {
        let expiry = ExpiryTask(
            storage: store,
            capability: capability,
            clock: configuration.time
        )
        let purging = AuditPurgeTask(
            log: store,
            retention: configuration.auditRetention,
            capability: capability,
            clock: configuration.time,
            logger: configuration.logger
        )
        let telling = webhookDispatcher.map { dispatcher in
            NodeComponent("webhooks", roles: [.manager]) { dispatcher }
        }
        let timers = ActivityTimers(
            storage: store,
            capability: capability,
            clock: configuration.time
        )
        let liveness = LivenessTask(
            storage: store,
            capability: capability,
            rule: configuration.liveness,
            clock: configuration.time
        )
        let groups = DynamicGroupTask(
            storage: store,
            capability: capability,
            clock: configuration.time
        )
        let publishing = releases.publishTasks.map { task in
            NodeComponent(
                ComponentName(rawValue: "publish-\(task.channel)"),
                roles: [.manager]
            ) { task }
        }
        let caring = [
            (ObjectCareTask.Work.collection, configuration.collectionInterval),
            (.replication, configuration.copies > 1 ? configuration.replicationInterval : nil),
            (.scrub, configuration.scrubInterval),
        ].compactMap { work, interval in
            interval.map { interval in
                NodeComponent(
                    ComponentName(rawValue: "object-\(work.rawValue)"),
                    roles: [.manager]
                ) { [releases] in ObjectCareTask(releases.care, work, every: interval) }
            }
        }
        return [
            NodeComponent("contacts", roles: [.manager]) { [contacts] in contacts },
            NodeComponent("members", roles: [.manager]) { [heartbeats] in heartbeats },
            belonging,
            NodeComponent("wake-dispatch", roles: [.manager]) { [dispatcher] in dispatcher },
            NodeComponent("wake-hints", roles: [.manager]) { [store, dispatcher] in
                WakeHints(hints: store.hints(), dispatcher: dispatcher)
            },
            NodeComponent("retention", roles: [.manager]) { [retention] in retention },
            NodeComponent("audit-retention", roles: [.manager]) { purging },
            NodeComponent("expiry", roles: [.manager]) { expiry },
            NodeComponent("activity-timers", roles: [.manager]) { timers },
            NodeComponent("liveness", roles: [.manager]) { liveness },
            NodeComponent("dynamic-groups", roles: [.manager]) { groups },
            NodeComponent("periodic-tasks", roles: [.manager]) { [self] in
                try makePeriodicTasks()
            },
            NodeComponent("policies", roles: [.manager]) { [policies] in policies },
            NodeComponent("artifacts", roles: [.worker]) { [releases] in releases.artifacts },
            NodeComponent("artifact-hints", roles: [.worker]) { [store, releases] in
                ReleaseHints(hints: store.hints(), artifacts: releases.artifacts)
            },
            NodeComponent("rollouts", roles: [.manager]) { [releases] in
                ReleaseRolloutTask(releases.rollouts)
            },
        ] + healthMonitors + publishing + caring
            + [telling, watchingCertificates].compactMap { $0 }
            + messaging.components + [
                NodeComponent("refusals", roles: [.manager]) { [turnedAway] in turnedAway }
            ]
    }

    /// Reads the certificate again when its files change.
    private var watchingCertificates: NodeComponent? {
        credentials.map { source in NodeComponent("certificates", roles: [.manager]) { source } }
    }

    /// Behind a load balancer the caller is whom it names, if it is one of ours.
    func observed(_ handler: any HTTPHandler, _ name: String) -> any HTTPHandler {
        ObservedHandler(
            TrustedProxyHandler(
                handler,
                trust: configuration.proxies,
                certificates: configuration.forwardedCertificates,
                recorder: auditor
            ),
            name: name,
            time: configuration.time
        )
    }
}

/// Tells the dispatcher of each commit, so that a wake-up need not wait for its next look.
private struct WakeHints: Service {
    let hints: AsyncStream<Revision>
    let dispatcher: WakeDispatcher

    func run() async throws {
        for await _ in hints.cancelOnGracefulShutdown() { dispatcher.hint() }
    }
}

/// Tells a combined node's channels of each commit.
private struct ReleaseHints: Service {
    let hints: AsyncStream<Revision>
    let artifacts: ArtifactSet

    func run() async throws {
        for await _ in hints.cancelOnGracefulShutdown() { artifacts.hint() }
    }
}
#endif
