#if SQLite
public import ClusterRole
public import DeviceRegistry
internal import Logging
internal import Metrics
public import OperationQueue
internal import SQLiteEngine
internal import Synchronization

/// Devices' side: what is open, and what they report.
extension WorkerReplica: PendingWorkReader, DeviceInbox {
    /// What is open for `device`, from memory, with the spool laid over it.
    ///
    /// - Returns: `nil` for a device that is not enrolled as far as the replica and the manager's
    ///   answers say.
    /// - Throws: `DeviceRegistryError` with code `cannotDecide` before the first snapshot: a device
    ///   that is told that it is unknown would enrol again.
    public func openWork(for device: DeviceID, tenant: TenantID) async throws -> OpenWork? {
        let now = time.monotonic()
        let retryAfter = configuration.retryAfter
        return try state.withLock { state in
            guard state.image.revision != nil else {
                throw DeviceRegistryError(
                    .cannotDecide,
                    "This node has heard nothing of its manager yet. Ask another, or this one later.",
                    retryAfter: retryAfter
                )
            }
            return state.openWork(for: device, tenant: tenant, at: now)
        }
    }

    /// Takes entries. When this returns they are durable, except contacts dropped because the spool is
    /// filling (``SpoolStage/droppingContacts``).
    ///
    /// - Throws: `OperationQueueError` with code `spoolFull`, before anything was accepted: when the
    ///   spool is full, or when there are claims and no work is handed out. `SQLiteStorageError` when
    ///   the file cannot be written.
    public func accept(_ entries: [InboxEntry]) async throws {
        let kept = try admit(entries)
        if kept.isEmpty { return }
        try await store(kept)
    }

    /// Decides what of `entries` goes to the file.
    private func admit(_ entries: [InboxEntry]) throws -> [InboxEntry] {
        let retryAfter = configuration.retryAfter
        return try state.withLock { state in
            let stage = state.gauge.stage
            let kept = stage < .droppingContacts ? entries : entries.filter { !$0.isContact }
            if kept.isEmpty {
                state.droppedContacts += entries.count
                return []
            }
            if stage == .full {
                throw OperationQueueError(
                    .spoolFull,
                    "This node has no room for more reports until a manager takes some. Send the same "
                        + "report again later.",
                    retryAfter: retryAfter
                )
            }
            if stage >= .notHandingOut, entries.contains(where: { $0.isClaim }) {
                throw OperationQueueError(
                    .spoolFull,
                    "This node hands out no work until a manager takes its reports. Poll again later.",
                    retryAfter: retryAfter
                )
            }
            state.droppedContacts += entries.count - kept.count
            return kept
        }
    }

    /// Writes entries and lays them over the replica.
    private func store(_ entries: [InboxEntry]) async throws {
        let drafts = entries.map(file.coding.draft)
        let size = drafts.reduce(0) { $0 + $1.storedBytes }
        // Counted first, so that many callers at once do not pass the limit together.
        state.withLock { $0.gauge.add(entries: entries.count, bytes: size) }
        do {
            let first = try await file.append(drafts) { [self] first in
                state.withLock { $0.onNumbered(entries, first: first) }
            }
            state.withLock { $0.onDurable(first: first) }
        } catch {
            state.withLock { $0.gauge.remove(entries: entries.count, bytes: size) }
            throw error
        }
        Counter(label: "reeve_spool_entries").increment(by: entries.count)
        signals.raise()
        // What a device reports may clear the way for what stands behind it.
        let concerned = entries.filter(\.changesExecution).map {
            ConcernedDevice(tenant: $0.identity.tenant, device: $0.identity.device)
        }
        work.send(concerned.isEmpty ? .nobody : .devices(concerned))
    }
}

extension WorkerReplica: WorkSignals {
    public func observeWork(_ observer: @escaping @Sendable (WorkConcern) -> Void) {
        work.observeWork(observer)
    }
}

/// Tells the drain that there may be something to hand on.
final class SpoolSignals: Sendable {
    private struct State {
        var readers: [Int: AsyncStream<Void>.Continuation] = [:]
        var next = 0
        var isFinished = false
    }

    private let state = Mutex(State())

    func stream() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Void.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        let number = state.withLock { state -> Int? in
            if state.isFinished { return nil }
            state.next += 1
            state.readers[state.next] = continuation
            return state.next
        }
        guard let number else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { $0.readers[number] = nil }
        }
        return stream
    }

    func raise() {
        for reader in state.withLock({ Array($0.readers.values) }) { reader.yield() }
    }

    func finish() {
        let readers = state.withLock { state in
            state.isFinished = true
            defer { state.readers = [:] }
            return Array(state.readers.values)
        }
        for reader in readers { reader.finish() }
    }
}
#endif
