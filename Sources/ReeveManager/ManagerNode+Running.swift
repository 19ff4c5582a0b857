#if Server && SQLite
internal import ClusterMembership
public import ClusterRole
internal import DeviceRegistry
public import ManagerConsole
internal import OperationQueue
internal import SQLiteStore
public import ServiceLifecycle

// A manager's life, from its first component to its closed store.

extension ManagerNode {
    /// The node's right to write. Revoked when ``run()`` ends.
    public var epoch: Epoch { capability.epoch }

    /// Runs the whole node until graceful shutdown, then closes it. It runs once.
    public func run() async throws {
        try await run(try servers())
    }

    /// The node without its HTTP servers, for an application that mounts ``adminAPI``, ``link`` and, on a
    /// combined node, ``deviceAPI`` in its own. It wakes devices, closes what expired, runs periodic tasks
    /// and watches members until graceful shutdown, then closes the node. It runs once, instead of ``run()``.
    ///
    /// ```swift
    /// app.addServices(manager.background)
    /// ```
    public var background: some Service { Background(node: self) }

    private struct Background: Service {
        let node: ManagerNode

        func run() async throws { try await node.run([]) }
    }

    private func run(_ more: [NodeComponent]) async throws {
        do {
            let node = try ReeveNode(
                id: configuration.node,
                profile: configuration.profile,
                components: configuration.components + components + more,
                logger: configuration.logger
            )
            try await scheduleInformation()
            if node.startedComponents.contains(Self.membershipComponent) {
                // A member before its first request. What fails here its component tries again, and logs.
                try? await membership.say()
            }
            try await node.run()
        } catch {
            try? await close()
            throw error
        }
        try await close()
    }

    /// Writes a verified copy of the running store, beside its readers and writers.
    ///
    /// - Parameters:
    ///   - path: of the copy, in a directory that only the manager's user can read.
    ///   - replaces: whether a file there may be replaced.
    /// - Throws: `SQLiteStorageError`: `exists`, `full`, `io`, `corruptRow`, `corruptFile`.
    public func backup(to path: String, replaces: Bool = false) async throws -> StoredBackup {
        try await store.storedBackup(to: path, replaces: replaces, at: configuration.time.now())
    }

    /// Says good-bye to the cluster, ends the right to write and gives the file back. Harmless when repeated.
    public func close() async throws {
        // Without its right to write it can say nothing; others see its silence, then.
        try? await membership.leave()
        capability.revoke()
        try await store.close()
    }

    private func scheduleInformation() async throws {
        guard let frequency = configuration.informationFrequency else { return }
        try await tasks.schedule(
            PeriodicTask(
                id: PeriodicTaskID(rawValue: "device-information"),
                frequency: frequency,
                satisfiedBy: .properties,
                begins: configuration.time.now()
            ),
            tenant: configuration.tenant
        )
    }
}
#endif
